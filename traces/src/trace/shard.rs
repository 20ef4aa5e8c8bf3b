//! A shard: the safetensors file of one step.
//!
//! ```text
//! u64 length of the header | JSON header, padded to 8 bytes | layers.0.k | layers.0.v | layers.3.k | ...
//! ```
//! Reading is the `safetensors` crate's, which checks that tensors fill the file without gap or overlap;
//! the order of tensors in the file is free. Writing goes tensor by tensor, so that a shard is never in
//! memory.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::{Map, Value, json};

use super::mapping::Mapping;
use super::{Dtype, Manifest, Shape, Tensor, TraceError};

/// Bytes before the header.
const LENGTH: usize = 8;

/// Where each tensor stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout(BTreeMap<(u32, Tensor), Range<usize>>);

impl Layout {
    /// The bytes of a tensor.
    pub(super) fn get(&self, layer: u32, tensor: Tensor) -> Option<Range<usize>> {
        self.0.get(&(layer, tensor)).cloned()
    }

    /// The layers.
    pub(super) fn layers(&self) -> Vec<u32> {
        let keys = self.0.keys().filter(|(_, tensor)| *tensor == Tensor::K);
        keys.map(|(layer, _)| *layer).collect()
    }

    /// Reads the header of a mapped shard and checks every word of it against the manifest.
    pub(super) fn read(
        mapping: &Mapping,
        manifest: &Manifest,
        step: u32,
        path: &Path,
    ) -> Result<Self, TraceError> {
        let file = || path.display().to_string();
        let broken = |what: String| TraceError::Shard { file: file(), what };
        let (header, metadata) = SafeTensors::read_metadata(mapping)
            .map_err(|error| broken(format!("it is not whole safetensors: {error}")))?;
        let marked = metadata.metadata().as_ref().and_then(|map| map.get("step"));
        if marked.is_none_or(|marked| *marked != step.to_string()) {
            let marked = marked.map_or("no step", String::as_str);
            return Err(broken(format!("it is marked {marked}, not step {step}")));
        }
        let (shape, dtype) = (manifest.shape(), manifest.dtype);
        let mut layout = BTreeMap::new();
        for &layer in &manifest.recorded.layers {
            for tensor in Tensor::ALL {
                let name = tensor.name(layer);
                let info = metadata.info(&name);
                let info = info.ok_or_else(|| broken(format!("tensor {name} is not in it")))?;
                check(info, &name, shape, dtype, &file)?;
                let (start, end) = info.data_offsets;
                let data = LENGTH + header;
                layout.insert((layer, tensor), data + start..data + end);
            }
        }
        let tensors = metadata.offset_keys();
        if tensors.len() != layout.len() {
            let known = |name: &String| {
                let mut keys = layout.keys();
                keys.any(|(layer, tensor)| tensor.name(*layer) == *name)
            };
            let extra = tensors.into_iter().find(|name| !known(name));
            let extra = extra.unwrap_or_default();
            return Err(broken(format!("tensor {extra} is not in the manifest")));
        }
        Ok(Self(layout))
    }
}

/// A tensor's type and shape are those of the manifest.
fn check(
    info: &safetensors::tensor::TensorInfo,
    name: &str,
    shape: Shape,
    dtype: Dtype,
    file: &dyn Fn() -> String,
) -> Result<(), TraceError> {
    if info.dtype != dtype.safetensors() {
        return Err(TraceError::WrongDtype {
            file: file(),
            name: name.to_owned(),
            found: info.dtype.to_string(),
            expected: dtype,
        });
    }
    if info.shape != shape.dimensions() {
        return Err(TraceError::WrongShape {
            file: file(),
            name: name.to_owned(),
            found: info.shape.clone(),
            expected: shape,
        });
    }
    Ok(())
}

/// Writes the length and the header of a shard whose tensors follow layer by layer, K before V.
pub(super) fn write_header(manifest: &Manifest, step: u32, mut out: impl Write) -> io::Result<()> {
    let (shape, dtype) = (manifest.shape(), manifest.dtype);
    let size = shape.elements() * dtype.size();
    let mut header = Map::new();
    header.insert(
        "__metadata__".to_owned(),
        json!({ "step": step.to_string() }),
    );
    let layers = manifest.recorded.layers.iter();
    let tensors = layers.flat_map(|layer| Tensor::ALL.map(|tensor| tensor.name(*layer)));
    for (place, name) in tensors.enumerate() {
        let entry = json!({
            "dtype": dtype.safetensors().to_string(),
            "shape": shape.dimensions(),
            "data_offsets": [place * size, (place + 1) * size],
        });
        header.insert(name, entry);
    }
    let mut text = Value::Object(header).to_string();
    let padding = text.len().next_multiple_of(LENGTH) - text.len();
    text.push_str(&" ".repeat(padding));
    out.write_all(&(text.len() as u64).to_le_bytes())?;
    out.write_all(text.as_bytes())
}
