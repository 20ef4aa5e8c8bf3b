//! `errors.csv.gz`: what replayed compressors did to the trace, as plain data.
//!
//! ```text
//! P_p = sum over the steps t of phase p of dsigma_t e_t         e_t = reconstruction - truth
//! gram(p c, q c') = <P_p^c, P_q^c'> / mean_t ||x_t||^2          upper triangle, averaged over samples
//! coherent(c) = sum over p, q of gram(p c, q c)
//! incoherent(c) = sum_t dsigma_t^2 ||e_t||^2 / mean_t ||x_t||^2
//! contraction(c) = 1 - sum ||R - dec||^2 / sum ||R||^2          over compressed steps
//! bytes(c)                                                      one rank's message
//! ```
//! Compressors are names here: this crate knows none of them. `sim::replay` computes the rows.

use serde::{Deserialize, Serialize};

use super::Tensor;
use super::rows::{Row, not_negative};

/// A third of the steps: `step * 3 / steps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The first third.
    Early,
    /// The second.
    Mid,
    /// The last.
    Late,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 3] = [Self::Early, Self::Mid, Self::Late];

    /// The phase of a step of `steps`.
    ///
    /// # Panics
    /// If there is no such step.
    #[must_use]
    pub fn of(step: u32, steps: u32) -> Self {
        assert!(step < steps, "a step of this run is asked for");
        Self::ALL[(u64::from(step) * 3 / u64::from(steps)) as usize]
    }
}

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// Product of the error sums of two (phase, compressor) pairs.
    Gram,
    /// Squared sum of all steps' errors.
    Coherent,
    /// Sum of all steps' squared errors.
    Incoherent,
    /// The share of the residual's energy that a message carries.
    Contraction,
    /// Bytes of one message.
    Bytes,
}

/// One row of `errors.csv.gz`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorRow {
    /// What the value is.
    pub kind: ErrorKind,
    /// Ranks that share the sequence.
    pub ranks: u32,
    /// The layer.
    pub layer: u32,
    /// K or V.
    pub tensor: Tensor,
    /// The phase; only of `gram`.
    pub phase: Option<Phase>,
    /// The compressor's name, or `stale`.
    pub compressor: String,
    /// The other pair's phase; only of `gram`.
    pub phase2: Option<Phase>,
    /// The other pair's compressor; only of `gram`.
    pub compressor2: Option<String>,
    /// The value: a ratio, or bytes.
    pub value: f64,
}

impl Row for ErrorRow {
    const FILE: &'static str = super::ERRORS;

    fn check(&self) -> Result<(), String> {
        if self.ranks == 0 {
            return Err("ranks is 0".to_owned());
        }
        if self.compressor.is_empty() {
            return Err("compressor is empty".to_owned());
        }
        let pair = (&self.phase, &self.phase2, &self.compressor2);
        match (self.kind, pair) {
            (ErrorKind::Gram, (Some(_), Some(_), Some(_))) => {}
            (ErrorKind::Gram, _) => {
                return Err("a gram row names two phases and two compressors".to_owned());
            }
            (_, (None, None, None)) => {}
            _ => return Err("only gram rows name phases and a second compressor".to_owned()),
        }
        match self.kind {
            ErrorKind::Coherent | ErrorKind::Incoherent | ErrorKind::Bytes => {
                not_negative("value", self.value)
            }
            ErrorKind::Gram | ErrorKind::Contraction if self.value.is_finite() => Ok(()),
            ErrorKind::Gram | ErrorKind::Contraction => Err(format!("value is {}", self.value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::{pack, read};
    use super::*;

    fn rows() -> Vec<ErrorRow> {
        let row = |kind, phase, compressor2: Option<&str>, value| ErrorRow {
            kind,
            ranks: 4,
            layer: 7,
            tensor: Tensor::V,
            phase,
            compressor: "lowrank-int4(2)".to_owned(),
            phase2: phase,
            compressor2: compressor2.map(str::to_owned),
            value,
        };
        vec![
            row(ErrorKind::Gram, Some(Phase::Mid), Some("1bit"), -1.25e-7),
            row(ErrorKind::Coherent, None, None, 0.1 + 0.2),
            row(ErrorKind::Contraction, None, None, 0.58),
            row(ErrorKind::Bytes, None, None, 4096.0),
        ]
    }

    #[test]
    fn rows_come_back_to_the_bit() {
        let packed = pack(&rows());
        assert_eq!(read::<ErrorRow>(&packed, "e.csv.gz").unwrap(), rows());
        assert_eq!(pack(&rows()), packed, "equal rows, equal bytes");
    }

    #[test]
    fn thirds_of_the_steps_are_phases() {
        let of = |steps: u32| (0..steps).map(move |step| Phase::of(step, steps));
        assert_eq!(of(28).filter(|phase| *phase == Phase::Early).count(), 10);
        assert_eq!(of(28).filter(|phase| *phase == Phase::Late).count(), 9);
        assert!(of(28).is_sorted());
        assert_eq!(of(4).collect::<Vec<_>>()[1..3], [Phase::Early, Phase::Mid]);
    }

    #[test]
    fn a_faulty_row_is_told_with_its_line() {
        const HEADER: &str = "kind,ranks,layer,tensor,phase,compressor,phase2,compressor2,value\n";
        const RIGHT: &str = "bytes,4,0,k,,1bit,,,12\n";
        for (row, what) in [
            ("bytes,4,0,k,,1bit,,,-1\n", "value is -1"),
            ("bytes,0,0,k,,1bit,,,1\n", "ranks is 0"),
            ("bytes,4,0,k,early,1bit,,,1\n", "only gram rows"),
            ("gram,4,0,k,early,1bit,late,,1\n", "two compressors"),
            ("bytes,4,0,q,,1bit,,,1\n", "unknown variant `q`"),
            ("bytes,4,0,k,,1bit,,,NaN\n", "value is NaN"),
            ("bytes,4,0,k\n", "4 fields where the header has 9"),
        ] {
            let text = format!("{HEADER}{RIGHT}{row}");
            let error = read::<ErrorRow>(text.as_bytes(), "e.csv").unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with("e.csv, line 3: "), "{error}");
            assert!(error.contains(what), "{what} in {error}");
        }
    }

    #[test]
    fn a_cut_table_is_refused() {
        let packed = pack(&rows());
        let error = read::<ErrorRow>(&packed[..packed.len() - 9], "e.csv.gz").unwrap_err();
        assert!(error.to_string().contains("does not unpack"), "{error}");
    }
}
