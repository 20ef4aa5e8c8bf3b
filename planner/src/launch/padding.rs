//! What engines pad where a degree does not divide it; what they do not pad they refuse.
//!
//! | engine | image tokens | heads | source |
//! |---|---|---|---|
//! | xDiT | of rings and Ulysses | no | `xfuser/model_executor/models/transformers/transformer_flux.py` at 071fb8d, `pad_to_sp_divisible`; `transformers_utils.py`, `chunk_and_pad_sequence` (Wan, Qwen-Image, Z-Image, HunyuanVideo-1.5, LTX) |
//! | CompactFusion | no | no | a fork of xDiT from before that; it runs what xDiT does not |
//! | SGLang | of rings and Ulysses | no | "Token-level sequence sharding", lmsys.org, 2026-02-10 |
//! | diffusers | of Ulysses alone | no | `ContextParallelConfig(ulysses_anything=True)`, issue 12706 |
//! | cache-dit | of Ulysses alone | of Ulysses alone | Ulysses Anything Attention, which pads heads |
//! | PipeFusion | no | no | the code of the paper |

use sim::legality::Pads;
use sim::plan::{Plan, RingLoop};

use super::Engine;

impl Engine {
    /// What it pads of a plan.
    #[must_use]
    pub fn pads(self, plan: &Plan) -> Pads {
        // Everything else of xDiT's is run by CompactFusion.
        let own = plan.compression.is_raw() && plan.ring_loop == RingLoop::Engine;
        let (tokens, heads) = match self {
            Self::Xdit | Self::Sglang => (own, false),
            Self::Diffusers => (own && !plan.has_ring(), false),
            Self::CacheDit => (own && !plan.has_ring(), own && !plan.has_ring()),
            Self::PipeFusion => (false, false),
        };
        Pads { tokens, heads }
    }
}
