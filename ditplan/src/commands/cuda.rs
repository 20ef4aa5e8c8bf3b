//! `cuda`: the compressors on the GPU found: checked against the CPU, timed, compiled ahead.
//!
//! A program built without the feature `cuda` says how to build it with that.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The arguments of `cuda`.
#[derive(Debug, Args)]
pub(crate) struct CudaArguments {
    #[command(subcommand)]
    pub(crate) command: CudaCommand,
}

/// What to do with the GPU's compressors.
#[derive(Debug, Subcommand)]
pub(crate) enum CudaCommand {
    /// Compare every compressor on the GPU with the CPU's bytes
    Check(CheckArguments),
    /// Time encode and decode over sizes, beside a large copy of the same run
    Sweep(SweepArguments),
    /// Compile the kernels ahead, for machines without the CUDA compiler library
    Ptx(PtxArguments),
}

/// The arguments of `cuda check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Only tiny and odd shapes
    #[arg(long)]
    pub quick: bool,
    /// Only compressors whose name has this
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
    /// Kernels compiled ahead by `ditplan cuda ptx`
    #[arg(long, value_name = "DIR")]
    pub ptx: Option<PathBuf>,
}

/// The arguments of `cuda sweep`.
#[derive(Debug, Args)]
pub(crate) struct SweepArguments {
    /// Where compressors.csv is written; lines that it has already are not measured again
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Another implementation's compressors.csv, to print the ratio of times
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Calls that count, for each line
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub repeats: usize,
    /// Tiny shapes and a small copy: tries the command, measures nothing
    #[arg(long)]
    pub toy: bool,
    /// Kernels compiled ahead by `ditplan cuda ptx`
    #[arg(long, value_name = "DIR")]
    pub ptx: Option<PathBuf>,
}

/// The arguments of `cuda ptx`.
#[derive(Debug, Args)]
pub(crate) struct PtxArguments {
    /// The architecture, for instance sm_80, sm_89 or sm_90
    #[arg(long, value_name = "ARCH")]
    pub arch: String,
    /// Where the .ptx files are written
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// What `cuda` prints.
#[cfg(not(feature = "cuda"))]
pub(crate) fn answer(_: &CudaArguments) -> anyhow::Result<String> {
    anyhow::bail!(
        "this program was built without the GPU's compressors: build it by `cargo build --release -p ditplan \
         --features cuda` (neither a GPU nor the CUDA toolkit is needed to build)"
    )
}

#[cfg(feature = "cuda")]
pub(crate) use with_gpu::answer;

#[cfg(feature = "cuda")]
mod with_gpu {
    use std::fmt::Write as _;
    use std::fs::{self, File, OpenOptions};
    use std::io::Write as _;
    use std::path::Path;

    use anyhow::{Context, Result, bail, ensure};
    use kernels::cuda::{
        self, Checked, Depth, Gpu, Measured, Source, Sweep, Variant, check, compile, file_name,
        probe, ratios, sweep,
    };

    use crate::commands::cuda::{
        CheckArguments, CudaArguments, CudaCommand, PtxArguments, SweepArguments,
    };
    use crate::question::files;
    use crate::render::progress::progress;

    /// What `cuda` prints.
    pub(crate) fn answer(typed: &CudaArguments) -> Result<String> {
        match &typed.command {
            CudaCommand::Check(typed) => checked(typed),
            CudaCommand::Sweep(typed) => swept(typed),
            CudaCommand::Ptx(typed) => compiled(typed),
        }
    }

    fn title(gpu: &Gpu) -> String {
        format!(
            "{} ({}, {} multiprocessors)\n",
            gpu.name, gpu.arch, gpu.multiprocessors
        )
    }

    fn checked(typed: &CheckArguments) -> Result<String> {
        let gpu = probe(typed.ptx.clone())?;
        let depth = if typed.quick {
            Depth::Quick
        } else {
            Depth::Full
        };
        let wanted = |compressor: kernels::Compressor| {
            let name = compressor.to_string();
            typed.only.as_ref().is_none_or(|only| name.contains(only))
        };
        let bar = progress(12, "checking");
        let all = check(&gpu, depth, wanted, |_| bar.inc(1))?;
        bar.finish_and_clear();
        ensure!(!all.is_empty(), "no compressor has such a name");
        let wrong: Vec<&String> = all.iter().flat_map(|it| &it.wrong).collect();
        if let Some(first) = wrong.first() {
            let cases: usize = all.iter().map(|it| it.cases).sum();
            bail!(
                "{} of {cases} comparisons are wrong, the first: {first}",
                wrong.len()
            );
        }
        let lines: Vec<String> = all.iter().map(Checked::to_string).collect();
        Ok(format!("{}{}\n", title(&gpu), lines.join("\n")))
    }

