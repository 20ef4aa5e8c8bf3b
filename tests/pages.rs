//! `report` and `serve`: pages that load nothing, and a server that is not easily upset.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::{printed, refused, words};

/// The figures in a page.
fn figures(page: &str) -> Value {
    let start = page.find("id=\"data\">").expect("figures") + "id=\"data\">".len();
    let end = start + page[start..].find("</script>").expect("their end");
    serde_json::from_str(&page[start..end]).expect("JSON")
}

fn report(folder: &Path, command: &[&str]) -> (PathBuf, String) {
    let path = folder.join("report.html");
    let out = path.to_str().expect("a name");
    printed(&[&["report", "--out", out], command].concat());
    let page = fs::read_to_string(&path).expect("the page");
    (path, page)
}

#[test]
fn a_report_is_one_file_that_loads_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, page) = report(
        folder.path(),
        &["plan", "--machine", "4xl20-pcie", "--gpus", "2"],
    );
    assert!(!page.contains("src=") && !page.contains("<link rel=\"stylesheet\""));
    let data = figures(&page);
    assert_eq!(data["kind"], "plan");
    assert_eq!(
        data["command"],
        "ditplan plan --machine 4xl20-pcie --gpus 2"
    );
    let spans = data["timeline"]["spans"].as_array().expect("spans");
    assert!(
        spans.len() > 1000 && spans.len() <= 24_000,
        "{}",
        spans.len()
    );
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn what_cannot_be_reported_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let blocked = folder.path().join("no/such/page.html");
    let blocked = blocked.to_str().expect("a name");
    for (arguments, part) in [
        (vec!["report", "plan", "--model", "FLUX.9"], "FLUX"),
        (vec!["report", "report", "plan"], "report has no page"),
        (
            vec!["report", "serve", "--port", "0"],
            "sweep, calibrate, validate, compare, replay",
        ),
        (vec!["report", "man"], "a command that has --json"),
        (vec!["report", "completions", "bash"], "completions has no"),
        (
            vec!["report", "plan", "--emit", "xdit"],
            "drawn from what --json prints",
        ),
        (vec!["report", "plan", "--wrong"], "--wrong"),
        (
            vec!["report", "--out", blocked, "models"],
            "cannot be written",
        ),
    ] {
        let sentence = refused(&arguments);
        assert!(sentence.contains(part), "{arguments:?}: {sentence}");
    }
}

/// A headless browser, where one is installed.
fn browser() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let usual = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ];
    named.or_else(|| {
        usual
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.exists())
    })
}

/// The page as the browser has drawn it, and what its console said.
fn drawn(browser: &Path, page: &Path) -> (String, String) {
    let profile = tempfile::tempdir().expect("a folder");
    let output = Process::new(browser)
        .args(words(
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run",
        ))
        .args(words(
            "--disable-background-networking --disable-component-update --disable-sync",
        ))
        .args(words(
            "--enable-logging=stderr --virtual-time-budget=5000 --dump-dom",
        ))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let said = text(output.stderr);
    let console: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    (text(output.stdout), console.join("\n"))
}

#[test]
fn every_page_draws_in_a_browser() {
    let Some(browser) = browser() else {
        println!("SKIPPED: pages in a browser; install chromium, or name one in CHROMIUM");
        return;
    };
    for (command, words) in [
        (
            vec!["plan", "--gpus", "2"],
            vec![
                "Where the time goes",
                "<canvas class=\"timeline\"",
                "How to repeat this",
            ],
        ),
        (
            words(
                "sweep --machine 4xL20@25GB/s --vary gpus=1,2 --vary link.bandwidth=1GB/s,100GB/s",
            ),
            vec!["Who wins where", "<canvas", "Rows"],
        ),
        (
            words("sweep --machine 4xL20@25GB/s --vary link.bandwidth=1GB/s,9GB/s --plan ring4"),
            vec!["u-wrap", "Rows", "ring wins everywhere"],
        ),
        (
            vec!["sweep", "--machine", "4xL20@25GB/s", "--vary", "gpus=1,2"],
            vec!["u-wrap", "no kind of plan wins most: one GPU and"],
        ),
        (
            words("capacity --machine 8xh100-sxm --rate 1/s --slo p95<=12s --requests 500"),
            vec!["Latency over the rate of requests", "Queue over time"],
        ),
        (vec!["models"], vec!["FLUX.1-dev"]),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, _) = report(folder.path(), &command);
        let (page, console) = drawn(&browser, &path);
        assert!(console.is_empty(), "{command:?}: {console}");
        for word in words {
            assert!(page.contains(word), "{command:?} lacks {word}");
        }
    }
}

