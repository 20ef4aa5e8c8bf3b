//! Why a profile cannot be used.

use thiserror::Error;

use crate::csv_input::InputError;

/// Why a profile cannot be used; the text says what to do.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ProfileError {
    /// There is no such directory, or no `profile.json` in it.
    #[error(
        "{file} cannot be read ({what}): a profile is a directory with profile.json, written by `ditplan calibrate --out DIR`"
    )]
    Unreadable {
        /// The file.
        file: String,
        /// What the system says.
        what: String,
    },
    /// `profile.json` is not what `ditplan calibrate` writes.
    #[error("{file}: {what}: it is written by `ditplan calibrate --out DIR`; run that again")]
    About {
        /// The file.
        file: String,
        /// What is wrong, with line and column.
        what: String,
    },
    /// A format that this program does not know.
    #[error(
        "{file} has format {found}; this program reads format {known}: calibrate again, or update ditplan"
    )]
    Format {
        /// The file.
        file: String,
        /// The format found.
        found: u32,
        /// The format read here.
        known: u32,
    },
    /// One of the measured files is wrong.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The last line was cut short while it was written.
    #[error(
        "{file}, line {line}: the line is cut short: delete it, or go on with the `ditplan calibrate` that wrote it, which measures it again"
    )]
    Torn {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// Rows of another system than the profile's.
    #[error(
        "{file}, line {line}, column \"system\": \"{found}\" stands in a profile of \"{own}\": a profile holds one GPU; give each its own directory"
    )]
    System {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The row's system.
        found: String,
        /// The profile's.
        own: String,
    },
    /// A measured GPU that no datasheet is known of.
    #[error("{profile} was measured on \"{gpu}\", of which no datasheet is known: {why}")]
    Gpu {
        /// The profile.
        profile: String,
        /// The name found.
        gpu: String,
        /// What the list of GPUs says.
        why: String,
    },
    /// The profile is a processor's.
    #[error(
        "{profile} was measured on a processor (device cpu) to try the path out, and says nothing about a GPU: run `ditplan calibrate --out DIR` on a machine with the GPU"
    )]
    Processor {
        /// The profile.
        profile: String,
    },
    /// The profile is of another GPU than the machine's.
    #[error(
        "{profile} is a profile of {gpu}, but {machine} has {has}: name a machine with {gpu}, or calibrate on {has}"
    )]
    OtherGpu {
        /// The profile.
        profile: String,
        /// Its GPU.
        gpu: String,
        /// The machine.
        machine: String,
        /// The machine's GPU.
        has: String,
    },
    /// No part has a measured point.
    #[error(
        "{profile} holds no measured point yet: go on with the `ditplan calibrate` that began it"
    )]
    Nothing {
        /// The profile.
        profile: String,
    },
    /// The points make no tables.
    #[error("{profile}: {cause}")]
    Unmeasurable {
        /// The profile.
        profile: String,
        /// Why.
        cause: kernels::Unmeasurable,
    },
}
