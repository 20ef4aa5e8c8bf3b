//! What a user asks of a model: pixels, frames, steps, images and guidance.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

use super::limits;

/// How classifier-free guidance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Guidance {
    /// One prediction per step: a distilled model, or guidance given as an embedding.
    None,
    /// Both branches in one forward pass, as two rows.
    Batched,
    /// Both branches as two forward passes.
    Sequential,
    /// Guidance by text and by an image: three branches in one forward pass.
    Triple,
}

impl Guidance {
    /// Guidance branches per image: 1 to 3.
    #[must_use]
    pub const fn branches(self) -> u64 {
        match self {
            Self::None => 1,
            Self::Batched | Self::Sequential => 2,
            Self::Triple => 3,
        }
    }

    /// Forward passes per denoising step: 1 or 2.
    #[must_use]
    pub const fn forwards_per_step(self) -> u64 {
        match self {
            Self::None | Self::Batched | Self::Triple => 1,
            Self::Sequential => 2,
        }
    }

    /// Rows of one forward pass per image: 1 to 3.
    #[must_use]
    pub const fn rows_per_image(self) -> u64 {
        self.branches() / self.forwards_per_step()
    }
}

impl fmt::Display for Guidance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Batched => "batched",
            Self::Sequential => "sequential",
            Self::Triple => "triple",
        })
    }
}

/// A frame size, in pixels. Written and read as width x height: `"1280x720"`.
///
/// Published tables of video models write height x width: read those with
/// [`Resolution::from_height_x_width`]. The token count is the same either way; the height matters
/// where a sequence is split by latent rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Resolution {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Resolution {
    /// A square.
    #[must_use]
    pub const fn square(side: u32) -> Self {
        Self {
            width: side,
            height: side,
        }
    }

    /// Reads `"720x1280"` as published tables write it: height first.
    ///
    /// # Errors
    /// [`RequestError::Resolution`] if the text is not two positive numbers joined by an `x`.
    pub fn from_height_x_width(text: &str) -> Result<Self, RequestError> {
        let Self { width, height } = text.parse()?;
        Ok(Self {
            width: height,
            height: width,
        })
    }

    /// Pixels of a frame.
    #[must_use]
    pub const fn pixels(self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

impl FromStr for Resolution {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        let side = |digits: &str| digits.trim().parse::<u32>().ok().filter(|side| *side > 0);
        text.split_once(['x', 'X'])
            .and_then(|(width, height)| {
                Some(Self {
                    width: side(width)?,
                    height: side(height)?,
                })
            })
            .ok_or_else(|| RequestError::Resolution {
                text: text.to_owned(),
            })
    }
}

impl TryFrom<String> for Resolution {
    type Error = RequestError;

    fn try_from(text: String) -> Result<Self, RequestError> {
        text.parse()
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// One request to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Frame size.
    #[serde(rename = "size")]
    pub resolution: Resolution,
    /// Frames: 1 for an image.
    #[serde(default = "one", deserialize_with = "limits::count")]
    pub frames: u32,
    /// Denoising steps.
    #[serde(deserialize_with = "limits::count")]
    pub steps: u32,
    /// Images (or videos) generated together.
    #[serde(default = "one", deserialize_with = "limits::count")]
    pub batch: u32,
    /// How guidance runs.
    pub guidance: Guidance,
    /// Text tokens that reach the transformer, padding included.
    #[serde(deserialize_with = "limits::any_count")]
    pub text_tokens: u32,
}

const fn one() -> u32 {
    1
}

/// The most denoising steps of a request.
pub const MOST_STEPS: u32 = 10_000;
/// The most images or videos made together.
pub const MOST_IMAGES: u32 = 4_096;
/// The most frames of a video.
pub const MOST_FRAMES: u32 = 65_536;
/// The most pixels of a side.
pub const MOST_PIXELS: u32 = 65_536;
/// The most text tokens.
pub const MOST_TEXT_TOKENS: u32 = 65_536;
/// The most latent tokens of all images together: beyond it, counts of work leave 64 bits.
pub const MOST_TOKENS: u64 = 1 << 22;

/// A request that a model cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The frame size cannot be read.
    #[error(
        "\"{text}\" is not a frame size: write width x height in pixels, for instance \"1280x720\""
    )]
    Resolution {
        /// What was written.
        text: String,
    },
    /// A side is not a multiple of a token's pixels.
    #[error(
        "{model} cannot make a {side} of {pixels} pixels: it must be a multiple of {multiple} (nearest: {lower} or {upper})"
    )]
    Multiple {
        /// The model.
        model: String,
        /// `"width"` or `"height"`.
        side: &'static str,
        /// What was asked.
        pixels: u32,
        /// Pixels per token.
        multiple: u32,
        /// The multiple below (never 0).
        lower: u32,
        /// The multiple above.
        upper: u32,
    },
    /// An image model was asked for frames.
    #[error("{model} makes images: frames must be 1, not {frames}")]
    Frames {
        /// The model.
        model: String,
        /// What was asked.
        frames: u32,
    },
    /// A count or a side is larger than anything that runs.
    #[error("a request has at most {most} {what}: {count} were asked for")]
    Large {
        /// Which count.
        what: &'static str,
        /// What was asked.
        count: u32,
        /// The most.
        most: u32,
    },
    /// More tokens than anything that runs.
    #[error(
        "{images} times {tokens} tokens are asked for, at most {MOST_TOKENS} can be simulated: ask for smaller or fewer images"
    )]
    Tokens {
        /// Tokens of one image or video.
        tokens: u64,
        /// Images or videos.
        images: u32,
    },
    /// A count is zero.
    #[error("a request needs at least one {what}: {what} is 0")]
    Zero {
        /// Which count.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_size_reads_back() {
        let size: Resolution = "1280x720".parse().unwrap();
        assert_eq!((size.width, size.height), (1280, 720));
        assert_eq!(size.to_string().parse::<Resolution>().unwrap(), size);
        assert_eq!(Resolution::from_height_x_width("720x1280").unwrap(), size);
    }

    #[test]
    fn a_bad_frame_size_is_refused_with_an_example() {
        for text in ["1024", "x", "0x64", "64x-1", "axb"] {
            let error = text.parse::<Resolution>().unwrap_err();
            assert!(error.to_string().contains("1280x720"), "{error}");
        }
    }

    #[test]
    fn branches_are_rows_times_forwards() {
        for guidance in [
            Guidance::None,
            Guidance::Batched,
            Guidance::Sequential,
            Guidance::Triple,
        ] {
            assert_eq!(
                guidance.branches(),
                guidance.rows_per_image() * guidance.forwards_per_step()
            );
        }
    }
}
