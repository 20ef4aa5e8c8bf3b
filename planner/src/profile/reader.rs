//! Reads the points of a profile's files.
//!
//! Guarantees: an absent file, or one with a header alone, has no points; everything else that is not a
//! point is an error with its place.

use std::path::Path;

use kernels::{AttentionPoint, CodecPoint, Compressor, GemmPoint, Way};
use topologies::DType;
use traces::bounded::{self, MEASURED};

use super::points::{BlockPoint, Part, Point, What};
use super::{About, Device, ProfileError};
use crate::csv_input::{Column, InputError, Record, Table};

/// The points of one part of a profile.
///
/// # Errors
/// [`ProfileError`] naming file, line and column of what is wrong.
pub fn read(directory: &Path, part: Part, about: &About) -> Result<Vec<Point>, ProfileError> {
    let path = directory.join(part.file());
    let file = path.display().to_string();
    let bytes = match bounded::read(&path, MEASURED.bytes) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let what = error.to_string();
            return Err(InputError::Unreadable { file, what }.into());
        }
    };
    if !bytes.ends_with(b"\n") && !bytes.is_empty() {
        let line = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
        return Err(ProfileError::Torn { file, line });
    }
    let table = match Table::from_bytes(&bytes, &file) {
        Err(InputError::Empty { .. }) => return Ok(Vec::new()),
        other => other?,
    };
    Reader {
        table: &table,
        about,
    }
    .points(part)
}

struct Reader<'a> {
    table: &'a Table,
    about: &'a About,
}

