//! Groups of tokens, how many each has, and how a rank's share of them is counted.

/// Which tokens of a row an operation touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tokens {
    /// Image or video tokens: what sequence parallelism splits.
    Image,
    /// Text tokens.
    Text,
    /// Image and text tokens in one matrix with shared weights.
    Joint,
    /// Audio tokens of a dual-stream model: split like the image's.
    Audio,
    /// A small fixed number, the same on every rank: 1 for conditioning (time, guidance, pooled
    /// text), more for pooled caption tokens or reference image embeddings.
    Fixed(u64),
}

/// Time, guidance and pooled-text conditioning: one token per row.
pub const CONDITION: Tokens = Tokens::Fixed(1);

/// Tokens of one row, by group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenCounts {
    /// Image or video tokens.
    pub image: u64,
    /// Text tokens as the block sees them (0 where the model has none).
    pub text: u64,
    /// Audio tokens (0 unless the model has an audio stream).
    pub audio: u64,
}

impl TokenCounts {
    /// How many tokens a group has.
    #[must_use]
    pub const fn of(&self, tokens: Tokens) -> u64 {
        match tokens {
            Tokens::Image => self.image,
            Tokens::Text => self.text,
            Tokens::Joint => self.image + self.text,
            Tokens::Audio => self.audio,
            Tokens::Fixed(count) => count,
        }
    }

    /// The largest part when image and audio are cut in `image_parts`, text in `text_parts`.
    ///
    /// # Panics
    /// If a number of parts is zero: a lowering always has at least one.
    #[must_use]
    pub const fn part(&self, image_parts: u64, text_parts: u64) -> Self {
        assert!(
            image_parts > 0 && text_parts > 0,
            "tokens are cut in at least one part"
        );
        Self {
            image: self.image.div_ceil(image_parts),
            text: self.text.div_ceil(text_parts),
            audio: self.audio.div_ceil(image_parts),
        }
    }
}
