//! `report`: the answer of a command as one page that opens from disk.
//!
//! ```text
//! command ─▶ its --json (+ the timeline of a plan) ─▶ page/*.js draws it, in one HTML file
//! ```
//! Nothing is loaded from a network; the figures stand in the page as JSON, for other programs too.

mod timeline;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use traces::timeline::Timeline;
use traces::whole;

use self::timeline::FirstSteps;
use crate::ending;
use crate::render::json::value;
use crate::render::page::shell;

/// What is reported, and where to.
#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Write the page here
    #[arg(long, value_name = "FILE.html", default_value = "report.html")]
    pub out: PathBuf,
    /// Print what the page holds instead, as JSON
    #[arg(long)]
    pub data: bool,
    /// End when standard input ends
    #[arg(long, hide = true)]
    pub while_asked: bool,
    /// The command whose answer is reported, with its options: plan --machine 8xh100-sxm; any command that
    /// has --json
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub command: Vec<String>,
}

/// What a report page draws.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct ReportData {
    /// The command that was reported.
    #[cfg_attr(test, schemars(extend("enum" = ["plan", "simulate", "sweep", "validate", "compare", "capacity", "replay", "trace", "calibrate", "models", "machines", "gpus"])))]
    pub kind: String,
    /// Its command line, as a shell reads it.
    pub command: String,
    /// The version of ditplan.
    pub version: &'static str,
    /// The command's JSON, as its own schema says.
    pub report: Value,
    /// The first steps of the plan that was chosen or asked for; null for other commands than plan and simulate.
    pub timeline: Option<FirstSteps>,
}

/// What a page shows of a command line: what is printed, and the timeline of a plan.
type Ask = fn(&[String]) -> Result<(String, Option<Timeline>)>;

/// What `report` prints; it writes the page. `program` is what can be typed, `ask` answers it.
pub(crate) fn answer(typed: &ReportArguments, program: &Command, ask: Ask) -> Result<String> {
    if typed.while_asked {
        ending::with_input();
    }
    if let Some(help) = help(program, &typed.command) {
        return Ok(help);
    }
    let data = data(program, ask, &typed.command)?;
    if typed.data {
        return Ok(data.to_string());
    }
    let page = page(&data);
    whole::write(&typed.out, page)
        .with_context(|| format!("--out {} cannot be written", typed.out.display()))?;
    Ok(format!("{}: open it in a browser\n", typed.out.display()))
}

/// What the page shows: kind, command, version, the command's JSON, a plan's timeline.
fn data(program: &Command, ask: Ask, command: &[String]) -> Result<Value> {
    let mut words = vec!["ditplan".to_owned()];
    words.extend(command.iter().cloned());
    let kind = command.first().cloned().unwrap_or_default();
    let matches = program.clone().try_get_matches_from(&words);
    ensure!(
        has_json(&matches.map_err(|error| mistake(&error))?),
        "{kind} has no page: a report is of a command that has --json: {}",
        reported(program).join(", ")
    );
    if !words.iter().any(|word| word == "--json") {
        words.push("--json".to_owned());
    }
    let (text, timeline) = ask(&words)?;
    let report: Value = match serde_json::from_str(&text) {
        Ok(report) => report,
        Err(_) => bail!("{kind} has no JSON to report"),
    };
    words.retain(|word| word != "--json");
    Ok(value(&ReportData {
        kind,
        command: quoted(&words),
        version: env!("CARGO_PKG_VERSION"),
        report,
        timeline: timeline.as_ref().map(FirstSteps::of),
    }))
}

/// The help of the command, where it was asked for.
fn help(program: &Command, command: &[String]) -> Option<String> {
    let words = ["ditplan"].into_iter();
    let words = words.chain(command.iter().map(String::as_str));
    let asked = program.clone().try_get_matches_from(words).err();
    let asked = asked.filter(|error| error.kind() == ErrorKind::DisplayHelp);
    asked.map(|help| help.to_string())
}

/// The first sentence of a mistake in a command line.
pub(crate) fn mistake(error: &clap::Error) -> anyhow::Error {
    let text = error.to_string();
    let sentence = text.split("\n\n").next().unwrap_or_default();
    anyhow::anyhow!("{}", sentence.trim_start_matches("error: ").to_owned())
}

/// Whether the command that was typed, or the one below it, prints JSON when asked.
fn has_json(typed: &ArgMatches) -> bool {
    match typed.subcommand() {
        Some((_, below)) => has_json(below),
        None => typed.ids().any(|id| id == "json"),
    }
}

/// The commands that have a page.
fn reported(program: &Command) -> Vec<String> {
    fn prints(command: &Command) -> bool {
        let own = command.get_arguments().any(|one| one.get_id() == "json");
        own || command.get_subcommands().any(prints)
    }
    let with = program.get_subcommands().filter(|command| prints(command));
    with.map(|command| command.get_name().to_owned()).collect()
}

/// A command line that a shell reads back.
fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/+@%".contains(c);
    let quote = |word: &String| match word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// The page of a report.
fn page(data: &Value) -> String {
    // `<` could end the element; as an escape it is the same JSON.
    let text = data.to_string().replace('<', "\\u003c");
    let body = format!(
        "<noscript>This page draws its figures with JavaScript; they stand in it as JSON.</noscript>\n\
         <main id=\"page\"></main>\n<script type=\"application/json\" id=\"data\">{text}</script>"
    );
    shell("ditplan report", &body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_loads_nothing_and_holds_its_figures() {
        let data = json!({ "kind": "plan", "report": { "note": "</script><b>" } });
        let page = page(&data);
        for outside in ["src=\"http", "href=\"http", "import(", "fetch(\"http"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(!page.contains("</script><b>"));
        let start = page.find("id=\"data\">").expect("the figures") + "id=\"data\">".len();
        let end = start + page[start..].find("</script>").expect("their end");
        let back: Value = serde_json::from_str(&page[start..end]).expect("JSON");
        assert_eq!(back, data);
    }

    #[test]
    fn commands_are_quoted_for_a_shell() {
        let words = ["plan", "--budget", "psnr>=30", "it's"].map(str::to_owned);
        assert_eq!(quoted(&words), r"plan --budget 'psnr>=30' 'it'\''s'");
    }
}