impl Reader<'_> {
    fn points(&self, part: Part) -> Result<Vec<Point>, ProfileError> {
        match part {
            Part::Gemm => self.gemm(),
            Part::Attention => self.attention("seq_len", "seq_len"),
            Part::Rectangular => self.attention("query_len", "key_len"),
            Part::Memory => self.memory(),
            Part::Launch => self.launch(),
            Part::Copies => self.copies(),
            Part::Blocks => self.blocks(),
            Part::Interference => self.interference(),
            Part::Compressors => self.compressors(),
        }
    }

    fn columns<const N: usize>(&self, names: [&str; N]) -> Result<[Column; N], InputError> {
        let found: Vec<Column> = names
            .iter()
            .map(|name| self.table.column(name))
            .collect::<Result<_, _>>()?;
        Ok(found.try_into().expect("as many columns as names"))
    }

    /// Each row's point: what it is, from `what`, and its times.
    fn each(
        &self,
        what: impl Fn(&Record<'_>, f64) -> Result<Option<What>, ProfileError>,
    ) -> Result<Vec<Point>, ProfileError> {
        let latency = self.table.column("latency_us")?;
        let spread = self
            .table
            .optional("p10_us")
            .zip(self.table.optional("p90_us"));
        let mut points = Vec::with_capacity(self.table.len());
        for row in self.table.records() {
            let us = row.positive(latency)?;
            let spread = match spread {
                Some((low, high)) => Some((row.positive(low)?, row.positive(high)?)),
                None => None,
            };
            if let Some(what) = what(&row, us)? {
                points.push(Point { what, us, spread });
            }
        }
        Ok(points)
    }

    fn check_system(&self, row: &Record<'_>, system: Column) -> Result<(), ProfileError> {
        let found = row.text(system);
        if found == self.about.system {
            return Ok(());
        }
        Err(ProfileError::System {
            file: self.table.file.clone(),
            line: row.line(),
            found: found.to_owned(),
            own: self.about.system.clone(),
        })
    }

    /// The number format; a processor's single precision stands for 16 bits, to try the path out.
    fn dtype(&self, row: &Record<'_>, column: Column) -> Result<DType, InputError> {
        match row.text(column) {
            "bfloat16" | "bf16" | "float16" | "fp16" | "half" => Ok(DType::Bf16),
            "float32" if self.about.device == Device::Cpu => Ok(DType::Bf16),
            "fp8" | "float8" | "fp8_e4m3" | "float8_e4m3fn" => Ok(DType::Fp8),
            _ => Err(row.not(column, "bfloat16, float16 or fp8")),
        }
    }

    fn gemm(&self) -> Result<Vec<Point>, ProfileError> {
        let [system, dtype, kernel] = self.columns(["system", "dtype", "kernel"])?;
        let sides = self.columns(["m", "n", "k"])?;
        self.each(|row, us| {
            self.check_system(row, system)?;
            let mut shape = [0; 3];
            for (side, column) in shape.iter_mut().zip(sides) {
                *side = size(row, column)?;
            }
            Ok(Some(What::Gemm(GemmPoint {
                dtype: self.dtype(row, dtype)?,
                kernel: row.text(kernel).to_owned(),
                shape,
                us,
            })))
        })
    }

    fn attention(&self, queries: &str, keys: &str) -> Result<Vec<Point>, ProfileError> {
        let [system, dtype, kernel, causal] =
            self.columns(["system", "dtype", "kernel", "causal"])?;
        let [batch, heads, head_dim] = self.columns(["batch", "heads", "head_dim"])?;
        let [queries, keys] = self.columns([queries, keys])?;
        self.each(|row, us| {
            self.check_system(row, system)?;
            let full = match row.text(causal).to_lowercase().as_str() {
                "false" | "0" => true,
                "true" | "1" => false,
                _ => return Err(row.not(causal, "True or False").into()),
            };
            let half = self.dtype(row, dtype)? == DType::Bf16;
            let point = AttentionPoint {
                kernel: row.text(kernel).to_owned(),
                batch: size(row, batch)?,
                heads: size(row, heads)?,
                queries: size(row, queries)?,
                keys: size(row, keys)?,
                head_dim: size(row, head_dim)?,
                us,
            };
            // Causal attention and attention in 8 bits run in no diffusion transformer known here.
            Ok((full && half).then_some(What::Attention(point)))
        })
    }

    fn memory(&self) -> Result<Vec<Point>, ProfileError> {
        let [op, bytes] = self.columns(["op", "bytes"])?;
        self.each(|row, _| {
            Ok(Some(What::Memory {
                op: row.text(op).to_owned(),
                bytes: row.count(bytes)?,
            }))
        })
    }

    fn launch(&self) -> Result<Vec<Point>, ProfileError> {
        let [mode, kernels] = self.columns(["mode", "kernels"])?;
        self.each(|row, _| {
            Ok(Some(What::Launch {
                mode: row.text(mode).to_owned(),
                kernels: row.count(kernels)?,
            }))
        })
    }

    fn copies(&self) -> Result<Vec<Point>, ProfileError> {
        let [direction, pinned, bytes] = self.columns(["direction", "pinned", "bytes"])?;
        self.each(|row, _| {
            if !["d2d", "d2h", "h2d", "both"].contains(&row.text(direction)) {
                return Err(row.not(direction, "d2d, d2h, h2d or both").into());
            }
            Ok(Some(What::Copy {
                direction: row.text(direction).to_owned(),
                pinned: row.text(pinned).eq_ignore_ascii_case("true"),
                bytes: row.count(bytes)?,
            }))
        })
    }

    fn blocks(&self) -> Result<Vec<Point>, ProfileError> {
        let [model, block, mode, batch] = self.columns(["model", "block", "mode", "batch"])?;
        let [tokens, text_tokens, ranks] = self.columns(["tokens", "text_tokens", "ranks"])?;
        self.each(|row, _| {
            let compiled = match row.text(mode) {
                "eager" => false,
                "compiled" => true,
                _ => return Err(row.not(mode, "eager or compiled").into()),
            };
            let text = row.text(text_tokens) == "0";
            Ok(Some(What::Block(BlockPoint {
                model: row.text(model).to_owned(),
                block: row.text(block).to_owned(),
                compiled,
                batch: row.count(batch)?,
                tokens: row.count(tokens)?,
                text_tokens: if text { 0 } else { row.count(text_tokens)? },
                ranks: row.count(ranks)?,
            })))
        })
    }

    fn interference(&self) -> Result<Vec<Point>, ProfileError> {
        let [compute, copy] = self.columns(["compute", "copy"])?;
        self.each(|row, _| {
            Ok(Some(What::Interference {
                compute: row.text(compute).to_owned(),
                copy: row.text(copy).to_owned(),
            }))
        })
    }

    fn compressors(&self) -> Result<Vec<Point>, ProfileError> {
        let [compressor, direction] = self.columns(["compressor", "direction"])?;
        let [kernel, base] = self.columns(["kernel", "base"])?;
        let [rows, channels] = self.columns(["rows", "channels"])?;
        self.each(|row, us| {
            let known = row.text(compressor).parse::<Compressor>();
            let known = known.map_err(|_| row.not(compressor, "a known compressor"))?;
            let way = match row.text(direction) {
                "encode" => Way::Encode,
                "decode" => Way::Decode,
                _ => return Err(row.not(direction, "encode or decode").into()),
            };
            Ok(Some(What::Codec {
                point: CodecPoint {
                    compressor: known,
                    way,
                    rows: size(row, rows)?,
                    channels: size(row, channels)?,
                    us,
                },
                kernel: row.text(kernel).to_owned(),
                base: row.text(base).to_owned(),
            }))
        })
    }
}

/// A whole number that a table's axis holds.
fn size(row: &Record<'_>, column: Column) -> Result<u32, InputError> {
    let wanted = "a whole number of at least 1";
    u32::try_from(row.count(column)?).map_err(|_| row.not(column, wanted))
}
