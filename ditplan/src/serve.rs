//! `serve`: the report page on this machine's loopback, with a form to ask new questions.
//!
//! ```text
//! GET /            the form          POST /run {command, options}  ─▶ {id}
//! GET /run/ID      how it stands     DELETE /run/ID                ─▶ cancelled
//! ```
//! Every question runs in a process of its own: it can be cancelled, it is stopped when it takes too long, and
//! a mistake in it is its error sentence. Requests of other sites' pages are refused (Host, content type).

mod runs;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::{Value, json};
use tiny_http::{Header, Method, Request, Response, Server};

use self::runs::{Runs, State};
use super::report;

/// Bytes of a question at most.
const LARGEST: u64 = 16 * 1024;
/// Threads that answer.
const THREADS: usize = 4;

/// Where to listen, and how long a question may take.
#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8765)]
    pub port: u16,
    /// Seconds after which a question is stopped
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub limit: u64,
}

/// Serves until the process is ended.
pub(super) fn answer(typed: &ServeArguments) -> Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, typed.port));
    let server = Server::http(address)
        .map_err(|error| anyhow!("port {}: {error}: give another --port", typed.port))?;
    let server = Arc::new(server);
    let runs = Arc::new(Runs::new(Duration::from_secs(typed.limit)));
    eprintln!("http://{} (Ctrl-C ends it)", server.server_addr());
    let page = Arc::new(page());
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (server, runs, page) = (Arc::clone(&server), Arc::clone(&runs), Arc::clone(&page));
            thread::spawn(move || {
                while let Ok(request) = server.recv() {
                    handle(request, &runs, &page);
                }
            })
        })
        .collect();
    for thread in threads {
        thread
            .join()
            .map_err(|_| anyhow!("a thread that answers has failed"))?;
    }
    Ok(String::new())
}

/// The page with the form.
fn page() -> String {
    let models: Vec<&str> = sim::model::known().iter().map(|model| model.name).collect();
    let machines: Vec<&str> = topologies::machine::presets().collect();
    let known = json!({ "models": models, "machines": machines }).to_string();
    let body = format!(
        "<div id=\"form\"></div>\n<main id=\"page\"></main>\n\
         <script type=\"application/json\" id=\"known\">{}</script>",
        known.replace('<', "\\u003c")
    );
    report::shell("ditplan", &body)
}

