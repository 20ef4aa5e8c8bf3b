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
//! Not modelled: norms, activations, rotary embeddings and residual sums (elementwise kernels: the
//! cost model counts them per block), biases, and the sampler.

mod attention;
mod block;
mod linear;
mod tokens;

pub use attention::{AttentionCall, AttentionKind};
pub use block::{Block, BlockKind, ELEMENT_BYTES, Shard};
pub use linear::{Gemm, Linear, Role, Split};
pub use tokens::{CONDITION, TokenCounts, Tokens};
use topologies::{Bytes, Flops};

use crate::model::{Encoder, Grid, Model, Request, RequestError, SequenceAxis};

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
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// The model.
    pub model: Model,
    /// The request, without the steps that the model's pipeline skips.
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
    /// Latent frames of one image or video.
    pub latent_frames: u64,
    /// Values of one image's or video's latent.
    pub latent_values: u64,
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
        let steps = request.steps.saturating_sub(model.idle_steps);
        Ok(Self {
            model: model.clone(),
            request: Request {
                steps: steps.max(request.steps.min(1)),
                ..*request
            },
            grid,
            tokens,
            rows: u64::from(request.batch) * request.guidance.rows_per_image(),
            forwards_per_step: request.guidance.forwards_per_step(),
            hidden: model.hidden,
            layers: model.architecture.layers(model, &grid, tokens),
            latent_frames: u64::from(model.latent.frames(request.frames)),
            latent_values: model.latent.values(request.resolution, request.frames),
        })
    }

    /// Image tokens of one row.
    #[must_use]
    pub const fn image_tokens(&self) -> u64 {
        self.tokens.image
    }

    /// Text tokens of one row.
    #[must_use]
    pub const fn text_tokens(&self) -> u64 {
        self.tokens.text
    }

    /// Whether `degree` ranks can share the image tokens evenly, as the model's stack cuts them.
    #[must_use]
    pub const fn image_splits(&self, degree: u64) -> bool {
        match self.model.sequence_axis {
            SequenceAxis::Tokens => self.tokens.image.is_multiple_of(degree),
            SequenceAxis::Rows => self.grid.height.is_multiple_of(degree),
        }
    }

    /// Whether `degree` ranks share the text tokens: where these are in the sequence, and divide evenly. Else, and where
    /// image tokens attend to them as keys alone, each rank has all of them.
    #[must_use]
    pub fn text_splits(&self, degree: u64) -> bool {
        let mut calls = self.blocks().flat_map(|block| &block.attention);
        self.tokens.text.is_multiple_of(degree) && calls.any(|call| call.keys == Tokens::Joint)
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

    /// FLOPs of the GEMMs of one forward pass, all rows, convolutions left out.
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

    /// FLOPs of encoding the prompt, and the negative prompt where guidance needs one.
    #[must_use]
    pub fn encoder_flops(&self) -> Flops {
        let prompts = self.request.guidance.branches();
        self.model
            .encoders
            .iter()
            .map(|encoder| encoder.flops(prompts))
            .sum()
    }

    /// Bytes of the encoders' weights in bf16.
    #[must_use]
    pub fn encoder_bytes(&self) -> Bytes {
        self.model.encoders.iter().map(Encoder::weight_bytes).sum()
    }

    /// FLOPs of decoding all images or videos.
    #[must_use]
    pub fn vae_flops(&self) -> Flops {
        self.model
            .vae
            .flops(self.request.resolution, self.latent_frames)
            * u64::from(self.request.batch)
    }

    /// Peak activation memory of decoding one image or video.
    #[must_use]
    pub fn vae_peak_bytes(&self) -> Bytes {
        let frames = u64::from(self.request.frames);
        self.model.vae.peak_bytes(self.request.resolution, frames)
    }

    /// Bytes of the latents of all images or videos, bf16.
    #[must_use]
    pub fn latent_bytes(&self) -> Bytes {
        Bytes::new(self.latent_values * u64::from(self.request.batch) * ELEMENT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Guidance, find, known};

    fn default_of(name: &str) -> Workload {
        let model = find(name).unwrap();
        model.workload(&model.default).unwrap()
    }

    #[test]
    fn gemms_add_up_to_the_flops_of_every_block() {
        for model in known() {
            let work = model.workload(&model.default).unwrap();
            for block in work.all_blocks() {
                let gemms: Flops = block
                    .gemms(&Shard::whole(work.rows))
                    .iter()
                    .map(Gemm::flops)
                    .sum();
                let counted = block.linear_flops(work.rows) + block.convolution_flops(work.rows);
                assert_eq!(gemms, counted, "{} {:?}", model.name, block.kind);
            }
        }
    }

    #[test]
    fn even_shards_conserve_work() {
        // Two sequence shards or two tensor shards do twice half of what is split, and twice all
        // of what is replicated.
        let work = default_of("FLUX.1-dev");
        for block in work.blocks() {
            let whole: u64 = work_of(block, Shard::whole(1));
            let conditioning: u64 = block
                .gemms(&Shard::whole(1))
                .iter()
                .filter(|gemm| gemm.role == Role::Modulation)
                .map(|gemm| gemm.flops().get())
                .sum();
            let sequence = Shard {
                image_parts: 2,
                text_parts: 2,
                ..Shard::whole(1)
            };
            let tensor = Shard {
                tensor_degree: 2,
                ..Shard::whole(1)
            };
            assert_eq!(2 * work_of(block, sequence), whole + conditioning);
            assert_eq!(2 * work_of(block, tensor), whole + conditioning);
        }
    }

    fn work_of(block: &Block, shard: Shard) -> u64 {
        let gemms = block.gemms(&shard);
        gemms.iter().map(|gemm| gemm.flops().get()).sum()
    }

    #[test]
    fn all_reduces_follow_from_row_split_matrices() {
        let calls = |name: &str| {
            let work = default_of(name);
            work.layers.kinds[0].all_reduces(&Shard::whole(1)).len()
        };
        // FLUX double blocks: two of the image, two of the text; single blocks: one of both.
        let (image, text) = (4096 * 3072 * 2, 512 * 3072 * 2);
        let work = default_of("FLUX.1-dev");
        let (first, last) = (work.blocks().next().unwrap(), work.blocks().last().unwrap());
        let shard = Shard::whole(1);
        let bytes = |list: &[u64]| list.iter().map(|&b| Bytes::new(b)).collect::<Vec<_>>();
        assert_eq!(
            first.all_reduces(&shard),
            bytes(&[image, image, text, text])
        );
        assert_eq!(last.all_reduces(&shard), bytes(&[image + text]));
        // Cross-attention adds a third, except in PixArt's published runs.
        assert_eq!(calls("Wan2.1-T2V-1.3B"), 3);
        assert_eq!(calls("PixArt-alpha"), 2);
    }

    #[test]
    fn flux_activations_and_keys_have_the_published_size() {
        // A = 4608 x 3072 x 2 = 28.3 MB; K and V of a block are two of those.
        let work = default_of("FLUX.1-dev");
        assert_eq!(work.activation_bytes(), Bytes::new(28_311_552));
        assert_eq!(work.kv_bytes_per_block(), Bytes::new(2 * 28_311_552));
        assert_eq!(work.latent_bytes(), Bytes::new(16 * 128 * 128 * 2));
    }

    #[test]
    fn guidance_doubles_rows_or_forward_passes() {
        let model = find("SD3-medium").unwrap();
        let with = |guidance| {
            let request = Request {
                guidance,
                ..model.default
            };
            model.workload(&request).unwrap()
        };
        let (none, batched) = (with(Guidance::None), with(Guidance::Batched));
        let sequential = with(Guidance::Sequential);
        assert_eq!((none.rows, none.forwards_per_step), (1, 1));
        assert_eq!((batched.rows, batched.forwards_per_step), (2, 1));
        assert_eq!((sequential.rows, sequential.forwards_per_step), (1, 2));
        assert_eq!(batched.linear_flops(), none.linear_flops() * 2);
        assert_eq!(batched.denoise_flops(), sequential.denoise_flops());
        assert_eq!(batched.encoder_flops(), none.encoder_flops() * 2);
    }

    /// ZImagePipeline leaves out the step whose time is 0: nine steps are eight passes, one is one.
    #[test]
    fn a_step_that_the_pipeline_skips_is_no_pass() {
        let model = find("Z-Image-Turbo").unwrap();
        for (steps, passes) in [(9, 8), (2, 1), (1, 1)] {
            let request = Request {
                steps,
                ..model.default
            };
            let work = model.workload(&request).unwrap();
            assert_eq!(work.request.steps, passes);
        }
        assert_eq!(default_of("FLUX.1-dev").request.steps, 28);
    }

    #[test]
    fn cogvideox_splits_by_token_rows() {
        // 480 pixels are 30 token rows; FLUX's 4096 tokens split by any power of two.
        let legal: Vec<u64> = (1..=8)
            .filter(|degree| default_of("CogVideoX-2b").image_splits(*degree))
            .collect();
        assert_eq!(legal, [1, 2, 3, 5, 6]);
        assert!(default_of("FLUX.1-dev").image_splits(8));
        assert!(!default_of("SD3-medium").text_splits(2));
    }

    #[test]
    fn spatial_attention_stays_within_a_frame() {
        // 16 frames of 1024 tokens: 1/16 of full attention. Temporal: 1/1024.
        let work = default_of("Latte-1");
        let [spatial, temporal] = &work.layers.kinds[..] else {
            panic!("Latte has two kinds of blocks");
        };
        let full = 4 * 16_384 * 16_384 * 1152;
        let flops = |block: &Block| block.call_flops(&block.attention[0], 1).get();
        assert_eq!(flops(spatial), full / 16);
        assert_eq!(flops(temporal), full / 1024);
    }
}
