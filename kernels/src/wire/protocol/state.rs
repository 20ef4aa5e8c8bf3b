//! What one side remembers of a tensor, and how a step changes it.

use super::super::base::{Base, Part};
use super::super::float16::vectorised;
use super::super::rows::{Decoder, Halves, Residual};
use super::super::shape::{Rows, STRIP_ROWS, in_order};
use super::super::sign::Quantiser;
use super::super::{Half, Matrix, Shape};
use super::{Order, Protocol};
use crate::compressor::Compressor;

/// Part of the last change that order 2 expects again.
const DECAY: f32 = 0.5;

/// The state of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    protocol: Protocol,
    shape: Shape,
    half: Half,
    steps: u32,
    /// None for order 0.
    base: Option<Base>,
    /// The base before, for order 2.
    before: Option<Base>,
    /// The last reconstruction, where the base does not hold it exactly; else empty.
    output: Vec<u16>,
}

vectorised! {
    /// b + (b - before) / 2 in the place of b.
    fn extrapolate(base: &mut [f32], before: &[f32]) {
        for (base, before) in base.iter_mut().zip(before) {
            *base += DECAY * (*base - before);
        }
    }

    fn add(values: &mut [f32], changes: &[f32]) {
        for (value, change) in values.iter_mut().zip(changes) {
            *value += change;
        }
    }
}

/// An activation less its prediction.
pub(crate) struct Difference<'a> {
    state: &'a State,
    x: Matrix<'a>,
}

impl Residual for Difference<'_> {
    fn check(&self, rows: Rows) -> Result<(), usize> {
        let range = self.state.shape.range(rows);
        let start = range.start;
        match self.state.half.first_non_finite(&self.x.bits()[range]) {
            None => Ok(()),
            Some(offset) => Err(start + offset),
        }
    }

    fn strip(&self, rows: Rows, out: &mut [f32]) {
        let bits = &self.x.bits()[self.state.shape.range(rows)];
        let half = self.state.half;
        match (&self.state.base, &self.state.before) {
            (Some(base), None) => base.difference(rows, half, bits, out),
            _ => {
                self.state.predict(rows, out);
                half.subtract(bits, out);
            }
        }
    }

    fn halves(&self) -> Option<Halves<'_>> {
        let base = self
            .state
            .base
            .as_ref()
            .filter(|_| self.state.is_one_matrix())?;
        Some(Halves {
            half: self.state.half,
            x: self.x.bits(),
            base: base.halves(),
        })
    }
}

impl State {
    pub(crate) fn new(protocol: Protocol, shape: Shape, half: Half) -> Self {
        let base = || Base::new(protocol.base, shape);
        let (first, second) = match protocol.order {
            Order::Zero => (None, None),
            Order::First => (Some(base()), None),
            Order::Second => (Some(base()), Some(base())),
        };
        let exact = first.is_some() && protocol.base.keeps(half);
        Self {
            protocol,
            shape,
            half,
            steps: 0,
            base: first,
            before: second,
            output: vec![0; if exact { 0 } else { shape.elements() }],
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) fn format(&self) -> (Shape, Half) {
        (self.shape, self.half)
    }

    /// Whether base, prediction and reconstruction are one 16-bit matrix: the short ways.
    pub(crate) fn is_one_matrix(&self) -> bool {
        self.base.is_some() && self.before.is_none() && self.output.is_empty()
    }

    pub(crate) fn next_is_raw(&self) -> bool {
        self.steps < self.protocol.warmup
    }

    pub(crate) fn restart(&mut self) {
        *self = Self::new(self.protocol, self.shape, self.half);
    }

    /// The last reconstruction.
    pub(crate) fn reconstruction(&self) -> &[u16] {
        match &self.base {
            Some(base) if self.output.is_empty() => base.halves(),
            _ => &self.output,
        }
    }

    pub(crate) fn residual<'a>(&'a self, x: Matrix<'a>) -> Difference<'a> {
        Difference { state: self, x }
    }

    /// The prediction of a strip.
    fn predict(&self, rows: Rows, out: &mut [f32]) {
        let Some(base) = &self.base else {
            out.fill(0.0);
            return;
        };
        base.read(rows, out);
        if let Some(before) = &self.before {
            let mut values = vec![0.0; out.len()];
            before.read(rows, &mut values);
            extrapolate(out, &values);
        }
    }

    /// The prediction of the whole tensor.
    pub(crate) fn predict_all(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.shape.elements(), "one value an element");
        let step = self.shape.chunk_rows() * self.shape.channels();
        in_order(
            self.shape.chunks().zip(out.chunks_mut(step)),
            |(rows, out)| {
                let strip = STRIP_ROWS * self.shape.channels();
                for (rows, out) in rows.strips().zip(out.chunks_mut(strip)) {
                    self.predict(rows, out);
                }
            },
        );
    }

    /// A step whose reconstruction is known: a raw one, or the sender's without feedback.
    pub(crate) fn store(&mut self, bits: &[u16]) {
        let (half, shape) = (self.half, self.shape);
        self.advance(Values::Whole, |rows, out| {
            half.widen(&bits[shape.range(rows)], out);
        });
    }

