//! Rates of a host, and rows of the NCCL table, from a log.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::sketch::exact;
use super::{NcclLog, NcclRow, TESTS};
use crate::host::{CollectiveKind, CollectiveRate};
use crate::units::Bandwidth;

/// Sizes that diffusion models exchange, and rates hardly depend on: 2 to 512 MB.
const USUAL: std::ops::RangeInclusive<u64> = 2_000_000..=537_000_000;
impl NcclLog {
    /// The host's rates: for each collective and number of ranks the median bus bandwidth between 2 and 512 MB,
    /// and in words how each was found.
    #[must_use]
    pub fn rates(&self, source: &str) -> (Vec<CollectiveRate>, Vec<String>) {
        let mut groups: BTreeMap<(CollectiveKind, u32), Vec<&NcclRow>> = BTreeMap::new();
        for row in &self.rows {
            groups.entry((row.kind, row.ranks)).or_default().push(row);
        }
        let mut said = self.assumed.clone();
        let rates = groups.into_iter().map(|((kind, ranks), mut rows)| {
            let usual: Vec<&NcclRow> = rows.iter().copied().filter(|row| USUAL.contains(&row.size.get())).collect();
            if usual.is_empty() {
                rows.sort_by_key(|row| row.size);
                rows = rows.split_off(rows.len() - 1);
                said.push(format!(
                    "{kind} among {ranks}: no size between 2 and 512 MB was measured, so {} stands for all",
                    rows[0].size
                ));
            } else {
                rows = usual;
            }
            let mut found: Vec<Bandwidth> = rows.iter().map(|row| row.bus_bandwidth()).collect();
            found.sort_unstable();
            let median = found[found.len() / 2];
            said.push(format!(
                "{kind} among {ranks}: {median}, the median of {} sizes ({} to {})",
                found.len(), found[0], found[found.len() - 1]
            ));
            CollectiveRate {
                kind,
                ranks,
                bus_bandwidth: median,
                source: source.to_owned(),
            }
        });
        (rates.collect(), said)
    }

    /// `[[host.rate]]` sections for a machine file.
    #[must_use]
    pub fn toml(&self, source: &str) -> String {
        let mut out = String::new();
        let source = toml::Value::String(source.to_owned());
        for rate in self.rates("").0 {
            // Whole MB/s: a measured rate has no more digits.
            let rounded = (rate.bus_bandwidth.get() + 500_000) / 1_000_000 * 1_000_000;
            let bandwidth = exact(Bandwidth::new(rounded.max(1_000_000)));
            let _ = write!(
                out,
                "\n[[host.rate]]\nkind = \"{}\"\nranks = {}\nbus_bandwidth = {bandwidth}\nsource = {source}\n",
                rate.kind, rate.ranks
            );
        }
        out
    }

    /// The rows as a table that `validate --nccl` reads: `system,nccl,op,dtype,num_gpus,size_bytes,latency_us`.
    /// Element types other than `half` and `int8` count as `half`: the same bytes, and what a reduction costs more
    /// or less in them is lost.
    #[must_use]
    pub fn csv(&self, system: &str, nccl: &str) -> String {
        let mut out = "system,nccl,op,dtype,num_gpus,size_bytes,latency_us\n".to_owned();
        for row in &self.rows {
            let (.., name) = TESTS
                .iter()
                .find(|(_, kind, _)| *kind == row.kind)
                .expect("every kind has a test");
            let element = if matches!(row.element.as_str(), "int8" | "uint8") {
                "int8"
            } else {
                "half"
            };
            let (ranks, size, us) = (row.ranks, row.size.get(), row.time.as_us_f64());
            let _ = writeln!(out, "{system},{nccl},{name},{element},{ranks},{size},{us}");
        }
        out
    }
}
