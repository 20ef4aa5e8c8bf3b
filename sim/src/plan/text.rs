//! A plan's line: `cfg2+ulysses2+ring4/1bit warmup=1`, written and read.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use topologies::DeviceId;

use super::{
    Compression, CompressionError, Exchange, Pipeline, Plan, Precision, Residency, RingLoop,
};

/// The most ranks of a plan that is read.
pub const MOST_RANKS: u32 = 65_536;

/// A plan that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanTextError {
    /// A part that is not a known strategy with a degree.
    #[error(
        "\"{part}\" is not a part of a plan: write for instance cfg2+ulysses2+ring4/1bit, from none, \
         dpN, cfgN, pipefusionN, pipefusionN(mM), ulyssesN, ringN, allgather-kvN, attention2dRxC, \
         distrifusionN, tpN, vae-pN"
    )]
    Part {
        /// What was written.
        part: String,
    },
    /// Two parts that cannot stand together.
    #[error(
        "\"{part}\" stands beside another ring, all-gather, attention2d or distrifusion part: give one of them"
    )]
    TwoExchanges {
        /// The second of them.
        part: String,
    },
    /// More ranks than any plan has.
    #[error(
        "\"{line}\" has more than {MOST_RANKS} ranks: its degrees multiply to them, give smaller ones"
    )]
    Ranks {
        /// What was written.
        line: String,
    },
    /// What stands after the slash.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A setting after the plan that is not known.
    #[error(
        "\"{text}\" is not a setting of a plan: write warmup=N, loop=fused, or residency= with one of in-turn, fsdp, \
         layerwise(BLOCKS), and encoders-split, encoders-in-turn or encoders-elsewhere, joined by +, or precision= with one of \
         {}",
        words()
    )]
    Setting {
        /// What was written.
        text: String,
    },
}

/// Words of precisions.
fn words() -> String {
    Precision::ALL.map(Precision::word).join(", ")
}

impl Plan {
    /// The strategy with its degrees, as published tables write it: `cfg2+ulysses2+ring2`.
    #[must_use]
    pub fn strategy(&self) -> String {
        let mut parts = Vec::new();
        let mut part = |name: &str, degree: u32| {
            if degree > 1 {
                parts.push(format!("{name}{degree}"));
            }
        };
        part("dp", self.data);
        part("cfg", self.cfg);
        part("ulysses", self.ulysses);
        match self.exchange {
            Exchange::Ring(n) => part("ring", n),
            Exchange::Gather(n) => part("allgather-kv", n),
            Exchange::Displaced(n) => part("distrifusion", n),
            Exchange::Attention2d { rows, columns } => {
                parts.push(format!("attention2d{rows}x{columns}"));
            }
        }
        let Pipeline { stages, patches } = self.pipeline;
        if stages > 1 {
            let count = if patches == stages {
                String::new()
            } else {
                format!("(m{patches})")
            };
            parts.push(format!("pipefusion{stages}{count}"));
        }
        for (name, degree) in [("tp", self.tensor), ("vae-p", self.vae)] {
            if degree > 1 {
                parts.push(format!("{name}{degree}"));
            }
        }
        if parts.is_empty() {
            "none".to_owned()
        } else {
            parts.join("+")
        }
    }
}

/// The line without the placement: `cfg2+ring2/2bit warmup=1`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.strategy())?;
        if !self.compression.is_raw() {
            write!(f, "/{}", self.compression)?;
        }
        if self.warms_up() {
            write!(f, " warmup={}", self.warmup)?;
        }
        if self.ring_loop == RingLoop::Fused && self.has_ring() {
            f.write_str(" loop=fused")?;
        }
        if self.execution.residency != Residency::RESIDENT {
            write!(f, " residency={}", self.execution.residency)?;
        }
        if self.execution.precision != Precision::Bf16 {
            write!(f, " precision={}", self.execution.precision)?;
        }
        Ok(())
    }
}

