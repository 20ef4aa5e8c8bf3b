//! How well the table predicts what it was not shown.
//!
//! | hold-out | hidden | answered by |
//! |---|---|---|
//! | [`HoldOut::Row`] | each row by itself | the rest of its testbed |
//! | [`HoldOut::HalfOfSizes`] | every second size | linear in size |
//! | [`HoldOut::Operation`] | an operation of a system, all versions | its other operations |
//! | [`HoldOut::Ranks`] | a rank count of a system | its other counts |
//! | [`HoldOut::Version`] | a testbed whose system has another | that one |
//! | [`HoldOut::SystemDatasheet`] | a system | link rates |
//! | [`HoldOut::SystemAnchored`] | a system but for all-gather's ends | two points per rank count |
//!
//! Guarantees: a hidden row is out of the table that answers; every row is scored or the
//! [`Miss`] is returned.
//!
//! Not modelled: repeats; the tables hold medians, so noise counts as error.

use kernels::{Miss, nearest_rank};
use topologies::{CollectiveKind, SimDuration};

use super::predict::{CollectiveCost, Exclude};
use super::systems::System;
use super::table::{NcclTable, Row};
use super::transfer::Anchors;

/// What is hidden from the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldOut {
    /// Each row by itself.
    Row,
    /// Every second size.
    HalfOfSizes,
    /// One operation of one system.
    Operation,
    /// One rank count of one system.
    Ranks,
    /// One NCCL version of a system that has several.
    Version,
    /// One system; its datasheet is known.
    SystemDatasheet,
    /// One system; all-gather's smallest and largest size is known for each rank count.
    SystemAnchored,
}

/// A simpler predictor to compare with, fitted to the same series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// The line alpha + beta·size with the least squared relative error.
    AlphaBeta,
    /// Log-log between the neighbours in size.
    LogLog,
}

/// A hidden row and its prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// What was measured.
    pub row: Row,
    /// What was predicted without it.
    pub predicted: CollectiveCost,
}

/// Errors |predicted/measured - 1| of a set of rows, as fractions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Rows.
    pub rows: usize,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub median: f64,
    /// 90th percentile.
    pub p90: f64,
    /// Largest.
    pub max: f64,
    /// Mean of predicted/measured - 1.
    pub bias: f64,
    /// Share of rows whose measured time lies in the 90 % interval.
    pub inside: f64,
}

impl Score {
    /// The score of a set; `None` when it is empty.
    #[must_use]
    pub fn of<'a>(scored: impl IntoIterator<Item = &'a Scored>) -> Option<Self> {
        let (mut errors, mut bias, mut inside) = (Vec::new(), 0.0, 0_usize);
        for one in scored {
            let ratio = one.predicted.time.as_us_f64() / one.row.time.as_us_f64();
            errors.push((ratio - 1.0).abs());
            bias += ratio - 1.0;
            inside += usize::from(ratio.max(1.0 / ratio) <= 1.0 + one.predicted.half_width);
        }
        errors.sort_by(f64::total_cmp);
        let rows = errors.len();
        let at = |share| nearest_rank(&errors, share);
        (rows > 0).then(|| Self {
            rows,
            mean: errors.iter().sum::<f64>() / rows as f64,
            median: at(0.5),
            p90: at(0.9),
            max: at(1.0),
            bias: bias / rows as f64,
            inside: inside as f64 / rows as f64,
        })
    }
}

impl NcclTable {
    /// Hides parts of this table, one after another, and predicts them from the rest.
    ///
    /// # Errors
    /// [`Miss`] when nothing left covers a hidden row.
    pub fn hold_out(&self, what: HoldOut) -> Result<Vec<Scored>, Miss> {
        let rows = self.rows();
        match what {
            HoldOut::Row => score(&rows, |row| self.predict(row, Exclude::This)),
            HoldOut::HalfOfSizes => {
                let odd = |row: &Row| {
                    self.sizes
                        .iter()
                        .position(|size| *size == row.size.get())
                        .is_some_and(|at| at % 2 == 1)
                };
                hide(&rows, |row| odd(row).then_some(()))
            }
            HoldOut::Operation => hide(&rows, |row| Some((row.system.clone(), row.kind))),
            HoldOut::Ranks => hide(&rows, |row| Some((row.system.clone(), row.ranks))),
            HoldOut::Version => hide(&rows, |row| {
                (self.beds(&row.system, None).len() > 1)
                    .then(|| (row.system.clone(), row.nccl.clone()))
            }),
            HoldOut::SystemDatasheet => hide(&rows, |row| Some(row.system.clone())),
            HoldOut::SystemAnchored => self.hold_out_anchored(&rows),
        }
    }

    fn hold_out_anchored(&self, rows: &[Row]) -> Result<Vec<Scored>, Miss> {
        let is_anchor = |row: &&Row| row.kind == CollectiveKind::AllGather;
        score(rows, |row| {
            let system = System::named(&row.system)?;
            let of_series = |other: &&Row| {
                (&other.system, &other.nccl, other.element, other.ranks)
                    == (&row.system, &row.nccl, row.element, row.ranks)
            };
            let mut ends = rows.iter().filter(is_anchor).filter(of_series);
            let (Some(small), Some(large)) = (ends.next(), ends.next_back()) else {
                return Err(Miss::NoFigure {
                    gpu: row.system.clone(),
                    what: "all-gather's ends".to_owned(),
                    remedy: "measure all-gather at 512 B and 512 MiB".to_owned(),
                });
            };
            let anchors = Anchors {
                kind: CollectiveKind::AllGather,
                small: (small.size, small.time),
                large: (large.size, large.time),
            };
            self.anchored(&system, anchors, row.ask())
                .ok_or_else(|| Miss::NoFigure {
                    gpu: row.system.clone(),
                    what: format!("{:?}", row.kind),
                    remedy: "a testbed with that operation is needed".to_owned(),
                })
        })
    }

    /// What `baseline` says of a row of this table, the row itself left out; `None` when the table
    /// has nothing else of its series.
    #[must_use]
    pub fn baseline(&self, row: &Row, baseline: Baseline) -> Option<SimDuration> {
        let rest = self.without(row);
        let bed = rest
            .testbeds
            .iter()
            .find(|bed| bed.system == row.system && bed.nccl == row.nccl)?;
        let series = rest.series(bed, row.kind, row.element, row.ranks)?;
        Some(SimDuration::from_us_f64(match baseline {
            Baseline::AlphaBeta => series.alpha_beta(row.size.as_f64()),
            Baseline::LogLog => series.log_log(row.size.as_f64()),
        }))
    }
}

fn score(
    rows: &[Row],
    predict: impl Fn(&Row) -> Result<CollectiveCost, Miss>,
) -> Result<Vec<Scored>, Miss> {
    let scored = rows.iter().map(|row| {
        Ok(Scored {
            predicted: predict(row)?,
            row: row.clone(),
        })
    });
    scored.collect()
}

/// Hides the rows of one group after another; rows without a group are never hidden.
fn hide<K: Ord>(rows: &[Row], group: impl Fn(&Row) -> Option<K>) -> Result<Vec<Scored>, Miss> {
    let mut groups: Vec<K> = rows.iter().filter_map(&group).collect();
    groups.sort();
    groups.dedup();
    let mut scored = Vec::new();
    for one in groups {
        let (hidden, rest): (Vec<Row>, Vec<Row>) = rows
            .iter()
            .cloned()
            .partition(|row| group(row).as_ref() == Some(&one));
        let table = NcclTable::from_rows(&rest);
        scored.extend(score(&hidden, |row| table.predict(row, Exclude::Nothing))?);
    }
    Ok(scored)
}
