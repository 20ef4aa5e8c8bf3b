//! Whole jobs: `cargo bench -p planner --bench jobs`; with a word, only jobs whose name holds it.
//!
//! Each job runs in a process of its own, at several sizes: the median of its runs (of one if it takes a
//! second), the process's peak memory, and the exponent of the line through time over size in logarithms.
//! The limits are those of the size that they stand at.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../stand/mod.rs"]
mod stand;

mod work;

use std::process::Command;
use std::time::Instant;

use work::Job;

/// Most runs of a job.
const RUNS: usize = 7;
/// Seconds after which a job is not run again.
const ENOUGH: f64 = 1.0;

/// What one process measured.
struct Figure {
    seconds: f64,
    peak_mb: f64,
    note: String,
}

/// Runs one size in this process and prints its figures.
fn child(job: &Job, size: u64) {
    let work = (job.prepare)(size);
    let mut seconds = Vec::new();
    let mut note = String::new();
    let whole = Instant::now();
    while seconds.is_empty() || (seconds.len() < RUNS && whole.elapsed().as_secs_f64() < ENOUGH) {
        let began = Instant::now();
        note = work();
        seconds.push(began.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    println!("{} {} {note}", seconds[seconds.len() / 2], peak_kb());
}

/// The largest resident set of this process so far, in kB.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux system");
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let digits = |c: &char| c.is_ascii_digit();
    let number: String = line.expect("VmHWM").chars().filter(digits).collect();
    number.parse().expect("a number")
}

fn measure(job: &Job, size: u64) -> Result<Figure, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(["--child", job.name, &size.to_string()]);
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(text.lines().take(3).collect::<Vec<_>>().join(" "));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.trim().splitn(3, ' ');
    let mut number = || words.next().and_then(|word| word.parse::<f64>().ok());
    let (seconds, kb) = number().zip(number()).ok_or_else(|| text.clone())?;
    Ok(Figure {
        seconds,
        peak_mb: kb / 1024.0,
        note: words.next().unwrap_or("").to_owned(),
    })
}

/// The slope of log(time) over log(size), by least squares.
fn exponent(points: &[(u64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let logs = points
        .iter()
        .map(|&(size, time)| ((size as f64).ln(), time.ln()));
    let logs: Vec<(f64, f64)> = logs.collect();
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|log| log.0), mean(|log| log.1));
    let above: f64 = logs.iter().map(|log| (log.0 - x) * (log.1 - y)).sum();
    let below: f64 = logs.iter().map(|log| (log.0 - x).powi(2)).sum();
    (points.len() > 1).then_some(above / below)
}

fn report(job: &Job) {
    let mut points = Vec::new();
    for &size in job.sizes {
        let limit = job.limits.iter().find(|limit| limit.size == size);
        print!("{:44} {size:>8} ", job.name);
        match measure(job, size) {
            Err(error) => println!("failed: {error}"),
            Ok(figure) => {
                points.push((size, figure.seconds));
                let limits = limit.map_or(String::new(), |limit| {
                    let memory = limit.mb.map_or(String::new(), |mb| format!(", {mb} MB"));
                    format!("limit {} ms{memory}", limit.seconds * 1e3)
                });
                println!(
                    "{:>10.2} ms {:>7.1} MB  {limits:22} {}",
                    figure.seconds * 1e3,
                    figure.peak_mb,
                    figure.note
                );
            }
        }
    }
    if let Some(exponent) = exponent(&points) {
        println!("{:44}   time ~ size^{exponent:.2}", "");
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, size] = &words[..]
        && flag == "--child"
    {
        let job = work::JOBS.iter().find(|job| job.name == name);
        let size = size.parse().expect("a size");
        return child(job.expect("a job"), size);
    }
    let wanted = words.iter().find(|word| !word.starts_with('-'));
    for job in work::JOBS {
        if wanted.is_none_or(|wanted| job.name.contains(wanted.as_str())) {
            report(job);
        }
    }
}
