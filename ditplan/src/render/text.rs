//! Figures and tables as people read them.

use std::time::Duration;

use anstyle::Style;
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets,
};
use indicatif::{ProgressBar, ProgressStyle};
use topologies::{Bytes, SimDuration};

/// Columns that the output may take.
pub(crate) const WIDTH: u16 = 100;

/// Columns that one cell of a table may take.
const NAME: u16 = 30;

/// Columns that the last column of a table has at least, if it needs them.
const LEAST: u16 = 24;

/// Behind what a name may be broken. The last two stand in lists of compressors per layer only.
const BREAKS: [char; 4] = ['+', '/', ';', '|'];

/// A table with its header; the columns `numbers` are aligned right.
pub(crate) fn table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header);
    for (place, column) in table.column_iter_mut().enumerate() {
        let is_number = numbers.contains(&place);
        if is_number {
            column.set_cell_alignment(CellAlignment::Right);
        }
        column.set_padding(match (place + 1 == header.len(), is_number) {
            (true, _) => (0, 0),
            (false, true) => (0, 1),
            (false, false) => (0, 2),
        });
    }
    table
}

/// One blank instead of two behind a column of names.
pub(crate) fn tighten(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_padding((0, 1));
    }
}

/// A heading; bold on a terminal.
pub(crate) fn heading(text: &str) -> String {
    let bold = Style::new().bold();
    format!("{bold}{}{bold:#}\n", wrapped(text, 2).trim_end())
}

/// A blank line, a heading and its text; nothing where there is no text.
pub(crate) fn section(page: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        page.push('\n');
        page.push_str(&heading(title));
        page.push_str(body);
    }
}

/// Works something out, with a sign of life on standard error if that is a terminal.
pub(crate) fn busy<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner()
        .with_style(style)
        .with_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    let done = work();
    bar.finish_and_clear();
    done
}

/// A number of things, in the plural where it is not one: `1 step`, `28 steps`.
pub(crate) fn counted(count: impl Into<u64>, what: &str) -> String {
    let count = count.into();
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Seconds as a number with three or four digits, for a column whose unit is said once: `7.46`.
pub(crate) fn seconds(time: SimDuration) -> String {
    let seconds = time.as_secs_f64();
    let decimals = match seconds {
        1000.0.. => 0,
        100.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{seconds:.decimals$}")
}

/// A duration with its unit: `7.46 s`, `142.0 ms`, `61.0 us`.
pub(crate) fn duration(time: SimDuration) -> String {
    let seconds_count = time.as_secs_f64();
    match seconds_count {
        0.0 => "0 s".to_owned(),
        0.1.. => format!("{} s", seconds(time)),
        1e-3.. => format!("{:.1} ms", seconds_count * 1e3),
        _ => format!("{:.1} us", seconds_count * 1e6),
    }
}

/// Bytes in decimal gigabytes, as memory is sold: `34.2 GB`.
pub(crate) fn gigabytes(bytes: Bytes) -> String {
    format!("{:.1} GB", bytes.as_f64() / 1e9)
}

/// A share as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Text in lines of at most [`WIDTH`] columns. Blanks before the first word stay; every later line
/// starts with `indent` of them. A word of more columns than a line has is broken as names are.
pub(crate) fn wrapped(text: &str, indent: usize) -> String {
    let start = text.len() - text.trim_start().len();
    let (mut lines, text) = (text[..start].to_owned(), &text[start..]);
    let mut column = start;
    let mut first = true;
    for word in text.split(' ') {
        let whole = word.chars().count() + indent <= usize::from(WIDTH);
        let pieces: Vec<&str> = match whole {
            true => vec![word],
            false => word.split_inclusive(BREAKS).collect(),
        };
        for (place, piece) in pieces.into_iter().enumerate() {
            let blank = usize::from(!first && place == 0);
            let length = piece.chars().count();
            if !first && column + blank + length > usize::from(WIDTH) {
                lines.truncate(lines.trim_end().len());
                lines.push('\n');
                lines.push_str(&" ".repeat(indent));
                column = indent;
            } else {
                lines.push_str(&" ".repeat(blank));
                column += blank;
            }
            lines.push_str(piece);
            column += length;
            first = false;
        }
    }
    lines.push('\n');
    lines
}

/// Sentences as a list.
pub(crate) fn bulleted(sentences: &[String]) -> String {
    let items = sentences
        .iter()
        .map(|sentence| wrapped(&format!("  - {sentence}"), 4));
    items.collect()
}

/// Names with a sentence each, in two columns.
pub(crate) fn named(sentences: &[(String, String)]) -> String {
    let longest = sentences.iter().map(|(name, _)| name.len()).max();
    let width = longest.unwrap_or_default().min(40);
    let items = sentences
        .iter()
        .map(|(name, sentence)| wrapped(&format!("  {name:<width$}  {sentence}"), width + 4));
    items.collect()
}

/// A table as text, without blanks at the ends of lines. The last column is wrapped where a line
/// would be too long; names of more than [`NAME`] columns are, behind a blank, `+` or `/`, and shorter ones where a line would
/// be too long still. Where that is not enough, lines are longer than [`WIDTH`].
pub(crate) fn rendered(table: &mut Table) -> String {
    let widths = constrained(table);
    let last = widths.last().copied().unwrap_or_default();
    let wanted = |table: &Table| {
        let others = longest_line(table).saturating_sub(usize::from(last));
        others + usize::from(last.min(LEAST))
    };
    let mut least = wanted(table);
    while least > usize::from(WIDTH) && narrowed(table) {
        least -= 1;
    }
    table.set_width(WIDTH.max(u16::try_from(least).unwrap_or(u16::MAX)));
    let lines = table
        .lines()
        .map(|line| line.replace(BREAK, "").trim_end().to_owned() + "\n");
    lines.collect()
}

/// Whether no line of the table is longer than [`WIDTH`] when its last column is not wrapped.
pub(crate) fn fits(table: &mut Table) -> bool {
    constrained(table);
    longest_line(table) <= usize::from(WIDTH)
}

/// Holds all columns but the last to their content, or to [`NAME`]; the widths of the content.
fn constrained(table: &mut Table) -> Vec<u16> {
    let widths = table.column_max_content_widths();
    let last = widths.len().saturating_sub(1);
    let breaking = |row: &Row| {
        let cells = row.cell_iter().map(|cell| breakable(&cell.content()));
        Row::from(cells.collect::<Vec<_>>())
    };
    let header = table.header().map(breaking);
    table.set_header(header.unwrap_or_default());
    for row in table.row_iter_mut() {
        *row = breaking(row);
    }
    let pieces = pieces(table);
    for ((column, longest), piece) in table.column_iter_mut().zip(&widths).zip(pieces).take(last) {
        let padding = column.padding_width();
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(
            padding + (*longest).min(NAME.max(piece)),
        )));
        column.set_delimiter(BREAK);
    }
    widths
}

