//! Element types of activations, and conversion between them.
//!
//! Conversion goes through f32, which holds every f16 and bf16, and rounds to nearest even; reading
//! elements as what they are is exact to the bit.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// Elements converted at a time: small enough for the first-level cache.
const BLOCK: usize = 1024;

/// The type of a trace's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 binary16.
    Float16,
    /// The upper half of binary32.
    Bfloat16,
    /// IEEE 754 binary32.
    Float32,
}

impl Dtype {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::Float16, Self::Bfloat16, Self::Float32];

    /// Its word in manifests and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
            Self::Float32 => "float32",
        }
    }

    /// Bytes of an element.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Float16 | Self::Bfloat16 => 2,
            Self::Float32 => 4,
        }
    }

    /// The largest relative error of rounding to it: half a unit in the last place.
    #[must_use]
    pub const fn rounding(self) -> f64 {
        match self {
            Self::Float16 => 1.0 / 2048.0,
            Self::Bfloat16 => 1.0 / 256.0,
            Self::Float32 => 1.0 / 16_777_216.0,
        }
    }

    /// Its name in safetensors.
    pub(super) const fn safetensors(self) -> safetensors::Dtype {
        match self {
            Self::Float16 => safetensors::Dtype::F16,
            Self::Bfloat16 => safetensors::Dtype::BF16,
            Self::Float32 => safetensors::Dtype::F32,
        }
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

/// A type that activations can be read as.
pub trait Element: Copy + Default + Send + Sync + 'static {
    /// Which one it is.
    const DTYPE: Dtype;

    /// Its little-endian bytes, behind `out`.
    fn put(values: &[Self], out: &mut Vec<u8>);

    /// The elements of little-endian bytes; both slices hold equally many.
    fn get(bytes: &[u8], out: &mut [Self]);

    /// As f32; both slices are equally long.
    fn widen(values: &[Self], out: &mut [f32]);

    /// Rounded from f32 to nearest even; both slices are equally long.
    fn narrow(values: &[f32], out: &mut [Self]);
}

/// The bytes of an element type, for the two functions that are alike for all.
macro_rules! little_endian {
    () => {
        fn put(values: &[Self], out: &mut Vec<u8>) {
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }

        fn get(bytes: &[u8], out: &mut [Self]) {
            for (value, bytes) in out.iter_mut().zip(bytes.chunks_exact(size_of::<Self>())) {
                let bytes = bytes
                    .try_into()
                    .expect("a chunk has the size of an element");
                *value = Self::from_le_bytes(bytes);
            }
        }
    };
}

impl Element for f16 {
    const DTYPE: Dtype = Dtype::Float16;
    little_endian!();

    fn widen(values: &[Self], out: &mut [f32]) {
        values.convert_to_f32_slice(out);
    }

    fn narrow(values: &[f32], out: &mut [Self]) {
        out.convert_from_f32_slice(values);
    }
}

impl Element for bf16 {
    const DTYPE: Dtype = Dtype::Bfloat16;
    little_endian!();

    fn widen(values: &[Self], out: &mut [f32]) {
        values.convert_to_f32_slice(out);
    }

    fn narrow(values: &[f32], out: &mut [Self]) {
        out.convert_from_f32_slice(values);
    }
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::Float32;
    little_endian!();

    fn widen(values: &[Self], out: &mut [f32]) {
        out.copy_from_slice(values);
    }

    fn narrow(values: &[f32], out: &mut [Self]) {
        out.copy_from_slice(values);
    }
}

/// Reads little-endian bytes of type `from` into `out`, which holds as many elements.
pub(super) fn read<E: Element>(from: Dtype, bytes: &[u8], out: &mut [E]) {
    assert_eq!(
        bytes.len(),
        out.len() * from.size(),
        "the buffer holds as many elements as are read"
    );
    if from == E::DTYPE {
        return E::get(bytes, out);
    }
    let mut wide = [0.0; BLOCK];
    for (out, bytes) in out.chunks_mut(BLOCK).zip(bytes.chunks(BLOCK * from.size())) {
        let wide = &mut wide[..out.len()];
        match from {
            Dtype::Float16 => widened::<f16>(bytes, wide),
            Dtype::Bfloat16 => widened::<bf16>(bytes, wide),
            Dtype::Float32 => f32::get(bytes, wide),
        }
        E::narrow(wide, out);
    }
}

/// One block of bytes as f32.
fn widened<S: Element>(bytes: &[u8], out: &mut [f32]) {
    let mut values = [S::default(); BLOCK];
    let values = &mut values[..out.len()];
    S::get(bytes, values);
    S::widen(values, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every f16 bit pattern that is finite.
    fn finite() -> Vec<f16> {
        let all = (0..=u16::MAX).map(f16::from_bits);
        all.filter(|value| value.is_finite()).collect()
    }

    #[test]
    fn reading_as_the_same_type_keeps_every_bit() {
        let values: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        let mut bytes = Vec::new();
        f16::put(&values, &mut bytes);
        let mut back = vec![f16::ZERO; values.len()];
        read(Dtype::Float16, &bytes, &mut back);
        assert!(
            values
                .iter()
                .zip(&back)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
    }

    #[test]
    fn f16_survives_f32() {
        let mut bytes = Vec::new();
        f16::put(&finite(), &mut bytes);
        let mut wide = vec![0.0_f32; finite().len()];
        read(Dtype::Float16, &bytes, &mut wide);
        let mut wide_bytes = Vec::new();
        f32::put(&wide, &mut wide_bytes);
        let mut back = vec![f16::ZERO; wide.len()];
        read(Dtype::Float32, &wide_bytes, &mut back);
        assert_eq!(back, finite());
    }

    /// |rounded - x| <= rounding * |x| for normal numbers.
    #[test]
    fn rounding_errs_by_at_most_half_a_unit() {
        let values: Vec<f32> = (1..5000).map(|at| (at as f32).sqrt() * 0.37).collect();
        let mut bytes = Vec::new();
        f32::put(&values, &mut bytes);
        let mut halves = vec![f16::ZERO; values.len()];
        let mut brains = vec![bf16::ZERO; values.len()];
        read(Dtype::Float32, &bytes, &mut halves);
        read(Dtype::Float32, &bytes, &mut brains);
        for (at, value) in values.iter().enumerate() {
            for (dtype, back) in [
                (Dtype::Float16, halves[at].to_f32()),
                (Dtype::Bfloat16, brains[at].to_f32()),
            ] {
                let error = f64::from((back - value).abs() / value);
                assert!(error <= dtype.rounding(), "{dtype} {value} {back}");
            }
        }
    }
}
