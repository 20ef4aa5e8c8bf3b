//! Attributes of NCCL's elements, and what an element is.

use roxmltree::Node;

use super::super::{ImportError, xml};

/// An unsigned attribute, decimal or 0x.
pub(super) fn number(
    node: Node<'_, '_>,
    key: &str,
    file: &str,
) -> Result<Option<u32>, ImportError> {
    let Some(text) = node
        .attribute(key)
        .map(str::trim)
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    parsed.map(Some).ok_or_else(|| {
        let what = format!("{key}=\"{text}\" is no count");
        xml::fault(
            file,
            node,
            what,
            "write a whole number from 0 to 4294967295",
        )
    })
}

/// A quantity in one of our own attributes.
pub(super) fn own<T: std::str::FromStr<Err: std::fmt::Display>>(
    node: Node<'_, '_>,
    key: &str,
    file: &str,
) -> Result<Option<T>, ImportError> {
    let Some(text) = node.attribute(key) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|error| {
        xml::fault(
            file,
            node,
            format!("{key} cannot be read, {error}"),
            "remove the attribute",
        )
    })
}

/// Whether a `pci` element holds a GPU: by its content, or by its class.
pub(super) fn is_gpu(node: Node<'_, '_>) -> bool {
    let class = node.attribute("class").unwrap_or_default();
    xml::children(node, "gpu").next().is_some() || class.starts_with("0x03")
}

pub(super) fn is_card(node: Node<'_, '_>) -> bool {
    let class = node.attribute("class").unwrap_or_default();
    xml::children(node, "nic").next().is_some() || class.starts_with("0x02")
}
