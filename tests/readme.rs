//! The README shows what the program prints.

use std::{env, fs, path::Path};

use crate::printed;

/// The block of the README that holds the answer to the default question: before, inside, after.
fn split(readme: &str) -> (&str, &str, &str) {
    let mark = readme
        .find("<!-- what `ditplan plan` prints")
        .expect("the README marks its output");
    let open = mark
        + readme[mark..]
            .find("```text\n")
            .expect("the mark has a block")
        + "```text\n".len();
    let close = open + readme[open..].find("```\n").expect("the block ends");
    (&readme[..open], &readme[open..close], &readme[close..])
}

#[test]
fn the_readme_shows_what_plan_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(&path).expect("the README can be read");
    let (before, shown, after) = split(&readme);
    let page = printed(&["plan"]);
    if env::var_os("UPDATE_README").is_some() {
        fs::write(&path, format!("{before}{page}{after}")).expect("the README can be written");
    } else {
        assert_eq!(
            shown, page,
            "renew it: UPDATE_README=1 cargo test --workspace readme"
        );
    }
}

#[test]
fn the_readme_starts_with_the_two_commands() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(&path).expect("the README can be read");
    let mut commands = readme.lines().filter_map(|line| line.strip_prefix("    "));
    assert_eq!(commands.next(), Some("cargo run --release -- plan"));
    let test = commands.next().expect("a second command");
    assert_eq!(test, "tests/run");
    let checks =
        fs::read_to_string(path.with_file_name(".ci/run")).expect("the checks can be read");
    assert!(
        checks.contains(test),
        ".ci/run calls the README's test command"
    );
}
