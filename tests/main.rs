//! The integration tests: the `ditplan` program as a user meets it.
//!
//! | module | what it holds |
//! |---|---|
//! | `chakra` | Chakra traces of a plan |
//! | `commands` | every command in use: the same bytes at any number of threads, again, and from two builds |
//! | `compare` | two plans or machines side by side; completions, manual |
//! | `capacity` | fleets that serve a rate of requests in time |
//! | `faults` | slow and lost GPUs, narrow links; plans for the worst case |
//! | `folding` | a folded simulation is the full one |
//! | `formats` | other programs' files: topologies, logs, configurations, profiles, Chakra, launch commands |
//! | `hygiene` | where `unsafe` may stand |
//! | `json_schemas` | the schemas of `docs/json`, against every command's output |
//! | `layers` | the files of `ditplan`: imports run down, in no circle |
//! | `limits` | hostile inputs: pipes, devices, long lines, what unpacks to gigabytes |
//! | `listings` | models, machines and GPUs, for people and as JSON |
//! | `load` | the local server under slow, huge, malformed and concurrent requests |
//! | `pages` | reports and the local server |
//! | `nodes` | machines of several nodes: the network counts, chatty dimensions stay inside, commands |
//! | `parsers` | every parser on the fuzzer's inputs and on damaged ones |
//! | `physics` | closed forms, conservation laws, exhaustive comparisons (README.md beside this file) |
//! | `plan_json` | the JSON contract of `plan` and `simulate` |
//! | `plan_table` | what `plan` prints for people |
//! | `profile` | one's own GPU measured, summed up, used by plans, compared with live runs |
//! | `quality` | a compressor per layer under a quality budget; replay; predictions against closed-loop runs |
//! | `readme` | the README's output and commands |
//! | `robust` | runs that are killed, stopped, on full disks, with damaged inputs |
//! | `shipped` | shipped files with one value damaged |
//! | `theorems` | what must hold for every plan, whatever the numbers are |
//! | `timeline` | the timeline that `simulate` writes |
//! | `traces` | recorded activations: inspected, checked, sliced, converted |
//! | `wrong_input` | every mistake is one sentence on standard error and exit code 2 |
//! | `streams` | closed pipes, colours, backtraces |
//! | `sweep` | what-if: landmarks, kills and resumption, pictures |

mod capacity;
mod chakra;
mod commands;
mod compare;
mod faults;
mod folding;
mod formats;
mod hygiene;
mod json_schemas;
mod layers;
mod limits;
mod listings;
mod load;
mod nodes;
mod pages;
mod parsers;
mod physics;
mod plan_json;
mod plan_table;
mod profile;
mod quality;
mod readme;
mod robust;
mod shipped;
mod streams;
mod sweep;
mod theorems;
mod timeline;
mod traces;
mod wrong_input;

use assert_cmd::Command;
use serde_json::Value;

/// The words of a line, none of which holds a space.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The program with arguments.
fn ditplan(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ditplan"));
    command.args(arguments);
    command
}

/// What it prints when all is well.
fn printed(arguments: &[&str]) -> String {
    let output = ditplan(arguments).assert().success().get_output().clone();
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

/// The JSON it prints.
fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(arguments)).expect("the output is JSON")
}

/// The sentence of a question that is refused with exit code 2.
fn refused(arguments: &[&str]) -> String {
    let output = ditplan(arguments).assert().code(2).get_output().clone();
    let sentence = String::from_utf8(output.stderr).expect("the sentence is UTF-8");
    assert!(
        output.stdout.is_empty() && sentence.starts_with("error: "),
        "{sentence}"
    );
    sentence
}