/// Reads a plan's line; ranks are placed on the first GPUs, in order.
impl FromStr for Plan {
    type Err = PlanTextError;

    fn from_str(text: &str) -> Result<Self, PlanTextError> {
        let mut words = text.split_whitespace();
        let layout = words.next().unwrap_or_default();
        let (strategy, compression) = match layout.split_once('/') {
            Some((strategy, compression)) => (strategy, compression.parse()?),
            None => (layout, Compression::Raw),
        };
        let mut plan = Self::single(DeviceId::new(0));
        for part in strategy.split('+') {
            read_part(&mut plan, part)?;
        }
        plan.compression = compression;
        plan.warmup = u32::from(plan.warms_up());
        for word in words {
            let unknown = || PlanTextError::Setting {
                text: word.to_owned(),
            };
            match word.split_once('=') {
                Some(("warmup", count)) => plan.warmup = count.parse().map_err(|_| unknown())?,
                Some(("loop", "fused")) => plan.ring_loop = RingLoop::Fused,
                Some(("residency", words)) => {
                    plan.execution.residency = words.parse().map_err(|_| unknown())?;
                }
                Some(("precision", word)) => {
                    plan.execution.precision = word.parse().map_err(|_| unknown())?;
                }
                _ => return Err(unknown()),
            }
        }
        if !plan.warms_up() {
            plan.warmup = 0;
        }
        if !plan.has_ring() {
            plan.ring_loop = RingLoop::Engine;
        }
        let ranks = ranks(&plan).ok_or_else(|| PlanTextError::Ranks {
            line: layout.to_owned(),
        })?;
        Ok(plan.placed((0..ranks).map(DeviceId::new).collect()))
    }
}

/// The ranks of a plan, where they are at most [`MOST_RANKS`].
fn ranks(plan: &Plan) -> Option<usize> {
    let outer = match plan.exchange {
        Exchange::Attention2d { rows, columns } => [rows, columns],
        other => [other.degree(), 1],
    };
    let degrees = [
        plan.data,
        plan.cfg,
        plan.pipeline.stages,
        plan.ulysses,
        plan.tensor,
    ];
    let mut all = degrees.into_iter().chain(outer);
    let ranks = all.try_fold(1_u32, u32::checked_mul)?;
    (ranks <= MOST_RANKS).then_some(ranks as usize)
}

/// Sets what one part of a strategy says.
fn read_part(plan: &mut Plan, part: &str) -> Result<(), PlanTextError> {
    let unknown = || PlanTextError::Part {
        part: part.to_owned(),
    };
    if part == "none" {
        return Ok(());
    }
    if let Some(grid) = part.strip_prefix("attention2d") {
        let (rows, columns) = grid.split_once('x').ok_or_else(unknown)?;
        let (rows, columns) = (
            count(rows).ok_or_else(unknown)?,
            count(columns).ok_or_else(unknown)?,
        );
        return set_exchange(plan, Exchange::Attention2d { rows, columns }, part);
    }
    if let Some(rest) = part.strip_prefix("pipefusion") {
        let (stages, patches) = match rest.split_once("(m") {
            Some((stages, patches)) => (stages, patches.strip_suffix(')')),
            None => (rest, Some(rest)),
        };
        let stages = count(stages).ok_or_else(unknown)?;
        let patches = patches.and_then(count).ok_or_else(unknown)?;
        if stages == 1 {
            plan.pipeline = Pipeline::NONE;
            return Ok(());
        }
        plan.pipeline = Pipeline { stages, patches };
        return Ok(());
    }
    let digits = part.len() - part.chars().rev().take_while(char::is_ascii_digit).count();
    let (name, degree) = part.split_at(digits);
    let degree = count(degree).ok_or_else(unknown)?;
    match name {
        "dp" => plan.data = degree,
        "cfg" => plan.cfg = degree,
        "ulysses" => plan.ulysses = degree,
        "tp" => plan.tensor = degree,
        "vae-p" => plan.vae = degree,
        "ring" => return set_exchange(plan, Exchange::Ring(degree), part),
        "allgather-kv" => return set_exchange(plan, Exchange::Gather(degree), part),
        "distrifusion" => return set_exchange(plan, Exchange::Displaced(degree), part),
        _ => return Err(unknown()),
    }
    Ok(())
}

