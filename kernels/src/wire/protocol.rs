//! Sender and receiver of one tensor: warm-up, prediction, feedback.
//!
//! ```text
//! prediction p:  order 0: 0;   order 1: base b;   order 2: b + (b - b_before) / 2
//! raw step:      message = x,          reconstruction = x
//! other steps:   message = C(x - p),   reconstruction = p + dec(message)
//! both sides:    b_before <- b,  b <- Q_base(reconstruction);   without feedback the sender: Q_base(x)
//! ```
//! A reconstruction is rounded to the activation's own format, the base from the same fp32 values
//! to the base's. b - b_before is 0 until there were two reconstructions.
//!
//! A pair of K and V in one message is the two messages one after the other.
//!
//! Guarantees: a refused activation or message leaves the state as it was; with feedback the
//! sender's state equals the receiver's to the bit.

mod state;

pub(crate) use state::State;

use topologies::Bytes;

use super::rows::{Decoder, check_length, first_non_finite_bytes, read_bits, write_bits};
use super::{
    BaseFormat, Factors, Half, Matrix, Message, Place, Shape, Tensor, WireError, encode_into,
};
use crate::compressor::Compressor;

/// What a tensor is predicted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// Nothing: the activation itself is compressed.
    Zero,
    /// The last reconstruction.
    #[default]
    First,
    /// The last reconstruction and half of its last change. Keeps two bases.
    Second,
}

/// Whether the sender's base follows what the receiver reconstructs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feedback {
    /// It does: errors are sent again.
    #[default]
    On,
    /// It is the activation itself: the two sides drift apart.
    Off,
}

/// What the subspace iteration of a low-rank encoder starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subspace {
    /// The fixed signs, with two rounds: residuals of later steps need not resemble each other. On the
    /// repository's trace this carries more of the residual than a warm start.
    #[default]
    Fresh,
    /// The factors of the last message, with one round: half the work.
    Warm,
}

/// What sender and receiver agree on besides the compressor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol {
    /// What a tensor is predicted by.
    pub order: Order,
    /// Whether errors are fed back.
    pub feedback: Feedback,
    /// Steps whose activations go raw and become the base. With 0 the first prediction is 0.
    pub warmup: u32,
    /// How a base is stored.
    pub base: BaseFormat,
    /// What low-rank encoders start from; receivers need not know.
    pub subspace: Subspace,
}

impl Default for Protocol {
    /// That of the published presets: order 1, feedback, one raw step, an fp16 base.
    fn default() -> Self {
        Self {
            order: Order::First,
            feedback: Feedback::On,
            warmup: 1,
            base: BaseFormat::F16,
            subspace: Subspace::Fresh,
        }
    }
}

impl Protocol {
    /// Bytes that a side keeps between steps for one tensor of `shape`.
    #[must_use]
    pub fn state_bytes(self, shape: Shape) -> Bytes {
        let bases = match self.order {
            Order::Zero => 0,
            Order::First => 1,
            Order::Second => 2,
        };
        Bytes::new(bases * self.base.bytes(shape).get())
    }
}

/// The side that has the activation.
#[derive(Clone, Debug)]
pub struct Sender {
    compressor: Compressor,
    state: State,
    subspace: Option<Factors>,
}

/// The side that reconstructs it.
#[derive(Clone, Debug)]
pub struct Receiver {
    compressor: Compressor,
    state: State,
}

impl Sender {
    /// A sender of activations of `shape` in the format `half`.
    #[must_use]
    pub fn new(compressor: Compressor, protocol: Protocol, shape: Shape, half: Half) -> Self {
        Self {
            compressor,
            state: State::new(protocol, shape, half),
            subspace: None,
        }
    }

    /// The message of the next step's activation; the base moves on.
    ///
    /// # Errors
    /// [`WireError::NonFinite`] or [`WireError::Changed`], naming `place`; the state stays.
    pub fn send(&mut self, x: Matrix<'_>, place: Place) -> Result<Message, WireError> {
        let mut message = Message::default();
        self.send_into(x, place, &mut message)?;
        Ok(message)
    }

