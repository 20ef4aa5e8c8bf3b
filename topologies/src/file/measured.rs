//! `[host]`, `[[host.rate]]`, `[[host.run]]` and `[[host.published]]`.

use super::section::Section;
use crate::host::{
    Calibrates, CollectiveKind, CollectiveRate, Compilation, Guidance, Host, MeasuredRun,
    PublishedHost,
};
use crate::machine::MachineError;
use crate::units::{Bandwidth, SimDuration};

/// No CPU launches a hundred times slower than another that drives GPUs.
const MOST_LAUNCH_FACTOR: f64 = 100.0;

pub(super) fn host(section: &Section<'_>) -> Result<Host, MachineError> {
    let name = section.required_text("name")?;
    let software = section.text("software")?;
    let source = section.required_text("source")?;
    let rates = section.tables("rate")?;
    let runs = section.tables("run")?;
    let published = section.tables("published")?;
    let host = Host {
        rates: rates
            .iter()
            .map(|rate| self::rate(rate, &source))
            .collect::<Result<_, _>>()?,
        runs: runs
            .iter()
            .map(|run| self::run(run, software.as_deref(), &source))
            .collect::<Result<_, _>>()?,
        published: published
            .iter()
            .map(self::published)
            .collect::<Result<_, _>>()?,
        launch_factor: section.ratio("launch_factor", MOST_LAUNCH_FACTOR)?,
        collectives: section.word("collectives")?.unwrap_or_default(),
        nccl_system: section.text("nccl_system")?,
        name,
        software,
        source,
    };
    section.finish()?;
    Ok(host)
}

/// A rate; its source is the host's where it gives none.
fn rate(section: &Section<'_>, source: &str) -> Result<CollectiveRate, MachineError> {
    let kind: Option<CollectiveKind> = section.word("kind")?;
    let bandwidth: Option<Bandwidth> = section.bandwidth("bus_bandwidth")?;
    let rate = CollectiveRate {
        kind: kind
            .ok_or_else(|| section.missing("kind", "add kind = \"all-to-all\" or another"))?,
        ranks: section.required_count("ranks")?,
        bus_bandwidth: bandwidth
            .ok_or_else(|| section.missing("bus_bandwidth", "add bus_bandwidth = \"14 GB/s\""))?,
        source: section.text("source")?.unwrap_or_else(|| source.to_owned()),
    };
    if rate.ranks < 2 {
        return Err(section.fault("ranks", "is 1", "one rank talks to nobody: write 2 or more"));
    }
    section.finish()?;
    Ok(rate)
}

/// A host as published tables name it.
fn published(section: &Section<'_>) -> Result<PublishedHost, MachineError> {
    let host = PublishedHost {
        owner: section.required_text("owner")?,
        gpu: section.required_text("gpu")?,
        interconnect: section.text("interconnect")?.unwrap_or_default(),
    };
    section.finish()?;
    Ok(host)
}

/// A run; its software and source are the host's where it gives none.
fn run(
    section: &Section<'_>,
    software: Option<&str>,
    source: &str,
) -> Result<MeasuredRun, MachineError> {
    let latency: Option<SimDuration> = section.quantity("latency")?;
    let software = section
        .text("software")?
        .or_else(|| software.map(str::to_owned));
    let gpus = section.count("gpus")?.unwrap_or(1);
    let calibrates: Option<Calibrates> = section.word("calibrates")?;
    let run = MeasuredRun {
        place: section.place(),
        calibrates,
        model: section.required_text("model")?,
        width: section.required_count("width")?,
        height: section.required_count("height")?,
        frames: section.count("frames")?.unwrap_or(1),
        steps: section.required_count("steps")?,
        batch: section.count("batch")?.unwrap_or(1),
        guidance: section.word("guidance")?.unwrap_or(Guidance::None),
        text_tokens: section.count("text_tokens")?,
        gpus,
        strategy: section
            .text("strategy")?
            .unwrap_or_else(|| "none".to_owned()),
        compiled: section.word("compiled")?.unwrap_or(Compilation::Eager),
        attention: section.text("attention")?,
        software: software.ok_or_else(|| {
            section.missing("software", "add software = \"...\" here or in [host]")
        })?,
        latency: latency.ok_or_else(|| section.missing("latency", "add latency = \"10.9 s\""))?,
        covers: section.word("covers")?.unwrap_or_default(),
        source: section.text("source")?.unwrap_or_else(|| source.to_owned()),
    };
    if run
        .calibrates
        .is_some_and(|what| (what == Calibrates::OneGpu) != (gpus == 1))
    {
        let remedy = "runs on one GPU, and only they, calibrate one-gpu";
        return Err(section.fault("gpus", format!("is {gpus}"), remedy));
    }
    section.finish()?;
    Ok(run)
}
