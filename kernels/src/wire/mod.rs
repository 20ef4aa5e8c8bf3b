//! The compressors on the CPU: residuals to bytes and back, and the protocol around them.
//!
//! ```text
//! x ─▶ x - prediction = R ─▶ encode ─▶ message ─▶ decode ─▶ prediction + dec(R) = reconstruction
//!          ▲                              │                             │
//!          └── base (sender) ◀────────────┴────────▶ base (receiver) ◀──┘
//! ```
//!
//! Guarantees: a message has [`Compressor::message_bytes`] bytes; encoding and decoding are pure
//! and equal at any number of threads and on any processor; with error feedback the bases of
//! sender and receiver are equal to the bit; a zero residual changes nothing and nothing makes a
//! NaN: non-finite activations and messages are refused.
//!
//! docs/wire-formats.md has every format byte by byte. Arithmetic is fp32 with fp64 sums.
//!
//! Not modelled: entropy coding, loss of messages (a transport's business), GPUs.

mod base;
mod error;
mod float16;
mod fp8;
mod histogram;
mod integer;
mod low_rank;
mod nibbles;
mod orthogonal;
mod protocol;
mod rows;
mod shape;
mod sign;
mod sparse;

pub use base::BaseFormat;
pub use error::{Place, Tensor, WireError};
pub use float16::Half;
pub use protocol::{Exchanged, Feedback, Loopback, Order, Protocol, Receiver, Sender, Subspace};
pub use protocol::{receive_pair, send_pair};
pub use shape::{Matrix, Shape};

use crate::compressor::Compressor;
use low_rank::Subspace as Factors;
use rows::{Decoder, Given, Residual};

/// The bytes of one message, without header.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Message(pub Vec<u8>);

impl Compressor {
    /// The bytes of a message in memory.
    pub(crate) fn wire_bytes(self, shape: Shape) -> usize {
        let bytes = self.message_bytes(shape.rows() as u64, shape.channels() as u64);
        usize::try_from(bytes.get()).expect("a message of a matrix in memory fits in memory")
    }

    /// Encodes a residual, row after row.
    ///
    /// Low-rank factors start from the fixed signs; a [`Sender`] starts from its last message.
    ///
    /// # Errors
    /// [`WireError::NonFiniteResidual`] with the first row and channel that is Inf or NaN.
    ///
    /// # Panics
    /// If there are not `shape.elements()` values.
    ///
    /// ```
    /// use kernels::{Compressor, wire::Shape};
    /// // Two tokens of three channels: means over tokens 3, 2, 1; over channels 1 and 3, mean 2.
    /// let residual = [1.5, -1.0, 0.5, 4.5, 3.0, -1.5];
    /// let message = Compressor::OneBit.encode(&residual, Shape::new(2, 3)).unwrap();
    /// // Signs +-+ and ++-; fp16 .5 and 1.5 of the tokens; fp16 3, 2, 1 of the channels.
    /// assert_eq!(message.0, [
    ///     0b101, 0b011, 0x00, 0x38, 0x00, 0x3E, 0x00, 0x42, 0x00, 0x40, 0x00, 0x3C,
    /// ]);
    /// let decoded = Compressor::OneBit.decode(&message.0, Shape::new(2, 3)).unwrap();
    /// assert_eq!(decoded, [1.5, -1.0, 0.5, 4.5, 3.0, -1.5]);
    /// ```
    pub fn encode(self, residual: &[f32], shape: Shape) -> Result<Message, WireError> {
        assert_eq!(
            residual.len(),
            shape.elements(),
            "one residual for each element"
        );
        let mut message = Message::default();
        let source = Given { residual, shape };
        encode_into(self, &source, shape, &mut None, &mut message.0).map_err(|element| {
            WireError::NonFiniteResidual {
                row: element / shape.channels(),
                channel: element % shape.channels(),
            }
        })?;
        Ok(message)
    }

    /// Decodes a message to the residual it stands for, row after row.
    ///
    /// # Errors
    /// [`WireError::Length`] for another size than [`Self::message_bytes`]; [`WireError::Damaged`]
    /// for a scale or value that is Inf or NaN.
    pub fn decode(self, message: &[u8], shape: Shape) -> Result<Vec<f32>, WireError> {
        let decoder = Decoder::new(self, message, shape)?;
        let mut decoded = vec![0.0; shape.elements()];
        let step = shape.chunk_rows() * shape.channels();
        let tasks = shape.chunks().zip(decoded.chunks_mut(step));
        shape::in_order(tasks, |(rows, out)| {
            for (strip, out) in rows
                .strips()
                .zip(out.chunks_mut(shape::STRIP_ROWS * shape.channels()))
            {
                decoder.strip(strip, out);
            }
        });
        Ok(decoded)
    }
}

/// Writes the message of a residual; the error is the first non-finite element.
fn encode_into(
    compressor: Compressor,
    source: &impl Residual,
    shape: Shape,
    subspace: &mut Option<Factors>,
    message: &mut Vec<u8>,
) -> Result<(), usize> {
    message.resize(compressor.wire_bytes(shape), 0);
    match compressor {
        Compressor::OneBit => sign::encode_one_bit(source, shape, message),
        Compressor::TwoBit | Compressor::TwoBitFitted => {
            sign::encode_two_bit(compressor, source, shape, message)
        }
        Compressor::Int8 => rows::encode(&integer::EIGHT_BIT, source, shape, message),
        Compressor::Int4 => rows::encode(&integer::FOUR_BIT, source, shape, message),
        Compressor::Fp8 => rows::encode(&fp8::Fp8, source, shape, message),
        Compressor::Sparse(m) => {
            let sparse = sparse::Sparse {
                block: usize::from(m),
            };
            rows::encode(&sparse, source, shape, message)
        }
        Compressor::LowRank(r) => {
            let factors = low_rank::factor(source, shape, usize::from(r), subspace)?;
            low_rank::write_f16(&factors, message);
            Ok(())
        }
        Compressor::LowRankInt4(r) => {
            let factors = low_rank::factor(source, shape, usize::from(r), subspace)?;
            low_rank::write_int4(&factors, message);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
