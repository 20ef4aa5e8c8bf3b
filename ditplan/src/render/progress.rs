//! Bars on standard error; invisible where that is not a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error; invisible where that is not a terminal.
pub(crate) fn progress(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:24} {wide_bar} {percent:>3} %");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length)
        .with_style(style)
        .with_message(what)
}
