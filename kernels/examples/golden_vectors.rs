//! Writes the vectors that other implementations of the wire formats are tested against.
//!
//! `cargo run -p kernels --example golden_vectors` writes traces/capture/tests/golden/codecs.json;
//! a test compares the committed file with what this code makes.

use std::fmt::Write as _;

use kernels::Compressor;
use kernels::wire::{
    BaseFormat, Feedback, Half, Matrix, Order, Place, Protocol, Receiver, Sender, Shape, Tensor,
};

/// What the file holds, for its reader.
const ABOUT: &str = "codecs: residual = f32(x) - f32(base) (x, base: fp16 bit patterns, 4 hex digits each, row after \
row), message = its bytes in hex, decoded = fp32 bit patterns of the decoded residual, 8 hex digits each. \
protocols: x = the activations of consecutive steps in `half` bit patterns, messages = bytes of each step \
(the first `warmup` raw), reconstructions = what the receiver has after each step, in `half` bit patterns. \
Compare bytes exactly, except lowrank: there compare the decoded values within 1e-2 of the residual's norm, and \
decode the message given here exactly (fp32 sums over the rank in order).";

const SHAPES: [(usize, usize); 2] = [(6, 40), (5, 130)];

fn main() -> std::io::Result<()> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../traces/capture/tests/golden/codecs.json"
    );
    std::fs::create_dir_all(std::path::Path::new(path).parent().expect("it has one"))?;
    std::fs::write(path, text())?;
    println!("{path}");
    Ok(())
}

/// The file.
pub fn text() -> String {
    let codecs: Vec<String> = SHAPES
        .into_iter()
        .flat_map(|shape| compressors().map(move |compressor| codec(compressor, shape)))
        .collect();
    let protocols: Vec<String> = cases().map(protocol).collect();
    format!(
        "{{\n\"about\": \"{ABOUT}\",\n\"codecs\": [\n{}\n],\n\"protocols\": [\n{}\n]\n}}\n",
        codecs.join(",\n"),
        protocols.join(",\n")
    )
}

/// Every format; the ranks that fit small shapes.
fn compressors() -> impl Iterator<Item = Compressor> {
    [
        Compressor::OneBit,
        Compressor::TwoBit,
        Compressor::TwoBitFitted,
        Compressor::Int8,
        Compressor::Int4,
        Compressor::Fp8,
        Compressor::LowRank(3),
        Compressor::LowRankInt4(3),
        Compressor::Sparse(2),
        Compressor::Sparse(8),
        Compressor::Sparse(16),
    ]
    .into_iter()
}

/// A number from integers alone, larger in some rows and channels.
fn value(shape: Shape, n: usize, seed: usize) -> f32 {
    let (row, channel) = (n / shape.channels(), n % shape.channels());
    let noise = ((n * 7919 + seed * 104_729 + n * n % 911) % 2001) as f32 - 1000.0;
    noise * (1 + row % 3) as f32 * (1 + channel % 5) as f32 / 2048.0
}

fn bits(shape: Shape, half: Half, of: impl Fn(usize) -> f32) -> Vec<u16> {
    let values: Vec<f32> = (0..shape.elements()).map(of).collect();
    let mut bits = vec![0; values.len()];
    half.narrow(&values, &mut bits);
    bits
}

fn hex16(bits: &[u16]) -> String {
    bits.iter().fold(String::new(), |mut text, bits| {
        let _ = write!(text, "{bits:04x}");
        text
    })
}

fn hex32(values: &[f32]) -> String {
    values.iter().fold(String::new(), |mut text, value| {
        let _ = write!(text, "{:08x}", value.to_bits());
        text
    })
}