    /// A step by codes of two bits, written and applied in one sweep; the error is the first
    /// non-finite element.
    ///
    /// # Panics
    /// If base, prediction and reconstruction are not one matrix.
    pub(crate) fn exchange(
        &mut self,
        compressor: Compressor,
        x: Matrix<'_>,
        message: &mut [u8],
    ) -> Result<(), usize> {
        assert!(self.is_one_matrix(), "one matrix is written over");
        let (shape, half) = (self.shape, self.half);
        let (quantiser, codes) = Quantiser::measure(compressor, &self.residual(x), shape, message)?;
        let codes = codes.chunks_mut(shape.chunk_rows() * shape.channels().div_ceil(4));
        let parts = self.base.iter_mut().flat_map(Base::parts);
        in_order(parts.zip(codes), |(mut part, codes)| {
            let rows = part.rows;
            let x = &x.bits()[shape.range(rows)];
            quantiser.exchange(rows, half, x, part.halves(), codes);
        });
        self.turn();
        Ok(())
    }

    /// A step whose message says how the prediction is wrong.
    pub(crate) fn apply(&mut self, decoder: &Decoder<'_>) {
        let one = self.is_one_matrix();
        if let (Decoder::Sign(signs), Some(base), true) = (decoder, &mut self.base, one) {
            let half = self.half;
            in_order(base.parts(), |mut part| {
                let rows = part.rows;
                signs.add(rows, half, part.halves());
            });
            self.turn();
            return;
        }
        self.advance(Values::Change, |rows, out| decoder.strip(rows, out));
    }

    /// Moves the state by a step whose values `give` writes strip by strip.
    fn advance(&mut self, meaning: Values, give: impl Fn(Rows, &mut [f32]) + Sync + Send) {
        let (shape, half) = (self.shape, self.half);
        // Order 2 writes over the older base, and the two change places.
        let (base, target) = match &mut self.before {
            Some(before) => (self.base.as_ref(), Some(before)),
            None => (None, self.base.as_mut()),
        };
        let parts: Vec<Option<Part<'_>>> = match target {
            Some(target) => target.parts().map(Some).collect(),
            None => shape.chunks().map(|_| None).collect(),
        };
        let mut output = &mut self.output[..];
        let outputs = shape.chunks().map(|rows| {
            let count = (rows.count * shape.channels()).min(output.len());
            output
                .split_off_mut(..count)
                .expect("no more than there are")
        });
        let tasks = shape.chunks().zip(parts).zip(outputs);
        in_order(tasks, |((rows, part), output)| {
            let chunk = Chunk {
                base,
                part,
                output,
                half,
                meaning,
            };
            chunk.advance(rows, shape, &give);
        });
        self.turn();
    }

    /// Ends a step.
    fn turn(&mut self) {
        if let (Some(base), Some(before)) = (&mut self.base, &mut self.before) {
            std::mem::swap(base, before);
            if self.steps == 0 {
                before.clone_from(base);
            }
        }
        self.steps += 1;
    }
}

/// What a step's values are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    /// The reconstruction.
    Whole,
    /// What is added to the prediction.
    Change,
}

/// The rows that one thread changes.
struct Chunk<'a> {
    /// The newer base, for order 2.
    base: Option<&'a Base>,
    /// The base that is written; none for order 0.
    part: Option<Part<'a>>,
    /// Empty where the base holds the reconstruction.
    output: &'a mut [u16],
    half: Half,
    meaning: Values,
}

impl Chunk<'_> {
    fn advance(mut self, rows: Rows, shape: Shape, give: &impl Fn(Rows, &mut [f32])) {
        let mut values = shape.strip_buffer();
        let mut prediction = shape.strip_buffer();
        for strip in rows.strips() {
            let values = &mut values[..strip.count * shape.channels()];
            let prediction = &mut prediction[..values.len()];
            give(strip, values);
            if self.meaning == Values::Change && self.add_in_place(strip, values) {
                continue;
            }
            if self.meaning == Values::Change {
                self.add_prediction(strip, prediction, values);
            }
            let start = (strip.first - rows.first) * shape.channels();
            if !self.output.is_empty() {
                let output = &mut self.output[start..start + values.len()];
                self.half.narrow(values, output);
            }
            if let Some(part) = &mut self.part {
                part.write(strip, values);
            }
        }
    }

    /// The short way: a 16-bit base that is the prediction and the reconstruction.
    fn add_in_place(&mut self, strip: Rows, change: &[f32]) -> bool {
        match &mut self.part {
            Some(part) if self.base.is_none() && self.output.is_empty() => part.add(strip, change),
            _ => false,
        }
    }

    fn add_prediction(&self, strip: Rows, prediction: &mut [f32], values: &mut [f32]) {
        match (self.base, &self.part) {
            (Some(base), Some(before)) => {
                let mut older = vec![0.0; values.len()];
                base.read(strip, prediction);
                before.read(strip, &mut older);
                extrapolate(prediction, &older);
                add(values, prediction);
            }
            (None, Some(part)) => {
                part.read(strip, prediction);
                add(values, prediction);
            }
            _ => {}
        }
    }
}
