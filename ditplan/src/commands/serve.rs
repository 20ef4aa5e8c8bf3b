//! `serve`: the report page on this machine's loopback, with a form to ask new questions.
//!
//! ```text
//! GET /            the form          POST /run {command, options}  ─▶ {id}
//! GET /run/ID      how it stands     DELETE /run/ID                ─▶ cancelled
//! ```
//! Every question runs in a process of its own: it can be cancelled, it is stopped when it takes too long, it ends
//! with the server, and a mistake in it is its error sentence. Requests of other sites' pages are refused (Host,
//! content type), and no other site can frame the page.
//!
//! Guarantees: no question opens or writes a file (`words`). A connection ends after [`PATIENCE`] for the request and as much for the answer, there are
//! [`CONNECTIONS`] at most, and memory is bounded (`http`, `runs`), whatever clients send or leave out.

mod http;
mod runs;
mod words;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Command};
use serde_json::{Value, json};

use self::http::{Fault, Request};
use self::runs::{Runs, State, now};
use crate::render::page::shell;

/// Connections at the same time; more are told to come again.
const CONNECTIONS: usize = 256;
/// A connection ends after this time, answered or not.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long and how much is read of what a refused client still sends, so that it can read the answer.
const FAREWELL: (Duration, u64) = (Duration::from_secs(1), 1 << 20);

/// Where to listen, and how long a question may take.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8765)]
    pub port: u16,
    /// Seconds after which a question is stopped
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub limit: u64,
}

/// What every connection is answered from.
struct Served {
    /// What can be typed.
    program: Command,
    runs: Runs,
    page: Arc<str>,
}

/// Serves until the process is ended.
pub(crate) fn answer(typed: &ServeArguments, program: &Command) -> Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, typed.port));
    let listener = TcpListener::bind(address)
        .with_context(|| format!("port {}: give another --port", typed.port))?;
    let place = listener.local_addr()?;
    // Nobody is told when standard error is closed.
    let _ = writeln!(io::stderr(), "http://{place} (Ctrl-C ends it)");
    let served = Arc::new(Served {
        program: program.clone(),
        runs: Runs::new(Duration::from_secs(typed.limit)),
        page: page().into(),
    });
    let open = Arc::new(AtomicUsize::new(0));
    let watched = Arc::clone(&served);
    // A question is stopped in time also when nobody asks for it.
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(500));
            watched.runs.settle();
        }
    });
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // No file handle is free: some will be when connections end.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let (served, held) = (Arc::clone(&served), Arc::clone(&open));
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            busy(stream);
            continue;
        }
        let started = thread::Builder::new().spawn(move || {
            // A client that went away needs no answer.
            let _ = handle(&stream, &served);
            held.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
    Ok(String::new())
}

/// Tells a client to come again; the few bytes fit in the socket's buffer, so that nothing is waited for.
fn busy(mut stream: TcpStream) {
    let reply = Reply::mistake(503, "too many connections: try again in a moment");
    let _ = stream.set_nonblocking(true);
    let _ = reply.send(&mut stream);
}

/// A stream until a moment.
struct Until<'a> {
    stream: &'a TcpStream,
    moment: Instant,
}

impl Until<'_> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.moment.saturating_duration_since(now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(bytes)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One request, one answer.
fn handle(stream: &TcpStream, served: &Served) -> io::Result<()> {
    let until = |time: Duration| Until {
        stream,
        moment: now() + time,
    };
    let reply = match http::read(&mut until(PATIENCE)) {
        Ok(request) => reply(&request, served),
        Err(Fault::Gone) => return Ok(()),
        Err(Fault::Refused(status, sentence)) => Reply::mistake(status, &sentence),
    };
    reply.send(&mut until(PATIENCE))?;
    stream.shutdown(Shutdown::Write)?;
    let (time, bytes) = FAREWELL;
    io::copy(&mut until(time).take(bytes), &mut io::sink())?;
    Ok(())
}

/// The page with the form.
fn page() -> String {
    let models: Vec<&str> = sim::model::known()
        .iter()
        .map(|model| model.name.as_str())
        .collect();
    let machines: Vec<&str> = topologies::machine::presets().collect();
    let known = json!({ "models": models, "machines": machines }).to_string();
    let body = format!(
        "<div id=\"form\"></div>\n<main id=\"page\"></main>\n\
         <script type=\"application/json\" id=\"known\">{}</script>",
        known.replace('<', "\\u003c")
    );
    shell("ditplan", &body)
}

/// A reply: status, content type, the parts of its body.
struct Reply(u16, &'static str, Vec<Arc<str>>);

impl Reply {
    fn json(status: u16, value: &Value) -> Self {
        Self(status, "application/json", vec![value.to_string().into()])
    }

    fn mistake(status: u16, sentence: &str) -> Self {
        Self::json(status, &json!({ "mistake": sentence }))
    }

    fn send(&self, stream: &mut impl Write) -> io::Result<()> {
        let Self(status, kind, parts) = self;
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        http::respond(stream, *status, kind, &parts)
    }
}

fn reply(request: &Request, served: &Served) -> Reply {
    let Served {
        program,
        runs,
        page,
    } = served;
    if !is_local(request) {
        return Reply::mistake(403, "this server answers to localhost only");
    }
    let path = request.path.as_str();
    let id = path.strip_prefix("/run/").and_then(|id| id.parse().ok());
    match (request.method.as_str(), path, id) {
        ("GET", "/", _) => Reply(200, "text/html", vec![Arc::clone(page)]),
        ("POST", "/run", _) => {
            match question(request, program).and_then(|words| runs.start(&words)) {
                Ok(id) => Reply::json(202, &json!({ "id": id })),
                Err((status, sentence)) => Reply::mistake(status, &sentence),
            }
        }
        ("GET", _, Some(id)) => match runs.state(id) {
            Some(state) => stands(state),
            None => Reply::mistake(404, "no such run: it was long ago, or never"),
        },
        ("DELETE", _, Some(id)) => {
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
            vec!["{\"state\":\"done\",\"data\":".into(), data, "}".into()],
        ),
        State::Failed { sentence } => {
            Reply::json(200, &json!({ "state": "failed", "mistake": &*sentence }))
        }
    }
}

/// Whether the request names this machine: a page of another site that points its name here does not.
fn is_local(request: &Request) -> bool {
    let host = request.header("Host").unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let origin = request.header("Origin");
    ["127.0.0.1", "localhost"].contains(&name)
        && origin.is_none_or(|origin| origin == format!("http://{host}"))
}

/// The words of the question in a request's body.
fn question(request: &Request, program: &Command) -> Result<Vec<String>, (u16, String)> {
    let bad = |sentence: String| (400, sentence);
    let kind = request.header("Content-Type").unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err((415, "send JSON, with its content type".to_owned()));
    }
    let asked: Value = serde_json::from_slice(&request.body)
        .map_err(|error| bad(format!("the question is not JSON: {error}")))?;
    words::of(program, &asked).map_err(bad)
}