/// A server that ends with the test.
pub(crate) struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Address and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn start(limit: &str) -> Self {
        Self::start_in(Path::new("."), limit)
    }

    fn start_in(folder: &Path, limit: &str) -> Self {
        let mut child = Process::new(env!("CARGO_BIN_EXE_ditplan"))
            .args(["serve", "--port", "0", "--limit", limit])
            .current_dir(folder)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let mut said = BufReader::new(child.stderr.take().expect("standard error"));
        said.read_line(&mut line).expect("a line");
        let address = line
            .trim_start_matches("http://")
            .split(' ')
            .next()
            .expect("an address");
        Self {
            child,
            address: address.to_owned(),
        }
    }

    /// Status and body of the answer to raw bytes.
    fn raw(&self, request: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        stream.write_all(request).expect("sent");
        let mut answer = Vec::new();
        // The server may close while it still has bytes of a refused body to read.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned());
        (status, body.unwrap_or_default())
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let (status, body) = self.raw(request.as_bytes());
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// The answer to a question, when it is there.
    fn answered(&self, question: &Value) -> Value {
        let (status, started) = self.ask("POST", "/run", &question.to_string());
        assert_eq!(status, 202, "{started}");
        self.ended(started["id"].as_u64().expect("an id"))
    }

    fn ended(&self, id: u64) -> Value {
        loop {
            let (_, state) = self.ask("GET", &format!("/run/{id}"), "");
            if state["state"] != "running" {
                return state;
            }
            sleep(Duration::from_millis(50));
        }
    }
}

/// A question that takes long.
fn long() -> Value {
    json!({ "command": "sweep", "options": { "machine": "16xL20@25GB/s", "vary": "link.bandwidth=1GB/s..900GB/s:2000:log" } })
}

#[test]
fn a_question_is_asked_answered_stopped_and_cancelled() {
    let server = Server::start("60");
    let answer = server.answered(&json!({ "command": "plan", "options": { "gpus": 2 } }));
    assert_eq!(answer["state"], "done");
    assert!(
        answer["data"]["report"]["choice"]["latency_s"]
            .as_f64()
            .expect("a time")
            > 1.0
    );
    let wrong = server.answered(&json!({ "command": "plan", "options": { "size": "9x9" } }));
    assert_eq!(wrong["state"], "failed");
    let ids: Vec<u64> = (0..2)
        .map(|_| {
            server.ask("POST", "/run", &long().to_string()).1["id"]
                .as_u64()
                .expect("an id")
        })
        .collect();
    assert_eq!(server.ask("POST", "/run", &long().to_string()).0, 429);
    for id in ids {
        server.ask("DELETE", &format!("/run/{id}"), "");
        assert_eq!(server.ended(id)["mistake"], "cancelled");
    }
    let brief = Server::start("1");
    let stopped = brief.answered(&long());
    assert!(
        stopped["mistake"]
            .as_str()
            .expect("a sentence")
            .contains("stopped after 1 s")
    );
}

#[test]
fn questions_open_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret.csv");
    let names = ["4xl20-pcie", "poisson", "FLUX.1-dev"].map(Path::new);
    for path in names.into_iter().chain([secret.as_path()]) {
        fs::write(folder.path().join(path), "hunter2,hunter3\n").expect("a file");
    }
    let server = Server::start_in(folder.path(), "60");
    let usual = json!({ "command": "capacity", "options": {
        "machine": "4xl20-pcie", "model": "FLUX.1-dev", "arrivals": "poisson", "rate": "0.1/s", "slo": "p95<=60s", "requests": 200,
    } });
    let answer = server.answered(&usual);
    assert_eq!(
        answer["state"], "done",
        "built-in names are no files: {answer}"
    );
    let path = secret.to_str().expect("a name");
    for option in ["model", "machine", "arrivals", "plot", "profile"] {
        for file in [path, "secret.csv", &format!("@{path}"), "/dev/zero", "."] {
            let mut asked = usual.clone();
            asked["options"][option] = json!(file);
            let (status, said) = server.ask("POST", "/run", &asked.to_string());
            assert_eq!(status, 400, "{option} {file}: {said}");
            assert!(!said.to_string().contains("hunter"), "{said}");
        }
    }
}

