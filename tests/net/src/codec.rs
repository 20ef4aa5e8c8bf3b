//! The messages of compressed plans: real bytes, made and read by the codecs of `kernels`.
//!
//! Every rank has a K and a V of its own (numbers that depend on the rank alone). What it decodes must be, to the
//! bit, what the sender's message decodes to; anything else ends the run.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use kernels::Compressor;
use kernels::wire::Shape;
use sim::testing::Numbers;

use crate::program::Codec;

/// A rank's compressor, and what it holds.
pub(crate) struct Coder {
    compressor: Compressor,
    shape: Shape,
    own: [Vec<f32>; 2],
    /// Ranks by the bits of what their messages decode to.
    known: BTreeMap<Vec<u32>, u32>,
    /// The rank whose message is each one that is held.
    held: Vec<Arc<Vec<u8>>>,
}

fn residual(rank: u32, tensor: u64, shape: Shape) -> Vec<f32> {
    let mut numbers = Numbers::new(u64::from(rank) * 2 + tensor);
    let count = shape.rows() * shape.channels();
    // The sum of three uniform numbers: a hump around zero.
    let mut value = || {
        (0..3)
            .map(|_| numbers.below(2001) as f32 - 1000.0)
            .sum::<f32>()
            / 1000.0
    };
    (0..count).map(|_| value()).collect()
}

impl Coder {
    /// The coder of `rank` of `ranks`.
    ///
    /// # Errors
    /// When no compressor has that name.
    pub(crate) fn new(codec: &Codec, rank: u32, ranks: u32) -> Result<Self> {
        let compressor = codec.compressor.parse();
        let compressor: Compressor = compressor.map_err(|error| anyhow!("{error}"))?;
        let shape = Shape::new(codec.rows, codec.channels);
        let both = |rank| [residual(rank, 0, shape), residual(rank, 1, shape)];
        let mut coder = Self {
            compressor,
            shape,
            own: both(rank),
            known: BTreeMap::new(),
            held: Vec::new(),
        };
        for peer in 0..ranks {
            let message = coder.message(&both(peer))?;
            let bits = coder.bits(&message)?;
            coder.known.insert(bits, peer);
        }
        ensure!(
            coder.known.len() == ranks as usize,
            "the messages of two ranks decode alike: the check of what arrives would be blind"
        );
        Ok(coder)
    }

    fn message(&self, pair: &[Vec<f32>; 2]) -> Result<Vec<u8>> {
        let mut message = Vec::new();
        for tensor in pair {
            message.extend(self.compressor.encode(tensor, self.shape)?.0);
        }
        Ok(message)
    }

    /// The first bits of each row of what a message decodes to.
    fn bits(&self, message: &[u8]) -> Result<Vec<u32>> {
        let mut bits = Vec::new();
        for half in message.chunks(message.len() / 2) {
            let decoded = self.compressor.decode(half, self.shape)?;
            let firsts = decoded.chunks(self.shape.channels()).map(|row| row[0]);
            bits.extend(firsts.map(f32::to_bits));
        }
        Ok(bits)
    }

    /// Compresses the own K and V; holds the message.
    ///
    /// # Errors
    /// What the codec says.
    pub(crate) fn encode(&mut self) -> Result<()> {
        self.held = vec![Arc::new(self.message(&self.own)?)];
        Ok(())
    }

    /// The message to send on, of so many bytes; nothing when the plan does not compress here.
    ///
    /// # Errors
    /// When the message has other than the simulated bytes.
    pub(crate) fn outgoing(&self, bytes: u64) -> Result<Option<Arc<Vec<u8>>>> {
        let Some(last) = self.held.last() else {
            return Ok(None);
        };
        let has = last.len() as u64;
        ensure!(
            has == bytes,
            "a message has {has} bytes, the simulator counts {bytes}"
        );
        Ok(Some(Arc::clone(last)))
    }

    /// Holds what arrived, to be decoded and sent on.
    pub(crate) fn hold(&mut self, messages: Vec<Arc<Vec<u8>>>) {
        self.held = messages;
    }

    /// Decompresses everything that is held.
    ///
    /// # Errors
    /// When a message decodes to nobody's K and V.
    pub(crate) fn decode(&self) -> Result<()> {
        for message in &self.held {
            let bits = self.bits(message)?;
            let known = self.known.get(&bits);
            known.context("a message decodes to other values than its sender compressed")?;
        }
        Ok(())
    }

    /// Forgets the messages of the run before.
    pub(crate) fn forget(&mut self) {
        self.held.clear();
    }
}
