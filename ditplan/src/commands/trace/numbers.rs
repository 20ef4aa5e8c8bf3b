//! Lists and ranges of numbers, as typed.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{Result, bail};

/// The most numbers that one range may stand for: no model has more layers, heads or steps.
const MOST: u32 = 100_000;

/// `"0,3,5-7"` as ascending numbers, each once; `option` is its name in errors.
pub(super) fn list(text: &str, option: &str) -> Result<Vec<u32>> {
    let mut numbers = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            (Ok(first), Ok(last)) if first <= last && last - first < MOST => {
                numbers.extend(first..=last);
            }
            _ => bail!(
                "{option} \"{text}\": \"{part}\" is not a number or an ascending range: write for instance \"0,3,5-7\""
            ),
        }
    }
    Ok(numbers.into_iter().collect())
}

/// As [`list`], where something was typed.
pub(super) fn optional_list(text: Option<&String>, option: &str) -> Result<Option<Vec<u32>>> {
    text.map(|text| list(text, option)).transpose()
}

/// `"8..72"` as a range; `option` is its name in errors.
pub(super) fn range(text: &str, option: &str) -> Result<Range<u32>> {
    let ends = text.split_once("..");
    let ends = ends.map(|(start, end)| (start.trim().parse(), end.trim().parse()));
    match ends {
        Some((Ok(start), Ok(end))) if start < end => Ok(start..end),
        _ => bail!(
            "{option} \"{text}\" is not a range of tokens: write the first and the one behind the last, for instance \"8..72\""
        ),
    }
}

/// Numbers as people list them: `0-3, 5, 7-9`.
pub(super) fn listed(numbers: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let runs: Vec<String> = runs
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    runs.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_ascending_and_without_doubles() {
        assert_eq!(list("5-7, 0,3,6", "--layers").unwrap(), [0, 3, 5, 6, 7]);
        assert_eq!(range("8..72", "--tokens").unwrap(), 8..72);
    }

    #[test]
    fn what_is_no_list_is_told_with_its_option() {
        for text in ["", "a", "3-1", "1,,2", "-1", "0-4000000000"] {
            let error = list(text, "--layers").unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("--layers \"{text}\"")),
                "{error}"
            );
        }
        for text in ["", "7", "7..7", "a..b", "..7"] {
            let error = range(text, "--tokens").unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("--tokens \"{text}\"")),
                "{error}"
            );
        }
    }

    #[test]
    fn runs_of_numbers_are_ranges() {
        assert_eq!(listed(&[0, 1, 2, 3, 5, 7, 8]), "0-3, 5, 7-8");
        assert_eq!(listed(&[4]), "4");
        assert_eq!(listed(&[]), "");
    }
}
