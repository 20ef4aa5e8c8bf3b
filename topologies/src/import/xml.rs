//! XML with limits: elements, depth, attributes, and errors that name a line.

use roxmltree::{Document, Node, ParsingOptions};

use super::{DEEPEST, ImportError, MOST_ATTRIBUTES, MOST_ELEMENTS};

/// Parses `text`.
///
/// A document type declaration is allowed (nvidia-smi writes one); entities expand at most ten deep and
/// 255 times, and nothing outside the file is read.
pub(super) fn parse<'a>(text: &'a str, file: &str) -> Result<Document<'a>, ImportError> {
    simple(text, file)?;
    let options = ParsingOptions {
        allow_dtd: true,
        nodes_limit: MOST_ELEMENTS,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(text, options).map_err(|error| ImportError::Line {
        file: file.to_owned(),
        line: error.pos().row as usize,
        fault: format!("the XML is broken, {error}"),
        remedy: "save the whole output of the program again".to_owned(),
    })
}

/// Refuses what takes long to parse: deep nesting, many attributes, namespaces. One pass, without parsing: a tag is all
/// up to the next one.
fn simple(text: &str, file: &str) -> Result<(), ImportError> {
    let refused = |offset: usize, fault: String| ImportError::Line {
        file: file.to_owned(),
        line: text[..offset].matches('\n').count() + 1,
        fault,
        remedy: "no topology has that; save the output again".to_owned(),
    };
    let mut depth = 0_usize;
    let mut offset = text.find('<').unwrap_or(text.len());
    for tag in text.split('<').skip(1) {
        match tag.as_bytes().first() {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(b'!' | b'?') | None => {}
            Some(_) => {
                let name = tag.split('>').next().unwrap_or_default();
                depth += usize::from(name.len() == tag.len() || !name.ends_with('/'));
            }
        }
        if depth > DEEPEST {
            let fault = format!("elements are nested more than {DEEPEST} deep");
            return Err(refused(offset, fault));
        }
        if !tag.starts_with(['!', '?']) && tag.matches('=').count() > MOST_ATTRIBUTES {
            let fault = format!("an element has more than {MOST_ATTRIBUTES} attributes");
            return Err(refused(offset, fault));
        }
        if tag.contains("xmlns") {
            return Err(refused(offset, "there are namespaces".to_owned()));
        }
        offset += 1 + tag.len();
    }
    Ok(())
}

/// The line of an element.
pub(super) fn line(node: Node<'_, '_>) -> usize {
    node.document().text_pos_at(node.range().start).row as usize
}

/// An error about an element.
pub(super) fn fault(
    file: &str,
    node: Node<'_, '_>,
    fault: impl Into<String>,
    remedy: impl Into<String>,
) -> ImportError {
    ImportError::Line {
        file: file.to_owned(),
        line: line(node),
        fault: fault.into(),
        remedy: remedy.into(),
    }
}

/// Child elements of this name.
pub(super) fn children<'a, 'i>(
    node: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children()
        .filter(move |child| child.has_tag_name(name))
}

/// The text of the element that `path` leads to.
pub(super) fn text_at<'a>(node: Node<'a, '_>, path: &[&'static str]) -> Option<&'a str> {
    let mut at = node;
    for name in path {
        at = children(at, name).next()?;
    }
    at.text().map(str::trim)
}