/// Processes that this one started and that still run, as Linux knows them.
#[cfg(target_os = "linux")]
fn started_by(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("processes").flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| fields(*id).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// State and parent of a process.
#[cfg(target_os = "linux")]
fn fields(id: u32) -> Option<(String, u32)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = text.rsplit(") ").next()?.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

#[cfg(target_os = "linux")]
#[test]
fn questions_end_with_the_server() {
    for signal in ["TERM", "INT", "KILL"] {
        let server = Server::start("60");
        for _ in 0..2 {
            assert_eq!(server.ask("POST", "/run", &long().to_string()).0, 202);
        }
        let questions = started_by(server.id());
        assert_eq!(questions.len(), 2);
        let id = server.id().to_string();
        let sent = Process::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.expect("kill runs").success());
        let runs = |id: &u32| fields(*id).is_some_and(|(state, _)| state != "Z" && state != "X");
        let waited = (0..100).find(|_| {
            sleep(Duration::from_millis(50));
            !questions.iter().any(runs)
        });
        assert!(
            waited.is_some(),
            "SIG{signal}: a question outlives the server"
        );
    }
}

#[test]
fn pages_are_not_framed_and_start_nothing() {
    let server = Server::start("60");
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    let mut stream = TcpStream::connect(&server.address).expect("a connection");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, page) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("\r\nX-Frame-Options: DENY\r\n"), "{head}");
    assert!(head.contains("frame-ancestors 'none'"), "{head}");
    assert!(page.contains("startForm") && !page.contains("requestSubmit"));
}

#[test]
fn strange_requests_are_refused_and_do_not_stop_the_server() {
    let server = Server::start("60");
    let mut slow = TcpStream::connect(&server.address).expect("a connection");
    slow.write_all(b"POST /run HTTP/1.1\r\nHost: ")
        .expect("sent");
    let own = format!("Host: {}\r\nConnection: close\r\n", server.address);
    let json = "Content-Type: application/json\r\n";
    let huge = "a".repeat(1 << 20);
    for (request, status) in [
        (
            "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_owned(),
            403,
        ),
        (
            format!(
                "POST /run HTTP/1.1\r\n{own}Origin: http://evil.example\r\n{json}Content-Length: 2\r\n\r\n{{}}"
            ),
            403,
        ),
        (
            format!("POST /run HTTP/1.1\r\n{own}Content-Length: 2\r\n\r\n{{}}"),
            415,
        ),
        (
            format!("POST /run HTTP/1.1\r\n{own}{json}Content-Length: 2\r\n\r\n{{]"),
            400,
        ),
        (
            format!(
                "POST /run HTTP/1.1\r\n{own}{json}Content-Length: {}\r\n\r\n{huge}",
                huge.len()
            ),
            413,
        ),
        (format!("GET /run/999 HTTP/1.1\r\n{own}\r\n"), 404),
        (format!("GET /../../etc/passwd HTTP/1.1\r\n{own}\r\n"), 404),
        (format!("GET / HTTP/1.1\r\n{own}\r\n"), 200),
    ] {
        let (got, body) = server.raw(request.as_bytes());
        assert_eq!(
            got,
            status,
            "{}: {body:.200}",
            request.lines().next().unwrap_or_default()
        );
    }
    server.raw(&[0xFF; 300]);
    let many: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(&server.address).expect("a connection"))
        .collect();
    // tiny_http may leave one connection behind an idle one; it does not leave the next there too.
    let answered = (0..3).any(|_| server.ask("GET", "/run/1", "").0 == 404);
    assert!(answered, "idle connections keep others from an answer");
    drop((slow, many));
}
