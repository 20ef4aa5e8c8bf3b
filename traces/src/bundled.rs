//! What the repository's own trace says of `dit-digits`: embedded, so that plans for it need no file.

use crate::trace::Calibrated;

/// The name of the embedded trace in provenance and errors.
const NAME: &str = "the bundled trace traces/data/dit-digits/28steps";

static MANIFEST: &[u8] = include_bytes!("../data/dit-digits/28steps/manifest.json");
static ERRORS: &[u8] = include_bytes!("../data/dit-digits/28steps/errors.csv.gz");
static QUALITY: &[u8] = include_bytes!("../data/dit-digits/28steps/quality.json");

/// The embedded calibration of a model; none for all but `dit-digits`.
///
/// # Panics
/// If the embedded files are damaged: a test reads them.
#[must_use]
pub fn of(model: &str) -> Option<Calibrated> {
    (model == "dit-digits").then(|| {
        let read = Calibrated::parse(NAME, [MANIFEST, ERRORS, QUALITY]);
        read.expect("the embedded trace is whole")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_trace_is_whole() {
        let own = of("dit-digits").unwrap();
        assert_eq!(own.manifest.model.layers, 8);
        assert_eq!(own.quality.steps, own.manifest.sampler.steps);
        assert!(!own.errors.is_empty());
        assert!(of("FLUX.1-dev").is_none());
    }
}
