//! XML with limits: elements, depth, and errors that name a line.

use roxmltree::{Document, Node, ParsingOptions};

use super::{DEEPEST, ImportError, MOST_ELEMENTS};

/// Parses `text`.
///
/// A document type declaration is allowed (nvidia-smi writes one); entities expand at most ten deep and
/// 255 times, and nothing outside the file is read.
pub(super) fn parse<'a>(text: &'a str, file: &str) -> Result<Document<'a>, ImportError> {
    shallow(text, file)?;
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

/// Refuses deeper nesting than [`DEEPEST`], without parsing: the tags are counted as they come.
fn shallow(text: &str, file: &str) -> Result<(), ImportError> {
    let mut depth = 0_usize;
    for (offset, _) in text.match_indices('<') {
        let rest = &text.as_bytes()[offset + 1..];
        match rest.first() {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(b'!' | b'?') | None => {}
            Some(_) => {
                let end = rest.iter().position(|byte| *byte == b'>');
                let closes = end.is_some_and(|end| end > 0 && rest[end - 1] == b'/');
                depth += usize::from(!closes);
            }
        }
        if depth > DEEPEST {
            return Err(ImportError::Line {
                file: file.to_owned(),
                line: text[..offset].matches('\n').count() + 1,
                fault: format!("elements are nested more than {DEEPEST} deep"),
                remedy: "no topology is that deep; save the output again".to_owned(),
            });
        }
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