    fn read(path: &Path) -> Result<Vec<Measured>> {
        let (text, file) = files::text(path)?;
        Ok(cuda::read(&file, &text)?)
    }

    /// The table to add lines to, and those it has.
    fn table(path: &Path) -> Result<(File, Vec<Measured>)> {
        let done = if path.exists() {
            read(path)?
        } else {
            Vec::new()
        };
        let cannot = || format!("{} cannot be written", path.display());
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(cannot)?;
        if done.is_empty() && file.metadata()?.len() == 0 {
            file.write_all(cuda::write(&[]).as_bytes())
                .with_context(cannot)?;
        }
        Ok((file, done))
    }

    fn swept(typed: &SweepArguments) -> Result<String> {
        ensure!(typed.repeats > 0, "--repeats must be at least 1");
        let theirs = typed.against.as_deref().map(read).transpose()?;
        let gpu = probe(typed.ptx.clone())?;
        fs::create_dir_all(&typed.out)
            .with_context(|| format!("{} cannot be made", typed.out.display()))?;
        let path = typed.out.join("compressors.csv");
        let (mut file, done) = table(&path)?;
        let asked = Sweep {
            repeats: typed.repeats,
            done: &done,
            ..if typed.toy {
                Sweep::toy()
            } else {
                Sweep::default()
            }
        };
        let bar = progress(asked.lines() as u64, "timing");
        let mut written = Ok(());
        let fresh = sweep(&gpu, asked, |line| {
            bar.inc(1);
            if written.is_ok() {
                written = file
                    .write_all(line.line().as_bytes())
                    .and_then(|()| file.flush());
            }
        })?;
        bar.finish_and_clear();
        written.with_context(|| format!("{} cannot be written", path.display()))?;
        let all: Vec<Measured> = done.into_iter().chain(fresh).collect();
        Ok(title(&gpu) + &report(&all, theirs.as_deref()))
    }

    /// The lines for people.
    fn report(lines: &[Measured], theirs: Option<&[Measured]>) -> String {
        let against = theirs.map(|theirs| ratios(lines, theirs));
        let mut text = String::new();
        for line in lines {
            let ratio = against.iter().flatten().find(|(ours, _)| *ours == line);
            let ratio = ratio.map_or(String::new(), |(_, ratio)| format!("  {ratio:.2}x faster"));
            let _ = writeln!(
                text,
                "{:18} {} {:>5} x {:5} {}/{:4} {:9.2} us ({:.2} to {:.2})  {:7.1} GB/s  {:5.1} % of a copy{ratio}",
                line.compressor,
                line.direction.name(),
                line.rows,
                line.channels,
                line.dtype,
                line.base,
                line.latency_us,
                line.p10_us,
                line.p90_us,
                line.gb_per_s(),
                100.0 * line.share_of_copy(),
            );
        }
        text
    }

    fn compiled(typed: &PtxArguments) -> Result<String> {
        let digits = typed.arch.strip_prefix("sm_");
        let known =
            digits.is_some_and(|it| it.len() >= 2 && it.chars().all(|c| c.is_ascii_alphanumeric()));
        ensure!(
            known,
            "\"{}\" is no architecture: use one such as sm_90",
            typed.arch
        );
        fs::create_dir_all(&typed.out)
            .with_context(|| format!("{} cannot be made", typed.out.display()))?;
        let mut files = 0;
        for source in Source::ALL {
            for variant in Variant::all() {
                let ptx = compile(source, variant, &typed.arch)?;
                let path = typed
                    .out
                    .join(file_name(source, variant))
                    .with_extension("ptx");
                traces::whole::write(&path, ptx)
                    .with_context(|| format!("{} cannot be written", path.display()))?;
                files += 1;
            }
        }
        Ok(format!(
            "{files} files for {} in {}\n",
            typed.arch,
            typed.out.display()
        ))
    }
}