/// The longest piece of each column that is not broken.
fn pieces(table: &Table) -> Vec<u16> {
    let mut longest = vec![0; table.column_iter().count()];
    for row in table.header().into_iter().chain(table.row_iter()) {
        for (cell, longest) in row.cell_iter().zip(&mut longest) {
            let content = cell.content();
            let pieces = content
                .split([BREAK, '\n'])
                .map(|piece| piece.trim_end().chars().count());
            let piece = pieces.max().unwrap_or_default();
            *longest = u16::try_from(piece).unwrap_or(u16::MAX).max(*longest);
        }
    }
    longest
}

/// Takes a column from the one that has most to give, the last excepted; whether there was one.
fn narrowed(table: &mut Table) -> bool {
    let pieces = pieces(table);
    let last = pieces.len().saturating_sub(1);
    let columns = table.column_iter_mut().zip(pieces).take(last);
    let spare = columns.filter_map(|(column, piece)| match column.constraint() {
        Some(ColumnConstraint::Absolute(Width::Fixed(width))) => {
            let (width, least) = (*width, piece + column.padding_width());
            (width > least).then_some((width - least, width, column))
        }
        _ => None,
    });
    let Some((_, width, column)) = spare.max_by_key(|(spare, ..)| *spare) else {
        return false;
    };
    column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width - 1)));
    true
}

/// Where a name may be broken: a character without width that the table drops there.
const BREAK: char = '\u{200b}';

/// The text with a break behind each blank and each of [`BREAKS`].
fn breakable(text: &str) -> String {
    let mut broken = String::new();
    for c in text.chars().filter(|c| *c != BREAK) {
        broken.push(c);
        if c == ' ' || BREAKS.contains(&c) {
            broken.push(BREAK);
        }
    }
    broken
}

/// Columns that the table takes when its last column is not wrapped.
fn longest_line(table: &Table) -> usize {
    let mut free = table.clone();
    free.set_content_arrangement(ContentArrangement::Disabled);
    let shown = |line: String| line.trim_end().chars().filter(|&c| c != BREAK).count();
    free.lines().map(shown).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_read_as_people_say_them() {
        let time = SimDuration::from_secs_f64;
        assert_eq!(duration(time(7.456)), "7.46 s");
        assert_eq!(duration(time(0.42)), "0.420 s");
        assert_eq!(duration(time(0.0314)), "31.4 ms");
        assert_eq!(duration(time(61e-6)), "61.0 us");
        assert_eq!(duration(SimDuration::ZERO), "0 s");
        assert_eq!(seconds(time(1234.5)), "1234");
        assert_eq!(gigabytes(Bytes::new(34_190_000_000)), "34.2 GB");
    }

    #[test]
    fn long_text_wraps_under_its_start() {
        let text = format!("  - {}", "word ".repeat(40).trim_end());
        let lines = wrapped(&text, 4);
        assert_eq!(lines.lines().count(), 3);
        for (place, line) in lines.lines().enumerate() {
            assert!(line.len() <= usize::from(WIDTH), "{line}");
            assert!(line.starts_with(if place == 0 { "  - word" } else { "    word" }));
        }
    }

    #[test]
    fn a_long_plan_breaks_behind_a_plus_and_keeps_it() {
        let plan = "cfg2+ulysses2+ring4+vae-p16/lowrank-int4(32) warmup=1 loop=fused";
        let mut long = table(&["plan", "latency"], &[]);
        long.add_row([plan, "9.41 s"]);
        let text = rendered(&mut long);
        let lines = text.lines().skip(1).map(|line| line.replace("9.41 s", ""));
        let words: Vec<String> = lines.map(|line| line.trim().replace(' ', "")).collect();
        assert_eq!(words.concat(), plan.replace(' ', ""), "{text}");
        assert!(words.len() > 1 && words[0].ends_with(['+', '/']), "{text}");
    }

    #[test]
    fn a_full_table_grows_rather_than_fold_its_last_column_to_letters() {
        let name = "a-plan-of-27-letters-in-all";
        let mut wide = table(&["a", "b", "c", "d"], &[]);
        wide.add_row([name, name, name, "allgather-kv16/1bit 9.41 s"]);
        assert!(!fits(&mut wide));
        let text = rendered(&mut wide);
        assert_eq!(text.lines().count(), 3, "{text}");
        let mut narrow = table(&["a", "b"], &[]);
        narrow.add_row([name, &"word ".repeat(40)]);
        let text = rendered(&mut narrow);
        assert!(text.lines().all(|line| line.len() <= usize::from(WIDTH)));
    }
}