    /// [`Self::send`] into a message whose memory is used again.
    ///
    /// # Errors
    /// As [`Self::send`]; the message is then meaningless.
    pub fn send_into(
        &mut self,
        x: Matrix<'_>,
        place: Place,
        message: &mut Message,
    ) -> Result<(), WireError> {
        self.check_format(x, place)?;
        if self.state.next_is_raw() {
            self.check_finite(x, place)?;
            message.0.resize(2 * x.bits().len(), 0);
            write_bits(x.bits(), &mut message.0);
            self.state.store(x.bits());
            return Ok(());
        }
        if self.state.protocol().subspace == Subspace::Fresh {
            self.subspace = None;
        }
        let shape = x.shape();
        let feedback = self.state.protocol().feedback;
        let two_bit = [Compressor::TwoBit, Compressor::TwoBitFitted].contains(&self.compressor);
        if two_bit && feedback == Feedback::On && self.state.is_one_matrix() {
            message.0.resize(self.compressor.wire_bytes(shape), 0);
            let done = self.state.exchange(self.compressor, x, &mut message.0);
            return done.map_err(|element| non_finite(x, place, element));
        }
        let source = self.state.residual(x);
        encode_into(
            self.compressor,
            &source,
            shape,
            &mut self.subspace,
            &mut message.0,
        )
        .map_err(|element| non_finite(x, place, element))?;
        match feedback {
            Feedback::On => {
                let decoder = Decoder::new(self.compressor, &message.0, shape)
                    .expect("a message just made is sound");
                self.state.apply(&decoder);
            }
            Feedback::Off => self.state.store(x.bits()),
        }
        Ok(())
    }

    /// What the next activation is predicted to be, row after row: 0 before any step.
    ///
    /// # Panics
    /// If `out` has not one value for each element.
    pub fn prediction(&self, out: &mut [f32]) {
        self.state.predict_all(out);
    }

    /// Forgets everything: the next activations go raw again, as after a loss of the base.
    pub fn restart(&mut self) {
        self.state.restart();
        self.subspace = None;
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    fn check_format(&self, x: Matrix<'_>, place: Place) -> Result<(), WireError> {
        let (expected, got) = (self.state.format(), (x.shape(), x.half()));
        if expected == got {
            return Ok(());
        }
        Err(WireError::Changed {
            place,
            expected,
            got,
        })
    }

    fn check_finite(&self, x: Matrix<'_>, place: Place) -> Result<(), WireError> {
        match x.first_non_finite() {
            None => Ok(()),
            Some(element) => Err(non_finite(x, place, element)),
        }
    }
}

fn non_finite(x: Matrix<'_>, place: Place, element: usize) -> WireError {
    let channels = x.shape().channels();
    WireError::NonFinite {
        place,
        row: element / channels,
        channel: element % channels,
        element,
    }
}

impl Receiver {
    /// A receiver that agrees with the sender made with the same arguments.
    #[must_use]
    pub fn new(compressor: Compressor, protocol: Protocol, shape: Shape, half: Half) -> Self {
        Self {
            compressor,
            state: State::new(protocol, shape, half),
        }
    }

    /// The reconstruction after the next message.
    ///
    /// # Errors
    /// [`WireError::Length`] or [`WireError::Damaged`]; the state stays.
    pub fn receive(&mut self, message: &[u8]) -> Result<Matrix<'_>, WireError> {
        let (shape, half) = self.state.format();
        if self.state.next_is_raw() {
            self.check_raw(message)?;
            let mut bits = vec![0; shape.elements()];
            read_bits(message, &mut bits);
            self.state.store(&bits);
        } else {
            let decoder = Decoder::new(self.compressor, message, shape)?;
            self.state.apply(&decoder);
        }
        Ok(Matrix::new(shape, half, self.state.reconstruction()))
    }

    /// Bytes of the next message.
    #[must_use]
    pub fn next_bytes(&self) -> usize {
        let (shape, _) = self.state.format();
        if self.state.next_is_raw() {
            2 * shape.elements()
        } else {
            self.compressor.wire_bytes(shape)
        }
    }

