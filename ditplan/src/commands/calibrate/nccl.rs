//! `calibrate --nccl-tests`: a host's collectives, from the logs of nccl-tests into its machine file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use topologies::{Machine, import};
use traces::whole;

use crate::question::files::text;
use crate::render::file::written;

/// Logs in place of a measurement.
#[derive(Debug, Args)]
pub(crate) struct NcclArguments {
    /// Measure nothing: put the rates of these logs of nccl-tests (text or JSON, -J) into --machine,
    /// and write it to --out
    #[arg(long, value_name = "LOG", num_args = 1.., requires = "machine")]
    pub nccl_tests: Vec<PathBuf>,
    /// The machine file that the logs were measured on
    #[arg(long, value_name = "FILE", requires = "nccl_tests")]
    machine: Option<PathBuf>,
    /// Also write the rows of the logs as a table for validate --nccl
    #[arg(long, value_name = "FILE", requires = "nccl_tests")]
    csv: Option<PathBuf>,
}

/// The machine file with the rates of all logs, and the same rows as a table.
struct Rated {
    toml: String,
    csv: String,
    said: Vec<String>,
}

/// Reads the logs and writes what was asked for; without `out` the machine file is printed.
pub(super) fn answer(typed: &NcclArguments, out: Option<&Path>) -> Result<String> {
    let machine = typed.machine.as_deref().expect("clap requires --machine");
    let rated = rated(machine, &typed.nccl_tests)?;
    if let Some(path) = &typed.csv {
        whole::write(path, &rated.csv)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    written(&rated.toml, out, "Rates", &rated.said)
}

fn rated(machine: &Path, logs: &[PathBuf]) -> Result<Rated> {
    let (toml, file) = text(machine)?;
    ensure!(
        !toml.trim_start().starts_with('<'),
        "{file} is no machine file of ours: write one with ditplan machines import --out first"
    );
    let machine = Machine::from_toml(&toml, &file)?;
    let (mut addition, mut said, mut csv) = (String::new(), Vec::new(), String::new());
    let rates = machine.host.rates.iter();
    let mut known: Vec<_> = rates.map(|rate| (rate.kind, rate.ranks)).collect();
    for path in logs {
        let (log, name) = text(path)?;
        let log = import::nccl_tests(&log, &name)?;
        let source = format!("nccl-tests, {name}");
        let (rates, words) = log.rates(&source);
        for rate in &rates {
            let pair = (rate.kind, rate.ranks);
            if known.contains(&pair) {
                bail!(
                    "{name}: {file} already has a rate of {} among {} ranks: remove one",
                    pair.0,
                    pair.1
                );
            }
            let gpus = machine.gpus.len();
            let ranks = rate.ranks;
            ensure!(
                ranks as usize <= gpus,
                "{name}: {ranks} ranks took part, {file} has {gpus} GPUs"
            );
            known.push(pair);
        }
        let table = log.csv(&machine.host.name, "unknown");
        let rows = table.split_once('\n').map_or("", |(_, rows)| rows);
        csv.push_str(if csv.is_empty() { &table } else { rows });
        addition.push_str(&log.toml(&source));
        said.extend(words);
    }
    let all_sizes =
        "a rate holds for all sizes: published runs between 2 and 300 MB show no dependence";
    said.push(all_sizes.to_owned());
    let toml = format!("{}\n{addition}", toml.trim_end());
    Machine::from_toml(&toml, &file)?;
    Ok(Rated { toml, csv, said })
}
