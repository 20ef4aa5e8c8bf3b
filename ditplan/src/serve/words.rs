//! From a page's question to the words of a command.
//!
//! Guarantee: no word makes a command open or write a file. Every option of the commands has its place in [`OPTIONS`]
//! by what its value can be (a test walks the commands' arguments). Where it can be a file's name, only built-in names
//! pass, and the commands know those before they look for files.

use serde_json::Value;
use sim::model;
use topologies::Machine;

use super::super::capacity;

/// What a page may ask for.
const COMMANDS: [&str; 4] = ["plan", "simulate", "sweep", "capacity"];

/// What the value of an option can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// A number, a quantity or a word that is never a file's name.
    Words,
    /// A model's name, or a file's.
    Model,
    /// A machine's name, or a file's.
    Machine,
    /// A pattern of arrivals, or a file's name.
    Arrivals,
    /// A file to read or write, or what a page does not show: never set by a page.
    Refused,
}

use Takes::{Arrivals, Machine as MachineName, Model, Refused, Words};

/// Every option of [`COMMANDS`].
const OPTIONS: &[(&str, Takes)] = &[
    ("arrivals", Arrivals),
    ("batch", Words),
    ("budget", Words),
    ("chakra", Refused),
    ("compile", Words),
    ("emit", Refused),
    ("engine", Words),
    ("exact", Words),
    ("failures", Words),
    ("fault", Words),
    ("faults", Refused),
    ("frames", Words),
    ("gpus", Words),
    ("guidance", Words),
    ("json", Refused),
    ("machine", MachineName),
    ("max-fid", Words),
    ("max-gpus", Words),
    ("mix", Words),
    ("model", Model),
    ("network", Words),
    ("objective", Words),
    ("out", Refused),
    ("parquet", Refused),
    ("per", Words),
    ("plan", Words),
    ("plot", Refused),
    ("price", Words),
    ("profile", Refused),
    ("rate", Words),
    ("replications", Words),
    ("requests", Words),
    ("resume", Refused),
    ("robust", Refused),
    ("routing", Words),
    ("seed", Words),
    ("show", Words),
    ("size", Words),
    ("slo", Words),
    ("spares", Words),
    ("steps", Words),
    ("strategy", Words),
    ("text-tokens", Words),
    ("timeline", Refused),
    ("top", Words),
    ("tornado", Words),
    ("trace", Refused),
    ("vary", Words),
];

/// Refuses a value that could be a file's name and is no built-in one.
fn check(takes: Takes, name: &str, text: &str) -> Result<(), String> {
    let (known, what) = match takes {
        Words => return Ok(()),
        Model => (model::find(text).is_ok(), "a model that is listed"),
        MachineName => (
            Machine::preset(text).is_ok(),
            "a machine that is listed, or COUNTxGPU@RATE",
        ),
        Arrivals => (
            capacity::is_pattern(text),
            "poisson, gamma:cv=2 or diurnal:peak=3,period=24h",
        ),
        Refused => return Err(format!("\"{name}\" is for the command line only")),
    };
    let remedy = "files are for the command line only";
    known
        .then_some(())
        .ok_or_else(|| format!("{name} \"{text}\" is not known here: give {what}; {remedy}"))
}

