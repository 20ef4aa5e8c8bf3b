//! What an hour of a GPU costs, as it was typed.

use anyhow::{Context, Result, ensure};

/// More than any GPU costs an hour, in dollars.
const MOST: f64 = 1e6;

/// Reads `H100-SXM=2.5/h`.
pub(crate) fn prices(typed: &[String]) -> Result<Vec<(String, f64)>> {
    let one = |text: &String| {
        let wrong = || {
            format!(
                "--price: \"{text}\" is not a price: write a GPU and dollars for an hour of it, for instance H100-SXM=2.5/h"
            )
        };
        let (gpu, price) = text.split_once('=').with_context(wrong)?;
        let number = price.trim().strip_suffix("/h").with_context(wrong)?;
        let number: f64 = number.trim().parse().ok().with_context(wrong)?;
        ensure!(
            number > 0.0 && number <= MOST,
            "--price: {gpu}={number:e}/h is out of range: give dollars above 0 and at most {MOST:e} an hour"
        );
        let gpu = topologies::gpu::find(gpu.trim()).context("--price")?;
        Ok((gpu.name.clone(), number))
    };
    typed.iter().map(one).collect()
}
