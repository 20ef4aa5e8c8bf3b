//! What predicts output errors from a trace: its manifest, replay errors and calibration together.

use super::rows::read;
use super::{ERRORS, ErrorRow, Manifest, QUALITY, QualityFile, Trace, TraceError, validate};

/// A trace as far as the quality model needs it.
#[derive(Clone, Debug)]
pub struct Calibrated {
    /// Where it is, for people.
    pub name: String,
    /// What was recorded.
    pub manifest: Manifest,
    /// The calibration.
    pub quality: QualityFile,
    /// What replayed compressors did.
    pub errors: Vec<ErrorRow>,
}

impl Calibrated {
    /// Reads the bytes of `manifest.json`, `errors.csv.gz` and `quality.json` of the trace `name`.
    ///
    /// # Errors
    /// A [`TraceError`] that names the file and the mistake.
    pub fn parse(name: &str, [manifest, errors, quality]: [&[u8]; 3]) -> Result<Self, TraceError> {
        Ok(Self {
            name: name.to_owned(),
            manifest: validate::manifest(manifest, name)?,
            quality: QualityFile::parse(quality, name)?,
            errors: read(errors, name)?,
        })
    }
}

impl Trace {
    /// Its replay errors and its calibration.
    ///
    /// # Errors
    /// [`TraceError::NotCalibrated`] where one is missing, else what is wrong with it.
    pub fn calibrated(&self) -> Result<Calibrated, TraceError> {
        let missing = |file, remedy: &str| TraceError::NotCalibrated {
            directory: self.directory().display().to_string(),
            file,
            remedy: remedy.to_owned(),
        };
        let errors = self.rows::<ErrorRow>()?;
        let quality = self.quality()?;
        Ok(Calibrated {
            name: self.directory().display().to_string(),
            manifest: self.manifest().clone(),
            quality: quality.ok_or_else(|| {
                missing(
                    QUALITY,
                    "run `python -m ditplan_capture.calibrate_quality` on it",
                )
            })?,
            errors: errors.ok_or_else(|| missing(ERRORS, "run `ditplan replay --save` on it"))?,
        })
    }
}