/// The words that answer `{"command": ..., "options": {...}}`.
///
/// # Errors
/// A sentence that says what a page may ask for.
pub(super) fn of(asked: &Value) -> Result<Vec<String>, String> {
    let command = asked["command"].as_str().unwrap_or_default();
    if !COMMANDS.contains(&command) {
        let known = COMMANDS.join(", ");
        return Err(format!("command \"{command}\": ask for one of {known}"));
    }
    let mut words = vec![command.to_owned()];
    for (name, value) in asked["options"].as_object().into_iter().flatten() {
        let known = OPTIONS.iter().find(|(option, _)| option == name);
        let (_, takes) =
            known.ok_or_else(|| format!("{command} takes no option \"{name}\" here"))?;
        let values = match value {
            Value::Bool(true) if *takes == Words => {
                words.push(format!("--{name}"));
                continue;
            }
            Value::String(text) => text.lines().map(str::to_owned).collect(),
            Value::Number(number) => vec![number.to_string()],
            _ => return Err(format!("option \"{name}\" is no text, number or true")),
        };
        for text in values {
            check(*takes, name, &text)?;
            words.push(format!("--{name}={text}"));
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::builder::ValueParser;
    use clap::{Arg, CommandFactory};
    use serde_json::json;

    use super::super::super::arguments::Arguments;
    use super::*;

    #[test]
    fn known_options_become_words() {
        let asked = json!({ "command": "sweep", "options": { "vary": "gpus=2,4\nsteps=1..9:3", "exact": true, "batch": 2 } });
        let expected = [
            "sweep",
            "--batch=2",
            "--exact",
            "--vary=gpus=2,4",
            "--vary=steps=1..9:3",
        ];
        assert_eq!(of(&asked).unwrap(), expected);
    }

    #[test]
    fn other_questions_are_refused() {
        for (asked, part) in [
            (json!({}), "ask for one of"),
            (json!({ "command": "replay" }), "ask for one of"),
            (
                json!({ "command": "plan", "options": { "model": [] } }),
                "no text",
            ),
            (
                json!({ "command": "plan", "options": { "help": true } }),
                "no option \"help\"",
            ),
        ] {
            let sentence = of(&asked).unwrap_err();
            assert!(sentence.contains(part), "{sentence}");
        }
    }

    /// Every option of every command that a page may ask for.
    fn options() -> Vec<(&'static str, Arg)> {
        let all = Arguments::command();
        let of = |name: &'static str| {
            let command = all.find_subcommand(name).expect("it is a command");
            let own: Vec<Arg> = command.get_arguments().cloned().collect();
            own.into_iter().map(move |argument| (name, argument))
        };
        COMMANDS.into_iter().flat_map(of).collect()
    }

    #[test]
    fn every_option_of_every_command_has_its_place() {
        let mut found = Vec::new();
        for (command, argument) in options() {
            let name = argument.get_long().expect("options have long names");
            let known = OPTIONS.iter().find(|(option, _)| *option == name);
            let place = format!("{command} --{name}");
            let (_, takes) = known.unwrap_or_else(|| panic!("{place} has no place in OPTIONS"));
            let path = ValueParser::path_buf().type_id();
            if argument.get_value_parser().type_id() == path {
                assert_eq!(*takes, Refused, "{place} is a path");
            }
            let names = argument.get_value_names().unwrap_or_default();
            let file = names
                .iter()
                .any(|name| name.contains("FILE") || name.contains("DIR"));
            assert!(!file || *takes != Words, "{place} may name a file");
            found.push(name.to_owned());
        }
        for (name, _) in OPTIONS {
            assert!(found.iter().any(|option| option == name), "{name} is none");
        }
    }

    #[test]
    fn no_option_takes_a_file_that_is_there() {
        let file = tempfile::Builder::new()
            .suffix(".csv")
            .tempfile_in(".")
            .unwrap();
        let path = file.path().canonicalize().unwrap();
        let bare: PathBuf = path.file_name().unwrap().into();
        for (name, takes) in OPTIONS.iter().filter(|(_, takes)| *takes != Words) {
            for text in [path.display().to_string(), bare.display().to_string()] {
                for text in [format!("@{text}"), format!("{text}@25GB/s"), text] {
                    let sentence = check(*takes, name, &text).unwrap_err();
                    assert!(sentence.contains("command line"), "{name}: {sentence}");
                }
            }
        }
        for (name, known) in [
            ("model", "FLUX.1-dev"),
            ("machine", "16xL20@25GB/s"),
            ("machine", "4xl20-pcie"),
            ("arrivals", "gamma:cv=2"),
        ] {
            let asked = json!({ "command": "capacity", "options": { name: known } });
            assert!(of(&asked).is_ok(), "{name} {known}");
        }
    }
}
