//! Figures and tables as people read them.

use anstyle::Style;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use topologies::{Bytes, SimDuration};

/// Columns that the output may take.
pub(super) const WIDTH: u16 = 100;

/// A table with its header; columns from `first_number` on are aligned right where `numbers` says so.
pub(super) fn table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header);
    for &column in numbers {
        table
            .column_mut(column)
            .expect("the header has this column")
            .set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A heading; bold on a terminal.
pub(super) fn heading(text: &str) -> String {
    let bold = Style::new().bold();
    format!("{bold}{text}{bold:#}\n")
}

/// A duration to three digits or to the hundredth of a second: `7.46 s`, `142 ms`, `61.0 us`.
pub(super) fn duration(time: SimDuration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        0.0 => "0 s".to_owned(),
        100.0.. => format!("{seconds:.1} s"),
        0.1.. => format!("{seconds:.2} s"),
        1e-3.. => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{:.1} us", seconds * 1e6),
    }
}

/// Bytes in decimal gigabytes, as memory is sold: `34.2 GB`.
pub(super) fn gigabytes(bytes: Bytes) -> String {
    format!("{:.1} GB", bytes.as_f64() / 1e9)
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Text in lines of at most [`WIDTH`] columns; every line after the first starts with `indent` blanks.
pub(super) fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > usize::from(WIDTH) {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines.push('\n');
    lines
}

/// A table as text, without blanks at the ends of lines.
pub(super) fn rendered(table: &Table) -> String {
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.collect()
}
