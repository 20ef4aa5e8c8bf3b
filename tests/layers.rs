//! The files of `ditplan`: imports run down only, and in no circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file of a directory and below, but for what was built there.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The module of a file: `commands/plan/robust.rs` is `["commands", "plan", "robust"]`, `lib.rs` is `[]`.
fn module(file: &Path) -> Vec<String> {
    let file = file.with_extension("");
    let parts = file.iter().map(|part| part.to_string_lossy().into_owned());
    parts
        .filter(|part| !["lib", "main", "mod"].contains(&part.as_str()))
        .collect()
}

/// Code without comments and without its tests, which stand last.
fn code(text: &str) -> String {
    let text = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// What a braced import names: `{self, json::pretty, text}` behind a path is that path and two longer ones.
fn unfolded(path: &str) -> Vec<String> {
    let Some((before, inside)) = path.split_once('{') else {
        return vec![path.to_owned()];
    };
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for letter in inside.chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        match letter {
            ',' if depth == 0 => parts.push(String::new()),
            letter => parts.last_mut().expect("a part").push(letter),
        }
    }
    let whole = parts.iter().map(|part| format!("{before}{}", part.trim()));
    whole.flat_map(|path| unfolded(&path)).collect()
}

/// The paths that start at `crate`, `super` or `self`, or at a child in a `use`; and the children, which a file is there to
/// use.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in code.lines() {
        let child = line.trim_end().strip_suffix(';');
        let child = child.and_then(|line| line.rsplit_once("mod "));
        found.extend(child.map(|(_, child)| format!("self::{child}")));
    }
    for (index, _) in code.match_indices("use ") {
        let end = code[index..]
            .find(';')
            .map_or(code.len(), |end| index + end);
        found.extend(unfolded(code[index + 4..end].trim()));
    }
    for start in ["crate::", "super::", "self::"] {
        for (index, _) in code.match_indices(start) {
            let letter = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let before = code[..index].chars().next_back();
            if before.is_none_or(|before| !letter(before)) {
                let path: String = code[index..].chars().take_while(|c| letter(*c)).collect();
                // What braces hold was found above.
                if !path.ends_with("::") {
                    found.push(path);
                }
            }
        }
    }
    found
}

/// The module that a path named in `from` leads to, as far as there are files.
fn target(path: &str, from: &[String], files: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let mut at = from.to_vec();
    let mut words = path
        .split("::")
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .peekable();
    match *words.peek()? {
        "crate" => {
            at.clear();
            words.next();
        }
        "self" => {
            words.next();
        }
        "super" => {}
        child => {
            let mut child_of = at.clone();
            child_of.push(child.to_owned());
            files.contains(&child_of).then_some(())?;
        }
    }
    for word in words {
        if word == "super" {
            at.pop();
            continue;
        }
        let mut below = at.clone();
        below.push(
            word.split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned(),
        );
        if !files.contains(&below) {
            break;
        }
        at = below;
    }
    Some(at)
}

/// Which modules each module imports.
fn imports(source: &Path) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let mut paths_of = Vec::new();
    sources(source, &mut paths_of);
    let inside = |path: &PathBuf| module(path.strip_prefix(source).expect("inside"));
    let files: BTreeSet<Vec<String>> = paths_of.iter().map(inside).collect();
    let read = |path: &PathBuf| {
        let from = inside(path);
        let text = code(&fs::read_to_string(path).expect("text"));
        let to = paths(&text).into_iter();
        let to = to.filter_map(|path| target(&path, &from, &files));
        let to = to.filter(|to| *to != from).collect();
        (from, to)
    };
    paths_of.iter().map(read).collect()
}

/// The modules on circles of imports, and between two: what is left when files that import none of the others, or that none
/// of them imports, are taken away.
fn circle(imports: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> BTreeSet<Vec<String>> {
    let mut left: BTreeSet<Vec<String>> = imports.keys().cloned().collect();
    loop {
        let lowest = |of: &Vec<String>| imports[of].iter().all(|to| !left.contains(to));
        let highest = |of: &Vec<String>| !left.iter().any(|from| imports[from].contains(of));
        let free = left.iter().filter(|of| lowest(of) || highest(of));
        let free: Vec<Vec<String>> = free.cloned().collect();
        if free.is_empty() {
            return left;
        }
        left.retain(|of| !free.contains(of));
    }
}

/// How far up a module stands; a command's number is its name.
fn layer(module: &[String]) -> (usize, &str) {
    let words: Vec<&str> = module.iter().map(String::as_str).collect();
    match words[..] {
        ["render", ..] | ["ending"] => (0, ""),
        ["question", ..] => (1, ""),
        ["commands", command, ..] => (2, command),
        ["commands"] => (3, ""),
        ["cli"] | ["schemas"] => (4, ""),
        [] => (5, ""),
        _ => panic!("{words:?} has no layer"),
    }
}

#[test]
fn imports_run_down_and_in_no_circle() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let imports = imports(&source);
    assert!(imports.len() > 60, "{} files", imports.len());
    let edges: usize = imports.values().map(BTreeSet::len).sum();
    assert!(edges > 150, "{edges} imports");
    for (from, all) in &imports {
        for to in all {
            let ((above, one), (below, other)) = (layer(from), layer(to));
            assert!(
                above > below || (above == below && one == other),
                "{} imports {}",
                from.join("::"),
                to.join("::")
            );
        }
    }
    let circle = circle(&imports);
    assert!(circle.is_empty(), "a circle is among {circle:?}");
}

#[test]
fn a_circle_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        ("lib.rs", "mod left;\nuse one::{self, f};"),
        ("one.rs", "use crate::{one::below::g, two as other};"),
        ("one/below.rs", "fn g() { super::super::two::h() }"),
        (
            "two.rs",
            "// use crate::one;\nfn h() {}\n#[cfg(test)]\nmod tests { use crate::one; }",
        ),
        ("left.rs", "use super::right;"),
        ("right.rs", "fn f() { crate::left::f() }"),
        ("up.rs", "mod child;"),
        ("up/child.rs", "use super::f;"),
    ];
    for below in ["one", "up"] {
        fs::create_dir(folder.path().join(below)).expect("a folder");
    }
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    let imports = imports(folder.path());
    let named = |path: &str| -> Vec<String> { path.split("::").map(str::to_owned).collect() };
    assert_eq!(imports[&vec![]], [named("left"), named("one")].into());
    assert_eq!(
        imports[&named("one")],
        [named("one::below"), named("two")].into()
    );
    assert_eq!(imports[&named("one::below")], [named("two")].into());
    let seen = ["left", "right", "up", "up::child"].map(named);
    assert_eq!(circle(&imports), seen.into());
}
