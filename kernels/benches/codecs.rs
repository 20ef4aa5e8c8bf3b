//! Codecs against this machine's memory: the bytes that must move, over the time, over the
//! bandwidth of a copy or triad measured in the same minutes.
//!
//! `cargo bench -p kernels --bench codecs`
//!
//! Bytes that must move for each element of a matrix beyond the caches: scales need all rows
//! before any row is decoded, so an encode has two passes. The first reads x and base (2 each).
//! The second reads and writes the base (4) and, unless the signs are packed already, reads x
//! again (2). The message is written. A decode reads the message, reads and writes the base.
//! A single pass of an encode, 6 bytes and the message, stands beside it.

use std::time::Instant;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use kernels::Compressor;
use kernels::wire::{Half, Matrix, Message, Place, Protocol, Receiver, Sender, Shape, Tensor};
use rayon::prelude::*;

/// FLUX.1-dev 1024x1024 on 4 ranks, and a matrix beyond the caches of most machines.
const SHAPES: [(usize, usize); 2] = [(1088, 3072), (8192, 3072)];
/// Rounds of bandwidth and codec in turn; the best of each counts, as others use the machine.
const ROUNDS: usize = 40;
const PLACE: Place = Place {
    layer: 0,
    step: 0,
    tensor: Tensor::Key,
};

fn main() {
    ratios();
    divan::main();
}

/// A deterministic activation in fp16: half the numbers of [-2, 2), shifted by `seed`.
fn activation(shape: Shape, seed: usize) -> Vec<u16> {
    let values: Vec<f32> = (0..shape.elements())
        .map(|n| ((n * 2_654_435_761 + seed * 40_503) >> 7 & 0xFFFF) as f32 / 16384.0 - 2.0)
        .collect();
    let mut bits = vec![0; values.len()];
    Half::F16.narrow(&values, &mut bits);
    bits
}

/// What is counted.
#[derive(Clone, Copy)]
enum Way {
    Encode,
    Decode,
    /// An encode as if its scales were known.
    SinglePass,
}

/// A sender and a receiver past their warm-up, two activations, and a message.
struct Pair {
    compressor: Compressor,
    shape: Shape,
    sender: Sender,
    receiver: Receiver,
    activations: [Vec<u16>; 2],
    message: Message,
}

impl Pair {
    fn new(compressor: Compressor, (rows, channels): (usize, usize)) -> Self {
        let shape = Shape::new(rows, channels);
        let protocol = Protocol::default();
        let mut pair = Self {
            compressor,
            shape,
            sender: Sender::new(compressor, protocol, shape, Half::F16),
            receiver: Receiver::new(compressor, protocol, shape, Half::F16),
            activations: [activation(shape, 1), activation(shape, 2)],
            message: Message::default(),
        };
        pair.encode(0);
        pair.decode();
        pair.encode(1);
        pair
    }

    fn encode(&mut self, which: usize) {
        let x = Matrix::new(self.shape, Half::F16, &self.activations[which % 2]);
        self.sender
            .send_into(x, PLACE, &mut self.message)
            .expect("finite");
    }

    fn decode(&mut self) {
        black_box(self.receiver.receive(&self.message.0).expect("sound"));
    }

    /// Bytes that must move.
    fn bytes(&self, way: Way) -> usize {
        let each = match (way, self.compressor) {
            (Way::Decode, _) => 4,
            (Way::Encode, Compressor::OneBit) => 8,
            (Way::Encode, _) => 10,
            (Way::SinglePass, _) => 6,
        };
        each * self.shape.elements() + self.message.0.len()
    }
}

/// Seconds of one call.
#[allow(
    clippy::disallowed_methods,
    reason = "a bench is where a clock belongs"
)]
fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Three arrays of `floats` fp32.
struct Arrays([Vec<f32>; 3]);

impl Arrays {
    fn new(floats: usize) -> Self {
        Self([vec![1.0; floats], vec![2.0; floats], vec![3.0; floats]])
    }

    /// GB/s of the better of a copy and a triad on all threads.
    fn bandwidth(&mut self) -> f64 {
        const CHUNK: usize = 1 << 16;
        let [a, b, c] = &mut self.0;
        let bytes = (a.len() * 4) as f64;
        let copy = seconds(|| {
            let tasks = a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK));
            tasks.for_each(|(a, b)| a.copy_from_slice(b));
        });
        let triad = seconds(|| {
            let tasks = a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK));
            tasks.zip(c.par_chunks(CHUNK)).for_each(|((a, b), c)| {
                for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                    *a = b + 3.0 * c;
                }
            });
        });
        black_box(&self.0);
        (2.0 * bytes / copy).max(3.0 * bytes / triad) / 1e9
    }
}

/// Prints the ratios to bandwidth.
fn ratios() {
    let mut memory = Arrays::new(64 << 20);
    println!("threads {}", rayon::current_num_threads());
    for shape in SHAPES {
        // Arrays of the codec's own footprint see the same caches.
        let mut same = Arrays::new(shape.0 * shape.1 / 2);
        for compressor in [Compressor::OneBit, Compressor::TwoBit] {
            let mut pair = Pair::new(compressor, shape);
            let (mut encode, mut decode) = (f64::INFINITY, f64::INFINITY);
            let (mut far, mut near) = (0.0f64, 0.0f64);
            for round in 0..ROUNDS {
                far = far.max(memory.bandwidth());
                near = near.max(same.bandwidth());
                encode = encode.min(seconds(|| pair.encode(round)));
                decode = decode.min(seconds(|| pair.decode()));
            }
            let ratio = |way, time: f64, to: f64| 100.0 * pair.bytes(way) as f64 / time / 1e9 / to;
            println!(
                "{compressor} {} x {}, memory {far:.1} GB/s (3 x 256 MiB), arrays of this size {near:.1} GB/s",
                shape.0, shape.1
            );
            for (what, way, time) in [
                ("encode", Way::Encode, encode),
                ("  one pass", Way::SinglePass, encode),
                ("decode", Way::Decode, decode),
            ] {
                println!(
                    "  {what:<10} {:7.3} ms, {:5.2} B/element: {:3.0} % of memory, {:3.0} % of such arrays",
                    time * 1e3,
                    pair.bytes(way) as f64 / pair.shape.elements() as f64,
                    ratio(way, time, far),
                    ratio(way, time, near),
                );
            }
        }
    }
}

#[divan::bench(args = Compressor::PALETTE, sample_count = 10, sample_size = 1)]
fn encode(bencher: Bencher, compressor: Compressor) {
    let mut pair = Pair::new(compressor, SHAPES[0]);
    let mut round = 0;
    bencher
        .counter(BytesCount::new(pair.bytes(Way::SinglePass)))
        .bench_local(|| {
            round += 1;
            pair.encode(round);
        });
}

#[divan::bench(args = Compressor::PALETTE, sample_count = 10, sample_size = 1)]
fn decode(bencher: Bencher, compressor: Compressor) {
    let mut pair = Pair::new(compressor, SHAPES[0]);
    bencher
        .counter(BytesCount::new(pair.bytes(Way::Decode)))
        .bench_local(|| pair.decode());
}
