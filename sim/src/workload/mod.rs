//! What one forward pass of a model does for a request: operations by block, device-free.
//!
//! ```text
//! head -> blocks in execution order -> tail        once per forward pass
//! ```
//! Guarantees:
//! 1. Shapes are per row; `rows` says how many rows one forward pass has.
//! 2. FLOPs are exact integers, a multiply-add counting as two, and agree with torch's
//!    `FlopCounterMode` on the models where that was run.
//!
//! Not modelled: norms, activations, rotary embeddings and residual sums (memory-bound passes: the
//! cost model counts them per block), biases, and the sampler.

mod block;

pub use block::{
    AttentionCall, AttentionKind, Block, BlockKind, CONDITION, ELEMENT_BYTES, Gemm, Linear, Role,
    Shard, Split, TokenCounts, Tokens,
};
use topologies::{Bytes, Flops};

use crate::model::{Grid, Model, Request, RequestError};

/// The blocks of a forward pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Embedders, refiners of the text, modulation shared by all blocks.
    pub head: Block,
    /// Distinct blocks.
    pub kinds: Vec<Block>,
    /// Execution order: indices into `kinds`.
    pub order: Vec<usize>,
    /// Final norm and projection.
    pub tail: Block,
}

/// What one forward pass of a model does for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The model's name.
    pub model: &'static str,
    /// The request.
    pub request: Request,
    /// Image tokens along each axis.
    pub grid: Grid,
    /// Tokens of one row.
    pub tokens: TokenCounts,
    /// Rows of one forward pass: images x guidance branches that share it.
    pub rows: u64,
    /// Forward passes per step: 2 with sequential guidance.
    pub forwards_per_step: u64,
    /// Width of the residual stream.
    pub hidden: u64,
    /// The blocks.
    pub layers: Layers,
}

impl Workload {
    /// What one forward pass of `model` does for `request`.
    ///
    /// # Errors
    /// A [`RequestError`] when the model cannot make such an image or video.
    pub fn new(model: &Model, request: &Request) -> Result<Self, RequestError> {
        let grid = model.grid(request)?;
        let tokens = TokenCounts {
            image: grid.tokens(),
            text: u64::from(request.text_tokens),
            audio: model.architecture.audio_tokens(request.frames),
        };
        Ok(Self {
            model: model.name,
            request: *request,
            grid,
            tokens,
            rows: u64::from(request.batch) * request.guidance.rows_per_image(),
            forwards_per_step: request.guidance.forwards_per_step(),
            hidden: model.hidden,
            layers: model.architecture.layers(model, &grid, tokens),
        })
    }

    /// The blocks in execution order, head and tail excluded.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = &Block> {
        let layers = &self.layers;
        layers.order.iter().map(|kind| &layers.kinds[*kind])
    }

    /// Head, blocks and tail in execution order.
    pub fn all_blocks(&self) -> impl Iterator<Item = &Block> {
        std::iter::once(&self.layers.head)
            .chain(self.blocks())
            .chain(std::iter::once(&self.layers.tail))
    }

    /// FLOPs of the convolutions of one forward pass, all rows: the patch embedder of some
    /// models, most of a U-Net.
    #[must_use]
    pub fn convolution_flops(&self) -> Flops {
        self.all_blocks()
            .map(|block| block.convolution_flops(self.rows))
            .sum()
    }

    /// FLOPs of the matrix products of one forward pass, all rows, convolutions left out.
    #[must_use]
    pub fn linear_flops(&self) -> Flops {
        self.all_blocks()
            .map(|block| block.linear_flops(self.rows))
            .sum()
    }

    /// FLOPs of the attention of one forward pass, all rows.
    #[must_use]
    pub fn attention_flops(&self) -> Flops {
        self.all_blocks()
            .map(|block| block.attention_flops(self.rows))
            .sum()
    }

    /// FLOPs of the whole denoising loop.
    #[must_use]
    pub fn denoise_flops(&self) -> Flops {
        (self.linear_flops() + self.convolution_flops() + self.attention_flops())
            * (self.forwards_per_step * u64::from(self.request.steps))
    }

    /// Stored weights of the transformer (one expert, where experts switch by timestep).
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.all_blocks().map(Block::parameters).sum()
    }

    /// Bytes of the transformer's weights in bf16.
    #[must_use]
    pub fn weight_bytes(&self) -> Bytes {
        Bytes::new(self.parameters() * ELEMENT_BYTES)
    }

    /// Bytes of one full activation of the widest block: rows x tokens x width, bf16.
    #[must_use]
    pub fn activation_bytes(&self) -> Bytes {
        self.blocks()
            .map(|block| block.activation_bytes(self.rows))
            .max()
            .unwrap_or(Bytes::ZERO)
    }

    /// Bytes of K and V of the block that has the most, all tokens and rows, bf16.
    #[must_use]
    pub fn kv_bytes_per_block(&self) -> Bytes {
        self.blocks()
            .map(|block| block.kv_bytes(self.rows))
            .max()
            .unwrap_or(Bytes::ZERO)
    }
}
