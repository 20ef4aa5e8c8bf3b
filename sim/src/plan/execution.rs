//! How a plan is executed beside its layout: where weights live, and in which numbers it computes ([`Precision`]).
//!
//! | word of `residency=` | weights |
//! |---|---|
//! | (none) | all on every GPU that computes with them, all the run |
//! | `in-turn` | encoders, transformer and VAE on the GPU one after another, from host memory |
//! | `fsdp` | the transformer's split over the ranks that would hold the same; a block gathered before its use |
//! | `layerwise(R)` | R blocks on the GPU; the others come from host memory in every forward pass, one ahead |
//! | `layerwise(R,0)` | the same, each copied when it is needed |
//! | `encoders-in-turn` | the encoders' copied to the GPU layer by layer, for encoding |
//! | `encoders-split` | the encoders' split over all ranks |
//! | `encoders-elsewhere` | the encoders on another machine or process |
//!
//! Words are joined by `+`: `residency=fsdp+encoders-split`.

use std::fmt;
use std::str::FromStr;

use super::Precision;

/// How a plan is executed beside its layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Execution {
    /// Where weights live.
    pub residency: Residency,
    /// In which numbers products run.
    pub precision: Precision,
}

/// Where weights live while requests run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Residency {
    /// Whether the components are on the GPU together.
    pub components: Components,
    /// Where the encoders are.
    pub encoders: Encoders,
    /// Where the transformer's weights are.
    pub transformer: Weights,
}

/// Whether encoders, transformer and VAE are on the GPU together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Components {
    /// All the run: `pipeline.to("cuda")`, what diffusers' pipelines and xDiT's examples do.
    #[default]
    Together,
    /// Each in its phase only: `enable_model_cpu_offload()`, Wan's `--offload_model`.
    InTurn,
}

/// Where the encoders are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoders {
    /// Whole on every rank.
    #[default]
    Whole,
    /// Split over all ranks: xDiT's `--text_encoder_tp_degree`, cache-dit's encoder parallelism, Wan's `--t5_fsdp`.
    Split,
    /// In host memory, copied to the GPU layer by layer for encoding: SGLang's offloading of text encoders.
    InTurn,
    /// On the host or on another GPU: Wan's `--t5_cpu`, Step-Video's servers.
    Elsewhere,
}

/// Where the transformer's weights are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weights {
    /// All on every GPU that computes with them.
    #[default]
    Resident,
    /// A part on each rank that would hold the same; a block is gathered before its use, one ahead (FSDP).
    Sharded,
    /// In host memory but for some blocks; the others are copied in every forward pass.
    Layerwise {
        /// Blocks on the GPU.
        resident: u32,
        /// Blocks copied ahead; 0 is none.
        ahead: u32,
    },
}

impl Residency {
    /// Everything on every GPU.
    pub const RESIDENT: Self = Self {
        components: Components::Together,
        encoders: Encoders::Whole,
        transformer: Weights::Resident,
    };
}

impl fmt::Display for Residency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let components = match self.components {
            Components::Together => None,
            Components::InTurn => Some("in-turn".to_owned()),
        };
        let transformer = match self.transformer {
            Weights::Resident => None,
            Weights::Sharded => Some("fsdp".to_owned()),
            Weights::Layerwise { resident, ahead: 1 } => Some(format!("layerwise({resident})")),
            Weights::Layerwise { resident, ahead } => {
                Some(format!("layerwise({resident},{ahead})"))
            }
        };
        let encoders = match self.encoders {
            Encoders::Whole => None,
            Encoders::Split => Some("encoders-split".to_owned()),
            Encoders::InTurn => Some("encoders-in-turn".to_owned()),
            Encoders::Elsewhere => Some("encoders-elsewhere".to_owned()),
        };
        let words: Vec<String> = [components, transformer, encoders]
            .into_iter()
            .flatten()
            .collect();
        f.write_str(if words.is_empty() { "resident" } else { "" })?;
        f.write_str(&words.join("+"))
    }
}

/// Words that say no residency, or two that cannot stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoResidency;

impl FromStr for Residency {
    type Err = NoResidency;

    fn from_str(text: &str) -> Result<Self, NoResidency> {
        let mut residency = Self::RESIDENT;
        for word in text.split('+') {
            let Self {
                components,
                encoders,
                transformer,
            } = residency;
            match word {
                "resident" if text == word => {}
                "in-turn" if components == Components::Together => {
                    residency.components = Components::InTurn
                }
                "fsdp" if transformer == Weights::Resident => {
                    residency.transformer = Weights::Sharded
                }
                "encoders-split" if encoders == Encoders::Whole => {
                    residency.encoders = Encoders::Split
                }
                "encoders-in-turn" if encoders == Encoders::Whole => {
                    residency.encoders = Encoders::InTurn
                }
                "encoders-elsewhere" if encoders == Encoders::Whole => {
                    residency.encoders = Encoders::Elsewhere
                }
                _ if transformer == Weights::Resident => {
                    residency.transformer = layerwise(word).ok_or(NoResidency)?
                }
                _ => return Err(NoResidency),
            }
        }
        Ok(residency)
    }
}

/// `layerwise(R)` or `layerwise(R,P)`.
fn layerwise(word: &str) -> Option<Weights> {
    let inside = word.strip_prefix("layerwise(")?.strip_suffix(')')?;
    let (resident, ahead) = inside.split_once(',').unwrap_or((inside, "1"));
    Some(Weights::Layerwise {
        resident: resident.parse().ok()?,
        ahead: ahead.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_residency_reads_back_what_it_writes() {
        for line in [
            "resident",
            "in-turn",
            "fsdp",
            "layerwise(20)",
            "layerwise(0,0)",
            "in-turn+fsdp+encoders-split",
            "layerwise(8)+encoders-in-turn",
        ] {
            let read: Residency = line.parse().unwrap();
            assert_eq!(read.to_string(), line);
        }
        for line in [
            "",
            "offload",
            "fsdp+fsdp",
            "fsdp+layerwise(2)",
            "layerwise(x)",
            "resident+fsdp",
            "layerwise(2",
        ] {
            assert_eq!(line.parse::<Residency>(), Err(NoResidency), "{line}");
        }
    }
}
