//! One comparison of the GPU with the CPU reference: a raw step, an encode, a decode.
//!
//! ```text
//! x0 ─▶ raw step: base0 must be Q(x0)
//! x1, base0 ─▶ encode: message near the CPU's; base1 and out must be what that message decodes to
//! CPU's message, base0 ─▶ decode: base1 and out must be the CPU's
//! ```

use super::codec::{Codec, base_bytes};
use super::device::Gpu;
use super::error::CudaError;
use super::samples::{Kind, bits_of, bytes_of};
use super::source::Variant;
use super::tolerance::{Agreement, compare};
use crate::compressor::Compressor;
use crate::wire::{BaseFormat, Half, Order, Shape};

/// A byte that the kernels must overwrite.
const POISON: u8 = 0xA5;

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub compressor: Compressor,
    pub shape: Shape,
    pub variant: Variant,
    pub order: Order,
    pub kind: Kind,
    /// Where the message starts in its buffer: odd for unaligned stores.
    pub offset: usize,
}

/// What a raw or compressed step must leave behind.
struct Expected {
    base: Vec<u8>,
    out: Vec<u8>,
}

impl Case {
    /// How the GPU's message agrees with the CPU's, or what is wrong.
    pub(super) fn run(&self, gpu: &Gpu) -> Result<Result<Agreement, String>, CudaError> {
        let half = self.variant.activation;
        let [first, second] = [0, 1].map(|step| self.kind.activation(half, self.shape, step));
        let base = match self.order {
            Order::Zero => None,
            _ => Some(stored(
                self.variant.base,
                &widened(half, &first),
                self.shape,
            )),
        };
        let prediction = match &base {
            Some(bytes) => read_base(self.variant.base, bytes, self.shape),
            None => vec![0.0; self.shape.elements()],
        };
        let mut residual = prediction.clone();
        half.subtract(&second, &mut residual);
        let reference = self.compressor.encode(&residual, self.shape);
        let reference = reference.expect("samples are finite").0;

        let new = || Codec::new(gpu, self.compressor, self.shape, self.variant, self.order);
        let (mut sender, mut receiver) = (new()?, new()?);
        let (x0, x1) = (
            gpu.upload(&bytes_of(&first))?,
            gpu.upload(&bytes_of(&second))?,
        );
        for codec in [&mut sender, &mut receiver] {
            codec.start(&x0)?;
        }
        if let Some(wrong) = differs(gpu, "the raw step's base", &sender, base.as_deref())? {
            return Ok(Err(wrong));
        }

        let buffer = gpu.upload(&vec![POISON; self.offset + sender.message_bytes() + 16])?;
        let out = gpu.upload(&vec![POISON; 2 * self.shape.elements()])?;
        sender.encode(&x1, &buffer, self.offset, Some(&out))?;
        let written = gpu.download(&buffer)?;
        let message = &written[self.offset..self.offset + sender.message_bytes()];
        let beside = written[..self.offset]
            .iter()
            .chain(&written[self.offset + message.len()..]);
        if beside.copied().any(|byte| byte != POISON) {
            return Ok(Err("the encode writes beside its message".to_owned()));
        }
        let agreement = match compare(self.compressor, self.shape, &residual, &reference, message) {
            Ok(agreement) => agreement,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let expected = self.expected(message, &prediction);
        let got = gpu.download(&out)?;
        if let Some(wrong) = self.wrong_step("encode", gpu, &sender, &expected, &got)? {
            return Ok(Err(wrong));
        }

        let mut padded = vec![POISON; self.offset];
        padded.extend_from_slice(&reference);
        let sent = gpu.upload(&padded)?;
        let out = gpu.upload(&vec![POISON; 2 * self.shape.elements()])?;
        receiver.decode(&sent, self.offset, Some(&out))?;
        let expected = self.expected(&reference, &prediction);
        let got = gpu.download(&out)?;
        let wrong = self.wrong_step("decode", gpu, &receiver, &expected, &got)?;
        Ok(wrong.map_or(Ok(agreement), Err))
    }

    /// What a message makes of the prediction, on the CPU.
    fn expected(&self, message: &[u8], prediction: &[f32]) -> Expected {
        let decoded = self.compressor.decode(message, self.shape);
        let mut values = decoded.expect("a message of the right size with finite scales");
        if self.order != Order::Zero {
            for (value, prediction) in values.iter_mut().zip(prediction) {
                *value += prediction;
            }
        }
        let mut bits = vec![0; values.len()];
        self.variant.activation.narrow(&values, &mut bits);
        Expected {
            base: stored(self.variant.base, &values, self.shape),
            out: bytes_of(&bits),
        }
    }

    fn wrong_step(
        &self,
        what: &str,
        gpu: &Gpu,
        codec: &Codec<'_>,
        expected: &Expected,
        out: &[u8],
    ) -> Result<Option<String>, CudaError> {
        if let Some(place) = first_difference(&expected.out, out) {
            return Ok(Some(format!(
                "the {what}'s reconstruction differs: {place}"
            )));
        }
        let base = (self.order != Order::Zero).then_some(&expected.base[..]);
        differs(gpu, &format!("the {what}'s new base"), codec, base)
    }
}

fn differs(
    gpu: &Gpu,
    what: &str,
    codec: &Codec<'_>,
    expected: Option<&[u8]>,
) -> Result<Option<String>, CudaError> {
    let (Some(base), Some(expected)) = (codec.base(), expected) else {
        return Ok(None);
    };
    let place = first_difference(expected, &gpu.download(base)?);
    Ok(place.map(|place| format!("{what} differs: {place}")))
}

fn first_difference(expected: &[u8], got: &[u8]) -> Option<String> {
    if expected.len() != got.len() {
        return Some(format!("{} bytes, not {}", got.len(), expected.len()));
    }
    let at = expected.iter().zip(got).position(|(a, b)| a != b)?;
    let count = expected.iter().zip(got).filter(|(a, b)| a != b).count();
    Some(format!(
        "{count} bytes, the first at {at}: {:02x}, not {:02x}",
        got[at], expected[at]
    ))
}

fn widened(half: Half, bits: &[u16]) -> Vec<f32> {
    let mut values = vec![0.0; bits.len()];
    half.widen(bits, &mut values);
    values
}

/// The bytes of a base that holds some values.
fn stored(format: BaseFormat, values: &[f32], shape: Shape) -> Vec<u8> {
    let narrowed = |half: Half| {
        let mut bits = vec![0; values.len()];
        half.narrow(values, &mut bits);
        bytes_of(&bits)
    };
    match format {
        BaseFormat::F16 => narrowed(Half::F16),
        BaseFormat::Bf16 => narrowed(Half::Bf16),
        BaseFormat::Int8 => integers(Compressor::Int8, values, shape),
        BaseFormat::Int4 => integers(Compressor::Int4, values, shape),
    }
}

fn integers(format: Compressor, values: &[f32], shape: Shape) -> Vec<u8> {
    format.encode(values, shape).expect("values are finite").0
}

/// The values of a base.
fn read_base(format: BaseFormat, bytes: &[u8], shape: Shape) -> Vec<f32> {
    debug_assert_eq!(
        bytes.len(),
        base_bytes(
            Variant {
                activation: Half::F16,
                base: format
            },
            shape
        ),
        "a base has the bytes of its format"
    );
    let decoded = |compressor: Compressor| compressor.decode(bytes, shape).expect("a sound base");
    match format {
        BaseFormat::F16 => widened(Half::F16, &bits_of(bytes)),
        BaseFormat::Bf16 => widened(Half::Bf16, &bits_of(bytes)),
        BaseFormat::Int8 => decoded(Compressor::Int8),
        BaseFormat::Int4 => decoded(Compressor::Int4),
    }
}
