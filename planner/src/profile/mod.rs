//! A profile: what was measured on one's own GPU, in place of what is built in.
//!
//! ```text
//! DIR/profile.json ─▶ About ─┐
//! DIR/*.csv ─▶ points ───────┼─▶ Profile ─┬─ tables ─▶ costs of every plan
//!                            │            ├─ host ───▶ where calibration starts
//! datasheet of its GPU ──────┘            └─ copies, interference ─▶ live validation
//! ```
//! Guarantees: a processor's profile is refused where a GPU's is asked for, and a GPU's where the machine
//! has another; every number that is replaced is named by [`Profile::says`].
//!
//! Not used: copy rates in plans (a host's own runs and tables give its collectives' rates).

mod about;
mod block_fit;
mod error;
mod host;
mod points;
mod processor;
pub mod rates;
mod reader;
mod statement;
pub mod summary;

use std::collections::BTreeMap;
use std::path::Path;

use kernels::{Measurements, MemoryRate, Tables};
use topologies::{Gpu, gpu};

pub use about::{About, Device};
pub use error::ProfileError;
pub use host::Host;
pub use points::{BlockPoint, Part, Point, What};
pub use statement::Statement;

/// Whose profile is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// A GPU's.
    Gpu,
    /// Any device's: to try the path out.
    Any,
}

/// What was measured on one GPU.
pub struct Profile {
    /// The directory.
    pub path: String,
    /// Which machine and software.
    pub about: About,
    /// The GPU that was measured; of a processor, figures made from its points.
    pub gpu: Gpu,
    points: BTreeMap<Part, Vec<Point>>,
    measurements: Measurements,
    tables: Tables,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Profile({}: {})", self.path, self.about.gpu)
    }
}

impl Profile {
    /// Reads the profile in a directory.
    ///
    /// # Errors
    /// [`ProfileError`], naming what is wrong and where.
    pub fn read(directory: &Path, accept: Accept) -> Result<Self, ProfileError> {
        let path = directory.display().to_string();
        let about = About::read(directory)?;
        if about.device == Device::Cpu && accept == Accept::Gpu {
            return Err(ProfileError::Processor { profile: path });
        }
        let mut points = BTreeMap::new();
        for part in Part::ALL {
            points.insert(part, reader::read(directory, part, &about)?);
        }
        if points.values().all(Vec::is_empty) {
            return Err(ProfileError::Nothing { profile: path });
        }
        let gpu = match about.device {
            Device::Cuda => datasheet(&path, &about)?,
            Device::Cpu => processor::gpu(&path, &about, &points)?,
        };
        let measurements = measurements(&about, &gpu, &points);
        let tables = Tables::built_in_with(&measurements).map_err(|cause| {
            let profile = path.clone();
            ProfileError::Unmeasurable { profile, cause }
        })?;
        Ok(Self {
            path,
            about,
            gpu,
            points,
            measurements,
            tables,
        })
    }

    /// The built-in tables with this profile's points in place of its GPU's.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Tables in which another attention kernel of the profile stands for the others.
    ///
    /// # Errors
    /// [`ProfileError::Unmeasurable`], which reading would have found.
    pub fn tables_with_attention(&self, kernel: &str) -> Result<Tables, ProfileError> {
        let measured = Measurements {
            attention_kernel: Some(kernel.to_owned()),
            ..self.measurements.clone()
        };
        Tables::built_in_with(&measured).map_err(|cause| ProfileError::Unmeasurable {
            profile: self.path.clone(),
            cause,
        })
    }

    /// The points of a part.
    #[must_use]
    pub fn points(&self, part: Part) -> &[Point] {
        &self.points[&part]
    }

    /// The measured rate of memory-bound work.
    #[must_use]
    pub fn memory(&self) -> Option<MemoryRate> {
        self.measurements.memory
    }

    /// Refuses a machine with another GPU than this profile's.
    ///
    /// # Errors
    /// [`ProfileError::OtherGpu`].
    pub fn check(&self, machine: &str, has: &Gpu) -> Result<(), ProfileError> {
        if has.name == self.gpu.name {
            return Ok(());
        }
        Err(ProfileError::OtherGpu {
            profile: self.path.clone(),
            gpu: self.gpu.name.clone(),
            machine: machine.to_owned(),
            has: has.name.clone(),
        })
    }

    /// What this profile is, in one line.
    #[must_use]
    pub fn title(&self) -> String {
        let About {
            gpu, torch, date, ..
        } = &self.about;
        let toy = if self.about.is_toy() {
            "; a toy profile: tiny shapes, to try the program out"
        } else {
            ""
        };
        let processor = match self.about.device {
            Device::Cuda => "",
            Device::Cpu => "; a processor (cpu), not a GPU",
        };
        format!(
            "{}: {gpu}, torch {torch}, {date}{processor}{toy}",
            self.path
        )
    }
}

/// The datasheet of the GPU that was measured, by the driver's name or the tables'.
fn datasheet(path: &str, about: &About) -> Result<Gpu, ProfileError> {
    let found = gpu::find(&about.gpu).or_else(|error| gpu::find(&about.system).map_err(|_| error));
    found.cloned().map_err(|error| ProfileError::Gpu {
        profile: path.to_owned(),
        gpu: about.gpu.clone(),
        why: error.to_string(),
    })
}

/// The points that make tables and rates.
fn measurements(about: &About, gpu: &Gpu, points: &BTreeMap<Part, Vec<Point>>) -> Measurements {
    let all = || points.values().flatten();
    let mut codecs: Vec<_> = all().filter_map(codec).collect();
    codecs.sort_by_key(|(preference, _)| *preference);
    Measurements {
        gpu: gpu.clone(),
        system: about.system.clone(),
        software: format!("torch {}", about.torch),
        gemm: all()
            .filter_map(|point| match &point.what {
                What::Gemm(gemm) => Some(gemm.clone()),
                _ => None,
            })
            .collect(),
        attention: all()
            .filter_map(|point| match &point.what {
                What::Attention(attention) => Some(attention.clone()),
                _ => None,
            })
            .collect(),
        attention_kernel: None,
        memory: rates::memory(&points[&Part::Memory]),
        codecs: codecs.into_iter().map(|(_, point)| point).collect(),
    }
}

/// A time of this program's own kernels with a base in 16 bits, as plans assume it: bf16 first.
fn codec(point: &Point) -> Option<(u8, kernels::CodecPoint)> {
    match &point.what {
        What::Codec {
            point,
            kernel,
            base,
        } if kernel == "ditplan" => match base.as_str() {
            "bf16" => Some((0, *point)),
            "f16" | "fp16" => Some((1, *point)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
