//! What can be wrong with an activation or a message.

use std::fmt;

use thiserror::Error;

use super::{Half, Shape};

/// Which of the two tensors of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tensor {
    /// Keys, after their norm and rotary embedding.
    Key,
    /// Values.
    Value,
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "K",
            Self::Value => "V",
        })
    }
}

/// Where an activation comes from, to name it in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Layer, from 0.
    pub layer: u32,
    /// Step, from 0.
    pub step: u32,
    /// K or V.
    pub tensor: Tensor,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of layer {} at step {}",
            self.tensor, self.layer, self.step
        )
    }
}

/// An activation or a message that is refused. The state of sender or receiver is as before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// An activation with Inf or NaN.
    #[error(
        "{place} is not finite at row {row}, channel {channel} (element {element}): it would stay in every later \
         reconstruction, so it is not sent"
    )]
    NonFinite {
        /// Layer, step, K or V.
        place: Place,
        /// Row of the first such element.
        row: usize,
        /// Its channel.
        channel: usize,
        /// Its index, row after row.
        element: usize,
    },
    /// A residual with Inf or NaN.
    #[error("the residual is not finite at row {row}, channel {channel}")]
    NonFiniteResidual {
        /// Row of the first such element.
        row: usize,
        /// Its channel.
        channel: usize,
    },
    /// A message of another size.
    #[error(
        "a {format} message of {rows} x {channels} has {expected} bytes, not {got}: sender and receiver must agree on \
         compressor, shape and warm-up"
    )]
    Length {
        /// Compressor, or `raw`.
        format: String,
        /// Rows expected.
        rows: usize,
        /// Channels expected.
        channels: usize,
        /// Bytes expected.
        expected: usize,
        /// Bytes received.
        got: usize,
    },
    /// A message that no sender makes.
    #[error(
        "a {format} message has Inf or NaN in the 16-bit float at byte {byte}: it was altered on its way"
    )]
    Damaged {
        /// Compressor, or `raw`.
        format: String,
        /// Offset of the first such number.
        byte: usize,
    },
    /// An activation of another shape or number format than the sender's.
    #[error("{place} is {got:?} where the sender was made for {expected:?}")]
    Changed {
        /// Layer, step, K or V.
        place: Place,
        /// What the sender was made for.
        expected: (Shape, Half),
        /// What was given.
        got: (Shape, Half),
    },
}
