//! The table that `nvidia-smi topo -m` prints, and the classes in its cells.

use std::collections::BTreeMap;

use super::super::ImportError;
use super::super::sketch::Sketch;

/// Whether two devices share a switch, a bridge, a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Itself,
    Nvlink(u32),
    Switch,
    Switches,
    Bridge,
    Domain,
    System,
}

/// The table.
pub(super) struct Table {
    /// GPUs first come first, then the others.
    pub names: Vec<String>,
    pub line: usize,
    pub cells: Vec<Vec<Class>>,
    /// What stands in the NUMA (else CPU) affinity column of each row.
    pub affinity: Vec<Option<String>>,
    pub by_numa: bool,
}

/// Terminal colours and underlining, which nvidia-smi writes around its header.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('\u{1b}') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let end = tail.find(|c: char| c.is_ascii_alphabetic());
        rest = end.map_or("", |end| &tail[end + 1..]);
    }
    out + rest
}

/// Whether a line is the header: GPU0, and then another name or the affinity.
fn is_header(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("GPU0") && words.next().is_some_and(|word| class(word).is_none())
}

pub(in super::super) fn is_topology(text: &str) -> bool {
    text.lines().any(|line| is_header(&plain(line)))
}

fn class(word: &str) -> Option<Class> {
    Some(match word {
        "X" => Class::Itself,
        "PIX" | "PSB" => Class::Switch,
        "PXB" => Class::Switches,
        "PHB" => Class::Bridge,
        "NODE" => Class::Domain,
        "SYS" | "SOC" => Class::System,
        _ => {
            let links = word.strip_prefix("NV")?.parse().ok()?;
            return (1..=64).contains(&links).then_some(Class::Nvlink(links));
        }
    })
}

pub(super) fn fault(
    file: &str,
    line: usize,
    fault: impl Into<String>,
    remedy: &str,
) -> ImportError {
    ImportError::Line {
        file: file.to_owned(),
        line,
        fault: fault.into(),
        remedy: remedy.to_owned(),
    }
}

/// Reads the table's header and rows.
pub(super) fn table(text: &str, file: &str) -> Result<Table, ImportError> {
    let mut lines = text.lines().map(plain).enumerate();
    let (line, header) = lines
        .find(|(_, line)| is_header(line))
        .expect("a topology has a header line: it was recognised by it");
    let words: Vec<&str> = header.split_whitespace().collect();
    let end = words
        .iter()
        .position(|word| *word == "CPU")
        .unwrap_or(words.len());
    let names: Vec<String> = words[..end].iter().map(|name| (*name).to_owned()).collect();
    let by_numa = words[end..]
        .windows(2)
        .any(|pair| pair == ["NUMA", "Affinity"]);
    Sketch::check_count(names.iter().filter(|name| is_gpu(name)).count(), file)?;
    let mut rows: BTreeMap<usize, (Vec<Class>, Option<String>)> = BTreeMap::new();
    for (index, text) in lines {
        let mut words = text.split_whitespace();
        let Some(row) = words
            .next()
            .and_then(|first| names.iter().position(|name| name == first))
        else {
            if rows.is_empty() || text.trim().is_empty() {
                continue;
            } else {
                break;
            }
        };
        let (number, rest) = (index + 1, words.collect::<Vec<_>>());
        let cells = cells(&names[row], &rest, names.len(), file, number)?;
        let affinity = rest.get(names.len() + usize::from(by_numa));
        let known = affinity
            .filter(|word| **word != "N/A")
            .map(|word| (*word).to_owned());
        if rows.insert(row, (cells, known)).is_some() {
            let remedy = "give the table of one machine";
            return Err(fault(
                file,
                number,
                format!("{} has a second row", names[row]),
                remedy,
            ));
        }
    }
    if let Some(missing) =
        (0..names.len()).find(|row| is_gpu(&names[*row]) && !rows.contains_key(row))
    {
        let remedy = "copy the whole table";
        return Err(fault(
            file,
            line + 1,
            format!("{} has no row", names[missing]),
            remedy,
        ));
    }
    let empty = || (vec![Class::System; names.len()], None);
    let (cells, affinity) = (0..names.len())
        .map(|row| rows.remove(&row).unwrap_or_else(empty))
        .unzip();
    Ok(Table {
        names,
        line: line + 1,
        cells,
        affinity,
        by_numa,
    })
}

fn cells(
    name: &str,
    words: &[&str],
    columns: usize,
    file: &str,
    line: usize,
) -> Result<Vec<Class>, ImportError> {
    let words = words.get(..columns).ok_or_else(|| {
        let what = format!("the row of {name} has {} of {columns} columns", words.len());
        fault(file, line, what, "copy the whole table")
    })?;
    words
        .iter()
        .map(|word| {
            class(word).ok_or_else(|| {
                let what = format!("\"{word}\" is no class of connection");
                fault(file, line, what, "use X, NV#, PIX, PXB, PHB, NODE or SYS")
            })
        })
        .collect()
}

pub(super) fn is_gpu(name: &str) -> bool {
    name.strip_prefix("GPU")
        .is_some_and(|number| number.parse::<u32>().is_ok())
}
