//! A sweep for people: who wins where, the crossovers, what cannot be served.

use super::scale;
use super::table::{self, Line, Table};
use crate::render::text::{self, bulleted, heading};

/// The sweep for people: who wins where, the crossovers, what cannot be served.
pub(super) fn report(table: &Table) -> String {
    let lines = table.best();
    let mut page = String::new();
    if table.axes.len() == 2 {
        page.push_str(&grid(table, &lines));
    } else {
        page.push_str(&listed(table, &lines));
    }
    let mut notes = crossovers(table, &lines);
    let refused: Vec<&Line> = table
        .lines
        .iter()
        .filter(|line| line.plan.is_empty())
        .collect();
    if let Some(first) = refused.first() {
        notes.push(format!(
            "{} of {} points have no plan, the first ({}): {}",
            refused.len(),
            table.lines.len(),
            first.place(&table.axes, |_| true),
            first.reason
        ));
    }
    if !notes.is_empty() {
        page.push_str(&format!("\n{}{}", heading("Findings"), bulleted(&notes)));
    }
    page
}

/// Rows that a table for people may have.
pub(super) const SHOWN: usize = 40;

/// What an image or video costs, in US cents.
pub(super) fn cents(usd: f64) -> String {
    if usd.is_nan() {
        return "-".to_owned();
    }
    scale::digits(100.0 * usd)
}

/// One line a point; fewer columns where many numbers vary, or where figures are long.
fn listed(table: &Table, lines: &[&Line]) -> String {
    let most = COLUMNS.len().min(8 - table.axes.len().clamp(2, 5));
    let sizes = (1..=most).rev();
    let mut tables = sizes.map(|size| points(table, lines, &COLUMNS[..size]));
    let narrow = tables.find_map(|mut shown| text::fits(&mut shown).then_some(shown));
    let mut shown = narrow.unwrap_or_else(|| points(table, lines, &COLUMNS[..1]));
    let mut page = text::rendered(&mut shown);
    if lines.len() > SHOWN {
        let more = lines.len() - SHOWN;
        page.push_str(&format!(
            "    {more} more points: --out FILE.csv or --json has them\n\n{}",
            winners(lines)
        ));
    }
    page
}

/// A figure of a line, with its name.
type Column = (&'static str, fn(&Line) -> String);

/// Figures of a line, the most wanted first.
const COLUMNS: [Column; 6] = [
    ("latency, s", |line| format!("{:.3}", line.latency_s)),
    ("speed-up", |line| format!("{:.2}", line.speed_up)),
    ("cost, cents", |line| cents(line.cost_each_usd)),
    ("90 %, s", |line| {
        format!("{:.3} to {:.3}", line.lo_s, line.hi_s)
    }),
    ("exposed, s", |line| format!("{:.3}", line.exposed_s)),
    ("memory, GB", |line| format!("{:.1}", line.memory_gb)),
];

/// The first points with some of their figures.
fn points(table: &Table, lines: &[&Line], columns: &[Column]) -> comfy_table::Table {
    let mut header: Vec<&str> = table.axes.iter().map(String::as_str).collect();
    header.push("plan");
    let numbers: Vec<usize> = (header.len()..header.len() + columns.len()).collect();
    header.extend(columns.iter().map(|column| column.0));
    let mut shown = text::table(&header, &numbers);
    for line in lines.iter().take(SHOWN) {
        let mut cells = line.values.clone();
        if line.plan.is_empty() {
            cells.push(table::NO_PLAN.to_owned());
        } else {
            cells.push(line.label());
            cells.extend(columns.iter().map(|column| column.1(line)));
        }
        shown.add_row(cells);
    }
    shown
}

/// Who wins where over two numbers: the one with more values down, the other across; in as few parts, one
/// below the other, as have room.
fn grid(table: &Table, lines: &[&Line]) -> String {
    const MOST: usize = 4;
    let (one, other) = (table.distinct(0), table.distinct(1));
    let (down, rows, across, columns) = if one.len() < other.len() {
        (1, other, 0, one)
    } else {
        (0, one, 1, other)
    };
    if columns.len() > MOST {
        return winners(lines);
    }
    let part = |columns: &[String]| {
        let mut header = vec![format!("{}, {}", table.axes[down], table.axes[across])];
        header.extend(columns.iter().cloned());
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let mut shown = text::table(&header, &[]);
        for row in &rows {
            let mut cells = vec![row.clone()];
            cells.extend(columns.iter().map(|column| {
                let at =
                    |line: &&&Line| line.values[down] == *row && line.values[across] == *column;
                match lines.iter().find(at) {
                    Some(line) if !line.plan.is_empty() => {
                        format!("{} {:.2} s", line.label(), line.latency_s)
                    }
                    _ => table::NO_PLAN.to_owned(),
                }
            }));
            shown.add_row(cells);
        }
        shown
    };
    let parts = |count: usize| -> Vec<comfy_table::Table> {
        let size = columns.len().div_ceil(count);
        columns.chunks(size).map(part).collect()
    };
    let mut counts = 1..columns.len();
    let fitting = counts.find(|&count| parts(count).iter_mut().all(text::fits));
    let mut parts = parts(fitting.unwrap_or(columns.len()));
    let parts: Vec<String> = parts.iter_mut().map(text::rendered).collect();
    parts.join("\n")
}

/// How often each kind of plan wins.
fn winners(lines: &[&Line]) -> String {
    let mut shown = text::table(&["wins", "of", "kind of plan"], &[0, 1]);
    for (kind, count) in table::kinds(lines) {
        shown.add_row([count.to_string(), lines.len().to_string(), kind]);
    }
    text::rendered(&mut shown)
}

/// Where the winner changes along the last number, for the first few values of the others.
fn crossovers(table: &Table, lines: &[&Line]) -> Vec<String> {
    const MOST: usize = 8;
    let Some(last) = table.axes.len().checked_sub(1) else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    for pair in lines.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        let same_row = before.values[..last] == after.values[..last];
        if same_row
            && before.kind() != after.kind()
            && !after.plan.is_empty()
            && !before.plan.is_empty()
        {
            let rest = match last {
                0 => String::new(),
                _ => format!(" ({})", after.place(&table.axes, |axis| axis < last)),
            };
            notes.push(format!(
                "between {} = {} and {}, {} gives way to {}{rest}",
                table.axes[last],
                before.values[last],
                after.values[last],
                before.words(),
                after.words()
            ));
        }
    }
    if notes.len() > MOST {
        let more = notes.len() - MOST;
        notes.truncate(MOST);
        notes.push(format!(
            "{more} more changes of the winner: --plot draws the borders"
        ));
    }
    notes
}
