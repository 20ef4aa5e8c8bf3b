//! The nearest spelling: what an error about an unknown name proposes.

/// The candidate with the smallest edit distance to `written`, ignoring case; the first on ties.
pub(crate) fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_lowercase();
    candidates
        .into_iter()
        .min_by_key(|candidate| strsim::damerau_levenshtein(&written, &candidate.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_edit_distance_wins() {
        assert_eq!(
            nearest("bandwith", ["latency", "bandwidth"]),
            Some("bandwidth")
        );
        assert_eq!(nearest("x", []), None);
    }
}