/// A reply: status, content type, body.
struct Reply(u16, &'static str, String);

impl Reply {
    fn json(status: u16, value: &Value) -> Self {
        Self(status, "application/json", value.to_string())
    }

    fn mistake(status: u16, sentence: &str) -> Self {
        Self::json(status, &json!({ "mistake": sentence }))
    }
}

fn handle(mut request: Request, runs: &Runs, page: &str) {
    let Reply(status, kind, body) = reply(&mut request, runs, page);
    let header = |name: &str, value: &str| {
        Header::from_bytes(name, value).expect("headers of this program are ASCII")
    };
    let response = Response::from_string(body)
        .with_chunked_threshold(usize::MAX)
        .with_status_code(status)
        .with_header(header("Content-Type", &format!("{kind}; charset=utf-8")))
        .with_header(header("X-Content-Type-Options", "nosniff"))
        .with_header(header("Cache-Control", "no-store"));
    // A browser that went away needs no answer.
    let _ = request.respond(response);
}

fn reply(request: &mut Request, runs: &Runs, page: &str) -> Reply {
    if !is_local(request) {
        return Reply::mistake(403, "this server answers to localhost only");
    }
    let url = request.url().to_owned();
    let id = url.strip_prefix("/run/").and_then(|id| id.parse().ok());
    match (request.method(), url.as_str(), id) {
        (Method::Get, "/", _) => Reply(200, "text/html", page.to_owned()),
        (Method::Post, "/run", _) => match question(request).and_then(|words| runs.start(&words)) {
            Ok(id) => Reply::json(202, &json!({ "id": id })),
            Err((status, sentence)) => Reply::mistake(status, &sentence),
        },
        (Method::Get, _, Some(id)) => match runs.state(id) {
            Some(state) => stands(state),
            None => Reply::mistake(404, "no such run: it was long ago, or never"),
        },
        (Method::Delete, _, Some(id)) => {
            runs.cancel(id);
            Reply::json(200, &json!({ "state": "cancelled" }))
        }
        _ => Reply::mistake(404, "there is /, /run and /run/ID"),
    }
}

fn stands(state: State) -> Reply {
    match state {
        State::Running { seconds } => {
            Reply::json(200, &json!({ "state": "running", "seconds": seconds }))
        }
        // The data are JSON already.
        State::Done { data } => Reply(
            200,
            "application/json",
            format!("{{\"state\":\"done\",\"data\":{data}}}"),
        ),
        State::Failed { sentence } => {
            Reply::json(200, &json!({ "state": "failed", "mistake": sentence }))
        }
    }
}

/// Whether the request names this machine: a page of another site that points its name here does not.
fn is_local(request: &Request) -> bool {
    let host = value(request, "Host").unwrap_or_default();
    let name = host
        .rsplit_once(':')
        .map_or(host.as_str(), |(name, _)| name);
    let origin = value(request, "Origin");
    ["127.0.0.1", "localhost"].contains(&name)
        && origin.is_none_or(|origin| origin == format!("http://{host}"))
}

fn value(request: &Request, name: &'static str) -> Option<String> {
    let headers = request.headers().iter();
    let mut found = headers.filter(|header| header.field.equiv(name));
    found.next().map(|header| header.value.as_str().to_owned())
}

/// Commands and the options a page may set: none of them reads or writes a file.
const OPTIONS: [(&str, &[&str]); 3] = [
    (
        "plan",
        &[
            "model",
            "machine",
            "gpus",
            "size",
            "frames",
            "steps",
            "batch",
            "text-tokens",
            "network",
            "guidance",
            "engine",
            "compile",
            "exact",
            "budget",
            "max-fid",
            "strategy",
        ],
    ),
    (
        "simulate",
        &[
            "plan",
            "model",
            "machine",
            "gpus",
            "size",
            "frames",
            "steps",
            "batch",
            "text-tokens",
            "network",
            "guidance",
            "engine",
            "compile",
        ],
    ),
    (
        "sweep",
        &[
            "vary",
            "plan",
            "model",
            "machine",
            "gpus",
            "size",
            "frames",
            "steps",
            "batch",
            "text-tokens",
            "guidance",
            "engine",
            "compile",
            "exact",
            "budget",
        ],
    ),
];

/// The words of the question in a request's body.
fn question(request: &mut Request) -> Result<Vec<String>, (u16, String)> {
    let bad = |sentence: String| (400, sentence);
    let kind = value(request, "Content-Type").unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err((415, "send JSON, with its content type".to_owned()));
    }
    let mut body = String::new();
    let read = request
        .as_reader()
        .take(LARGEST + 1)
        .read_to_string(&mut body);
    read.map_err(|error| bad(format!("the question cannot be read: {error}")))?;
    if body.len() as u64 > LARGEST {
        return Err((413, format!("a question has at most {LARGEST} bytes")));
    }
    let asked: Value = serde_json::from_str(&body)
        .map_err(|error| bad(format!("the question is not JSON: {error}")))?;
    words(&asked).map_err(bad)
}

fn words(asked: &Value) -> Result<Vec<String>, String> {
    let command = asked["command"].as_str().unwrap_or_default();
    let known = OPTIONS.iter().find(|(name, _)| *name == command);
    let (_, allowed) = known.ok_or_else(|| {
        let names: Vec<&str> = OPTIONS.iter().map(|(name, _)| *name).collect();
        format!("command \"{command}\": ask for one of {}", names.join(", "))
    })?;
    let mut words = vec![command.to_owned()];
    for (name, value) in asked["options"].as_object().into_iter().flatten() {
        if !allowed.contains(&name.as_str()) {
            return Err(format!("{command} takes no option \"{name}\" here"));
        }
        let values = match value {
            Value::Bool(true) => {
                words.push(format!("--{name}"));
                continue;
            }
            Value::String(text) => text.lines().map(str::to_owned).collect(),
            Value::Number(number) => vec![number.to_string()],
            _ => return Err(format!("option \"{name}\" is no text, number or true")),
        };
        for text in values {
            let is_file =
                name == "machine" && !text.contains('@') && text.contains(['/', '\\', '.']);
            if is_file {
                return Err(
                    "machine files are for the command line: name a preset or COUNTxGPU@RATE"
                        .to_owned(),
                );
            }
            words.push(format!("--{name}={text}"));
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_options_become_words() {
        let asked = json!({ "command": "sweep", "options": { "vary": "gpus=2,4\nsteps=1..9:3", "exact": true, "batch": 2 } });
        assert_eq!(
            words(&asked).unwrap(),
            [
                "sweep",
                "--batch=2",
                "--exact",
                "--vary=gpus=2,4",
                "--vary=steps=1..9:3"
            ]
        );
        for (asked, part) in [
            (json!({}), "ask for one of"),
            (json!({ "command": "replay" }), "ask for one of"),
            (
                json!({ "command": "plan", "options": { "plot": "x.svg" } }),
                "no option \"plot\"",
            ),
            (
                json!({ "command": "plan", "options": { "machine": "/etc/passwd" } }),
                "command line",
            ),
            (
                json!({ "command": "plan", "options": { "model": [] } }),
                "no text",
            ),
        ] {
            let sentence = words(&asked).unwrap_err();
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}
