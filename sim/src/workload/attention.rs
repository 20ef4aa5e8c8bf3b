//! Attention calls: what attends to what.

use super::tokens::Tokens;

/// What an attention call connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttentionKind {
    /// Image and text tokens attend to image and text tokens.
    Joint,
    /// Image tokens attend to image tokens.
    SelfImage,
    /// Image tokens attend to text (or other conditioning) tokens: local under sequence parallelism.
    Cross,
    /// Image tokens attend to the tokens of their own frame.
    Spatial,
    /// Image tokens attend to the tokens at their own position in other frames.
    Temporal,
    /// Tokens of one modality attend to those of another that is split too (video and audio).
    CrossStream,
    /// Linear attention: a `head_dim x head_dim` state per head instead of a score matrix.
    Linear,
    /// Tokens of a conditioning stream (text, audio) attend to each other: local or tiny.
    SelfOther,
}

/// One attention call of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttentionCall {
    /// What it connects.
    pub kind: AttentionKind,
    /// Heads.
    pub heads: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// Query tokens.
    pub queries: Tokens,
    /// Key and value tokens.
    pub keys: Tokens,
    /// Independent sequences that share queries and keys evenly (frames, positions); 1 otherwise.
    pub sequences: u64,
}

impl AttentionCall {
    /// Whether keys and values must reach every rank when image tokens are split.
    #[must_use]
    pub const fn crosses_shards(&self) -> bool {
        matches!(
            self.kind,
            AttentionKind::Joint
                | AttentionKind::SelfImage
                | AttentionKind::Spatial
                | AttentionKind::Temporal
                | AttentionKind::CrossStream
                | AttentionKind::Linear
        )
    }

    /// Width of Q, K and V.
    #[must_use]
    pub const fn width(&self) -> u64 {
        self.heads * self.head_dim
    }
}