fn set_exchange(plan: &mut Plan, exchange: Exchange, part: &str) -> Result<(), PlanTextError> {
    if plan.exchange != Exchange::NONE {
        return Err(PlanTextError::TwoExchanges {
            part: part.to_owned(),
        });
    }
    plan.exchange = match exchange {
        Exchange::Attention2d { .. } => exchange,
        alone if alone.degree() == 1 => Exchange::NONE,
        other => other,
    };
    Ok(())
}

/// A degree: a whole number from 1 to 65,536.
fn count(text: &str) -> Option<u32> {
    text.parse()
        .ok()
        .filter(|degree| (1..=65_536).contains(degree))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_back_what_it_writes() {
        for line in [
            "none",
            "cfg2+ulysses2+ring4",
            "ulysses2+ring2/1bit warmup=1",
            "ulysses2+ring2/1bit warmup=1 loop=fused",
            "ring4 loop=fused",
            "ulysses4 residency=fsdp+encoders-split",
            "ring2/1bit warmup=1 loop=fused residency=in-turn",
            "ulysses4 precision=fp8-row",
            "none residency=layerwise(20) precision=nvfp4",
            "cfg2+pipefusion4(m8) warmup=0",
            "distrifusion4 warmup=4",
            "attention2d2x4",
            "allgather-kv4/2bit warmup=1",
            "ring4/mixed(1bit=0-18,20;2bit=19) warmup=1",
            "dp2+ulysses4+tp2+vae-p8",
        ] {
            let plan: Plan = line.parse().unwrap();
            assert_eq!(plan.to_string(), line);
            assert_eq!(plan.placement.len(), plan.ranks() as usize);
        }
    }

    #[test]
    fn what_does_nothing_is_not_kept() {
        for (line, plan) in [
            ("allgather-kv1", "none"),
            ("cfg2+pipefusion1(m4)", "cfg2"),
            ("ring4 warmup=3", "ring4"),
            ("ulysses4/1bit loop=fused", "ulysses4/1bit"),
        ] {
            let read: Plan = line.parse().unwrap();
            assert_eq!(read, plan.parse().unwrap(), "{line}");
        }
    }

    #[test]
    fn a_wrong_part_is_named() {
        for (line, part) in [
            ("ring", "ring"),
            ("ring0", "ring0"),
            ("cfg2+spiral4", "spiral4"),
        ] {
            let error = line.parse::<Plan>().unwrap_err();
            assert_eq!(
                error,
                PlanTextError::Part {
                    part: part.to_owned()
                }
            );
        }
        for line in [
            "dp65536+cfg2",
            "dp65536+cfg65536+ulysses65536",
            "attention2d65536x65536",
        ] {
            let error = line.parse::<Plan>().unwrap_err();
            assert!(
                matches!(error, PlanTextError::Ranks { .. }),
                "{line}: {error}"
            );
        }
        assert!(matches!(
            "ring2+allgather-kv2".parse::<Plan>(),
            Err(PlanTextError::TwoExchanges { .. })
        ));
        assert!(matches!(
            "ring2/3bit".parse::<Plan>(),
            Err(PlanTextError::Compression(_))
        ));
        for line in [
            "ring2 cold=1",
            "ring2 loop=1",
            "ring2 warmup=x",
            "ring2 residency=host",
        ] {
            let error = line.parse::<Plan>().unwrap_err();
            assert!(matches!(error, PlanTextError::Setting { .. }), "{line}");
        }
    }
}