fn hex8(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn codec(compressor: Compressor, (rows, channels): (usize, usize)) -> String {
    let shape = Shape::new(rows, channels);
    let x = bits(shape, Half::F16, |n| value(shape, n, 1));
    let base = bits(shape, Half::F16, |n| {
        value(shape, n, 1) * 0.75 + value(shape, n, 2) / 4.0
    });
    let (mut residual, mut prediction) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    Half::F16.widen(&x, &mut residual);
    Half::F16.widen(&base, &mut prediction);
    for (residual, prediction) in residual.iter_mut().zip(&prediction) {
        *residual -= prediction;
    }
    let message = compressor.encode(&residual, shape).expect("finite");
    let decoded = compressor.decode(&message.0, shape).expect("sound");
    format!(
        "{{\"compressor\": \"{compressor}\", \"rows\": {rows}, \"channels\": {channels},\n \"x\": \"{}\",\n \"base\": \
         \"{}\",\n \"message\": \"{}\",\n \"decoded\": \"{}\"}}",
        hex16(&x),
        hex16(&base),
        hex8(&message.0),
        hex32(&decoded)
    )
}

/// A case of the protocol.
type Case = (Compressor, Protocol, Half);

fn cases() -> impl Iterator<Item = Case> {
    let plain = Protocol::default();
    let second = Protocol {
        order: Order::Second,
        ..plain
    };
    let zero = Protocol {
        order: Order::Zero,
        ..plain
    };
    let open = Protocol {
        feedback: Feedback::Off,
        ..plain
    };
    let bases =
        BaseFormat::ALL.map(|base| (Compressor::TwoBit, Protocol { base, ..plain }, Half::F16));
    [
        (Compressor::OneBit, plain, Half::F16),
        (Compressor::OneBit, plain, Half::Bf16),
        (Compressor::OneBit, open, Half::F16),
        (Compressor::Int4, zero, Half::F16),
        (Compressor::TwoBit, second, Half::F16),
        (
            Compressor::Fp8,
            Protocol {
                warmup: 2,
                ..second
            },
            Half::Bf16,
        ),
        (Compressor::Int8, Protocol { warmup: 0, ..plain }, Half::F16),
    ]
    .into_iter()
    .chain(bases)
}

fn protocol((compressor, protocol, half): Case) -> String {
    const STEPS: u32 = 4;
    let shape = Shape::new(3, 70);
    let mut sender = Sender::new(compressor, protocol, shape, half);
    let mut receiver = Receiver::new(compressor, protocol, shape, half);
    let (mut xs, mut messages, mut reconstructions) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..STEPS {
        let place = Place {
            layer: 0,
            step,
            tensor: Tensor::Key,
        };
        let drift = f32::from(step as u16) / 8.0;
        let x = bits(shape, half, |n| {
            value(shape, n, 3)
                + drift * value(shape, n, 4)
                + value(shape, n, 5 + step as usize) / 16.0
        });
        let message = sender
            .send(Matrix::new(shape, half, &x), place)
            .expect("finite");
        let reconstruction = receiver.receive(&message.0).expect("sound");
        reconstructions.push(format!("\"{}\"", hex16(reconstruction.bits())));
        messages.push(format!("\"{}\"", hex8(&message.0)));
        xs.push(format!("\"{}\"", hex16(&x)));
    }
    let order = match protocol.order {
        Order::Zero => 0,
        Order::First => 1,
        Order::Second => 2,
    };
    let half = match half {
        Half::F16 => "fp16",
        Half::Bf16 => "bf16",
    };
    format!(
        "{{\"compressor\": \"{compressor}\", \"rows\": {}, \"channels\": {}, \"half\": \"{half}\", \"order\": {order}, \
         \"feedback\": {}, \"warmup\": {}, \"base\": \"{}\",\n \"x\": [{}],\n \"messages\": [{}],\n \
         \"reconstructions\": [{}]}}",
        shape.rows(),
        shape.channels(),
        protocol.feedback == Feedback::On,
        protocol.warmup,
        protocol.base,
        xs.join(", "),
        messages.join(", "),
        reconstructions.join(", ")
    )
}
