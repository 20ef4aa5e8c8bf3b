//! Shipped files with one value damaged: each is refused, and the error names file, line and key.

use std::fs;
use std::path::PathBuf;

use topologies::Machine;

/// The files of the preset machines.
fn machines() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../topologies/machines");
    let files = fs::read_dir(folder).expect("the machines");
    let files = files.map(|file| file.expect("a file").path());
    files
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect()
}

/// The text with one line replaced.
fn with_line(lines: &[&str], at: usize, line: &str) -> String {
    let mut lines = lines.to_vec();
    lines[at] = line;
    lines.join("\n")
}

#[test]
fn a_damaged_value_or_key_of_a_machine_is_refused_with_its_place() {
    let mut damaged = 0;
    for path in machines() {
        let text = fs::read_to_string(&path).expect("a file");
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            Machine::from_toml(&text, "m.toml").is_ok(),
            "{}",
            path.display()
        );
        for (at, line) in lines.iter().enumerate() {
            let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#'))
            else {
                continue;
            };
            // A list of several lines.
            if value.matches('[').count() != value.matches(']').count() {
                continue;
            }
            // What is missing under a misspelt key may be told first.
            let misspelt = format!("{key}s = {value}");
            let wrong = [
                (misspelt, ""),
                (format!("{key} = {{}}"), key),
                (format!("{key} = true"), key),
            ];
            for (wrong, key) in wrong {
                let text = with_line(&lines, at, &wrong);
                let error = Machine::from_toml(&text, "m.toml");
                let error = error
                    .expect_err(&format!("{}: {wrong}", path.display()))
                    .to_string();
                let names = error.contains("m.toml, line ") && error.contains(key);
                assert!(names, "{}: {wrong}: {error}", path.display());
                damaged += 1;
            }
        }
    }
    assert!(damaged > 300, "{damaged} values were damaged");
}
