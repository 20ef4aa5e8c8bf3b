//! From a page's question to the words of a command.
//!
//! Guarantee: no word makes a command open or write a file. What an option's value can be is read off the option as it
//! is declared for the command line: paths, and whatever does not say that it is none ([`ValueHint::Other`]), are
//! refused. Where a value is a name or a file, only built-in names pass, and the commands know those before they look
//! for files.

use clap::builder::ValueParser;
use clap::{Arg, Command, ValueHint};
use serde_json::Value;
use sim::model;
use topologies::Machine;

use crate::question::EngineArgument;
use crate::question::arrivals::is_pattern;

/// What a page may ask for.
const COMMANDS: [&str; 4] = ["plan", "simulate", "sweep", "capacity"];

/// Whether no value of an option is a file's name: a flag, a number, one of a few words, or declared so.
fn never_a_file(option: &Arg) -> bool {
    let value = option.get_value_parser();
    let numbers = [
        ValueParser::from(clap::value_parser!(u32)),
        ValueParser::from(clap::value_parser!(u64)),
        ValueParser::from(clap::value_parser!(usize)),
        ValueParser::from(clap::value_parser!(f64)),
    ];
    !option.get_action().takes_values()
        || value.possible_values().is_some()
        || numbers
            .iter()
            .any(|number| number.type_id() == value.type_id())
        || option.get_value_hint() == ValueHint::Other
}

/// Refuses a value that could be a file's name and is no built-in one.
fn check(option: &Arg, name: &str, text: &str) -> Result<(), String> {
    let (known, what) = match name {
        _ if never_a_file(option) => return Ok(()),
        "model" => (model::find(text).is_ok(), "a model that is listed"),
        "machine" => (
            Machine::preset(text).is_ok(),
            "a machine that is listed, or COUNTxGPU@RATE",
        ),
        "engine" => (
            text.parse()
                .is_ok_and(|engine| !matches!(engine, EngineArgument::File(_))),
            "a built-in engine, or any",
        ),
        "arrivals" => (
            is_pattern(text),
            "poisson, gamma:cv=2 or diurnal:peak=3,period=24h",
        ),
        _ => return Err(format!("\"{name}\" is for the command line only")),
    };
    let remedy = "files are for the command line only";
    known
        .then_some(())
        .ok_or_else(|| format!("{name} \"{text}\" is not known here: give {what}; {remedy}"))
}

/// The words that answer `{"command": ..., "options": {...}}`, of those that can be typed.
///
/// # Errors
/// A sentence that says what a page may ask for.
pub(super) fn of(program: &Command, asked: &Value) -> Result<Vec<String>, String> {
    let command = asked["command"].as_str().unwrap_or_default();
    let known = COMMANDS.iter().find(|name| **name == command);
    let Some(typed) = known.and_then(|name| program.find_subcommand(name)) else {
        let known = COMMANDS.join(", ");
        return Err(format!("command \"{command}\": ask for one of {known}"));
    };
    let mut words = vec![command.to_owned()];
    for (name, value) in asked["options"].as_object().into_iter().flatten() {
        let mut options = typed.get_arguments();
        let option = options.find(|option| option.get_long() == Some(name));
        let option = option.ok_or_else(|| format!("{command} takes no option \"{name}\" here"))?;
        let values = match value {
            Value::Bool(true) if never_a_file(option) => {
                words.push(format!("--{name}"));
                continue;
            }
            Value::String(text) => text.lines().map(str::to_owned).collect(),
            Value::Number(number) => vec![number.to_string()],
            _ => return Err(format!("option \"{name}\" is no text, number or true")),
        };
        for text in values {
            check(option, name, &text)?;
            words.push(format!("--{name}={text}"));
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::CommandFactory;
    use serde_json::json;

    use super::*;
    use crate::cli::Arguments;

    fn words(asked: &Value) -> Result<Vec<String>, String> {
        of(&Arguments::command(), asked)
    }

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
        assert_eq!(words(&asked).unwrap(), expected);
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
            let sentence = words(&asked).unwrap_err();
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
    fn every_option_says_whether_it_names_a_file() {
        for (command, option) in options() {
            let name = option.get_long().expect("options have long names");
            let place = format!("{command} --{name}");
            assert!(
                never_a_file(&option) || option.get_value_hint() != ValueHint::Unknown,
                "{place}: declare value_hint = ValueHint::Other if its value is never a file's name, else FilePath"
            );
            let names = option.get_value_names().unwrap_or_default();
            let file = ["FILE", "DIR", "FOLDER"];
            let file = names
                .iter()
                .any(|name| file.iter().any(|word| name.contains(word)));
            assert!(!(file && never_a_file(&option)), "{place} may name a file");
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
        let mut refused = 0;
        for (_, option) in options().iter().filter(|(_, option)| !never_a_file(option)) {
            let name = option.get_long().expect("options have long names");
            for text in [path.display().to_string(), bare.display().to_string()] {
                for text in [format!("@{text}"), format!("{text}@25GB/s"), text] {
                    let sentence = check(option, name, &text).unwrap_err();
                    assert!(sentence.contains("command line"), "{name}: {sentence}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 100, "{refused} values were refused");
        for (name, known) in [
            ("model", "FLUX.1-dev"),
            ("machine", "16xL20@25GB/s"),
            ("machine", "4xl20-pcie"),
            ("engine", "vllm-omni"),
            ("engine", "any"),
            ("arrivals", "gamma:cv=2"),
        ] {
            let asked = json!({ "command": "capacity", "options": { name: known } });
            assert!(words(&asked).is_ok(), "{name} {known}");
        }
    }
}
