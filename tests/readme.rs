//! The documents show what the program prints.

use std::sync::Mutex;
use std::{env, fs, path::Path};

use crate::{ditplan, printed, words};

/// The block of a document behind a mark: before, inside, after.
fn split<'a>(readme: &'a str, mark: &str) -> (&'a str, &'a str, &'a str) {
    let mark = readme.find(mark).expect("the document marks its output");
    let open = mark
        + readme[mark..]
            .find("```text\n")
            .expect("the mark has a block")
        + "```text\n".len();
    let close = open + readme[open..].find("```\n").expect("the block ends");
    (&readme[..open], &readme[open..close], &readme[close..])
}

/// Asserts that the block behind a mark is this page; or renews it.
fn shows(file: &str, mark: &str, page: &str) {
    // One at a time: each writes the whole file.
    static FILE: Mutex<()> = Mutex::new(());
    let _one = FILE.lock();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let readme = fs::read_to_string(&path).expect("the document can be read");
    let (before, shown, after) = split(&readme, mark);
    if env::var_os("UPDATE_README").is_some() {
        fs::write(&path, format!("{before}{page}{after}")).expect("the document can be written");
    } else {
        assert_eq!(
            shown, page,
            "renew it: UPDATE_README=1 cargo test --workspace readme"
        );
    }
}

#[test]
fn the_readme_shows_what_plan_prints() {
    shows(
        "README.md",
        "<!-- what `ditplan plan` prints",
        &printed(&["plan"]),
    );
}

#[test]
fn the_document_of_validation_shows_what_its_ten_rows_give() {
    let mut command = ditplan(&["validate", "--published", "docs/example-runs.csv"]);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = command.current_dir(root).assert().success();
    let page = String::from_utf8(output.get_output().stdout.clone()).expect("the output is UTF-8");
    shows(
        "docs/validation.md",
        "`ditplan validate --published docs/example-runs.csv` prints",
        &page,
    );
}

#[test]
fn the_readme_shows_what_capacity_prints() {
    let page = printed(&words(
        "capacity --machine 8xh100-sxm --exact --rate 2/s --slo p95<=12s --mix \
        1024x1024:0.7,2048x2048:0.3",
    ));
    let (answer, _) = page
        .split_once("\nLaunch\n")
        .expect("the page has a section Launch");
    shows("README.md", "<!-- ditplan capacity", answer);
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
