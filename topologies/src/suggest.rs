//! The nearest spelling: what an error about an unknown name proposes.

/// The candidate most like `written` (Jaro-Winkler, which favours a common start), ignoring case;
/// the first on ties.
#[must_use]
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let likeness = strsim::jaro_winkler(&written, &candidate.to_lowercase());
        if best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_alike_wins() {
        assert_eq!(
            nearest("bandwith", ["latency", "bandwidth"]),
            Some("bandwidth")
        );
        assert_eq!(
            nearest("launch", ["name", "launch_factor"]),
            Some("launch_factor")
        );
        assert_eq!(nearest("x", []), None);
    }
}