    /// Forgets everything, as [`Sender::restart`].
    pub fn restart(&mut self) {
        self.state.restart();
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    fn check(&self, message: &[u8]) -> Result<(), WireError> {
        if self.state.next_is_raw() {
            return self.check_raw(message);
        }
        let (shape, _) = self.state.format();
        Decoder::new(self.compressor, message, shape).map(|_| ())
    }

    fn check_raw(&self, message: &[u8]) -> Result<(), WireError> {
        let (shape, half) = self.state.format();
        check_length("raw", shape, 2 * shape.elements(), message.len())?;
        match first_non_finite_bytes(half, message) {
            None => Ok(()),
            Some(byte) => Err(WireError::Damaged {
                format: "raw".to_owned(),
                byte,
            }),
        }
    }
}

/// Sends K and V of a layer as one message: that of K, then that of V.
///
/// # Errors
/// As [`Sender::send`]; neither sender's state has moved.
pub fn send_pair(
    (keys, values): (&mut Sender, &mut Sender),
    (k, v): (Matrix<'_>, Matrix<'_>),
    layer: u32,
    step: u32,
) -> Result<Message, WireError> {
    let place = |tensor| Place {
        layer,
        step,
        tensor,
    };
    // What could be refused is asked of both before either moves.
    values.check_format(v, place(Tensor::Value))?;
    values.check_finite(v, place(Tensor::Value))?;
    let mut message = keys.send(k, place(Tensor::Key))?;
    let second = values.send(v, place(Tensor::Value))?;
    message.0.extend_from_slice(&second.0);
    Ok(message)
}

/// Receives what [`send_pair`] sent: the reconstructions of K and V.
///
/// # Errors
/// As [`Receiver::receive`]; neither receiver's state has moved.
pub fn receive_pair<'a>(
    (keys, values): (&'a mut Receiver, &'a mut Receiver),
    message: &[u8],
) -> Result<(Matrix<'a>, Matrix<'a>), WireError> {
    let first = keys.next_bytes();
    let (shape, _) = keys.state.format();
    let expected = first + values.next_bytes();
    check_length("K and V", shape, expected, message.len())?;
    let (k, v) = message.split_at(first);
    values.check(v)?;
    Ok((keys.receive(k)?, values.receive(v)?))
}

/// A sender and what its receiver has, in one place: for replay.
///
/// With feedback the sender's state is the receiver's, so no receiver is simulated.
#[derive(Clone, Debug)]
pub struct Loopback {
    sender: Sender,
    receiver: Option<Receiver>,
    message: Message,
}

/// What one step of a [`Loopback`] gives.
#[derive(Clone, Copy, Debug)]
pub struct Exchanged<'a> {
    /// Bytes of the message.
    pub bytes: Bytes,
    /// What the receiver has.
    pub reconstruction: Matrix<'a>,
}

impl Loopback {
    /// A sender and its receiver.
    #[must_use]
    pub fn new(compressor: Compressor, protocol: Protocol, shape: Shape, half: Half) -> Self {
        let receiver = match protocol.feedback {
            Feedback::On => None,
            Feedback::Off => Some(Receiver::new(compressor, protocol, shape, half)),
        };
        Self {
            sender: Sender::new(compressor, protocol, shape, half),
            receiver,
            message: Message::default(),
        }
    }

    /// Sends the next step's activation and receives it.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn exchange(&mut self, x: Matrix<'_>, place: Place) -> Result<Exchanged<'_>, WireError> {
        self.sender.send_into(x, place, &mut self.message)?;
        let bytes = Bytes::new(self.message.0.len() as u64);
        let reconstruction = match &mut self.receiver {
            Some(receiver) => receiver.receive(&self.message.0)?,
            None => Matrix::new(x.shape(), x.half(), self.sender.state.reconstruction()),
        };
        Ok(Exchanged {
            bytes,
            reconstruction,
        })
    }

    /// The sender, for its prediction.
    #[must_use]
    pub fn sender(&self) -> &Sender {
        &self.sender
    }
}
