//! `profile.json`: which machine and software the points of a profile come from.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use traces::bounded::{self, LARGEST_DESCRIPTION};

use super::ProfileError;

/// The format read here.
const FORMAT: u32 = 1;
/// The file.
const FILE: &str = "profile.json";

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// A GPU.
    Cuda,
    /// A processor, to try the path out.
    Cpu,
}

/// The contents of `profile.json` that are used here; others are for people.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct About {
    format: u32,
    /// The device's own name, for example `NVIDIA H200`.
    pub gpu: String,
    /// GPU or processor.
    pub device: Device,
    /// The short name of the tables, for example `h200_sxm`.
    pub system: String,
    /// PyTorch's version.
    pub torch: String,
    /// When it was begun, UTC.
    pub date: String,
    /// How far each part is: complete or partial.
    pub parts: BTreeMap<String, String>,
    /// What a reader must know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The command that measured.
    pub command: String,
}

impl About {
    /// Reads `profile.json` of a directory.
    ///
    /// # Errors
    /// [`ProfileError`] where there is none, or another than `ditplan calibrate` writes.
    pub fn read(directory: &Path) -> Result<Self, ProfileError> {
        let path = directory.join(FILE);
        let file = path.display().to_string();
        let text = bounded::read(&path, LARGEST_DESCRIPTION).map_err(|error| {
            ProfileError::Unreadable {
                file: file.clone(),
                what: error.to_string(),
            }
        })?;
        let about: Self = serde_json::from_slice(&text).map_err(|error| ProfileError::About {
            file: file.clone(),
            what: error.to_string(),
        })?;
        if about.format != FORMAT {
            return Err(ProfileError::Format {
                file,
                found: about.format,
                known: FORMAT,
            });
        }
        Ok(about)
    }

    /// Whether only tiny shapes were measured, to try the program out.
    #[must_use]
    pub fn is_toy(&self) -> bool {
        self.command.split_whitespace().any(|word| word == "--toy")
    }
}
