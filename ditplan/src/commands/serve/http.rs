//! As much of HTTP/1.1 as one page on the loopback needs: one request a connection, in bounded time and memory.
//!
//! ```text
//! stream ─▶ head (at most HEAD bytes) ─▶ body (as Content-Length says, at most BODY bytes) ─▶ Request
//! ```
//! Guarantees: [`read`] holds [`HEAD`] + [`BODY`] bytes at most and never more of a stream than the request has;
//! whatever the bytes are, it gives back a request or a [`Fault`] with the status to answer.
//!
//! Not spoken: chunked bodies, several requests over one connection, upgrades.

use std::io::{self, ErrorKind, Read, Write};

/// Bytes of a request line with all headers, at most.
pub const HEAD: usize = 16 * 1024;
/// Bytes of a body, at most.
pub const BODY: usize = 16 * 1024;

/// The page holds its scripts, speaks to this server alone, and no other page may frame it.
const SECURITY: &str = "Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; \
     style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'\r\nX-Frame-Options: DENY\r\nX-Content-Type-Options: nosniff\r\n\
     Referrer-Policy: no-referrer\r\n";

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// GET, POST, DELETE or another word.
    pub method: String,
    /// From the slash on.
    pub path: String,
    /// The body, empty where none came.
    pub body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Request {
    /// The value of a header, the first where it stands twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        let found = all.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Why there is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody waits for an answer.
    Gone,
    /// The status, and a sentence.
    Refused(u16, String),
}

impl Fault {
    fn refused(status: u16, sentence: impl Into<String>) -> Self {
        Self::Refused(status, sentence.into())
    }

    fn of(error: &io::Error) -> Self {
        match error.kind() {
            // What a read says when its time is over depends on the system.
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                Self::refused(408, "the request did not come in time")
            }
            _ => Self::Gone,
        }
    }
}

/// Reads one request.
pub fn read(stream: &mut impl Read) -> Result<Request, Fault> {
    let (head, rest) = head(stream)?;
    let text = String::from_utf8(head);
    let text = text.map_err(|_| Fault::refused(400, "the request's head is not UTF-8"))?;
    let mut lines = text.split("\r\n");
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let &[method, path, "HTTP/1.1" | "HTTP/1.0"] = first.as_slice() else {
        return Err(Fault::refused(400, "the request has no line of HTTP/1.1"));
    };
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        let token = |c: char| c.is_ascii_graphic();
        let sound = !name.is_empty() && name.chars().all(token);
        sound.then(|| (name.to_owned(), value.trim().to_owned()))
    });
    let headers: Option<Vec<(String, String)>> = headers.collect();
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: headers.ok_or_else(|| Fault::refused(400, "a header is no name: value"))?,
        body: Vec::new(),
    };
    request.body = body(&request, rest, stream)?;
    Ok(request)
}

/// The bytes before the empty line, and those that came with it behind it.
fn head(stream: &mut impl Read) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).map_err(|error| Fault::of(&error))?;
        if count == 0 {
            return Err(Fault::Gone);
        }
        let known = bytes.len().saturating_sub(END.len() - 1);
        bytes.extend_from_slice(&piece[..count]);
        let found = bytes[known..]
            .windows(END.len())
            .position(|four| four == END);
        if let Some(end) = found
            .map(|offset| known + offset)
            .filter(|end| *end <= HEAD)
        {
            let rest = bytes.split_off(end + END.len());
            bytes.truncate(end);
            return Ok((bytes, rest));
        }
        if bytes.len() > HEAD {
            let sentence = format!("a request's headers have at most {HEAD} bytes");
            return Err(Fault::refused(431, sentence));
        }
    }
}

/// The body: what came with the head, and the rest of what Content-Length says.
fn body(request: &Request, mut body: Vec<u8>, stream: &mut impl Read) -> Result<Vec<u8>, Fault> {
    if request.header("Transfer-Encoding").is_some() {
        return Err(Fault::refused(411, "send the body with its Content-Length"));
    }
    let length = request.header("Content-Length").unwrap_or("0");
    let digits = !length.is_empty() && length.chars().all(|c| c.is_ascii_digit());
    if !digits {
        return Err(Fault::refused(400, "Content-Length is no number"));
    }
    // A number beyond 64 bits is as large as any that is refused.
    let length = length.parse::<usize>().unwrap_or(usize::MAX);
    if length > BODY {
        return Err(Fault::refused(
            413,
            format!("a question has at most {BODY} bytes"),
        ));
    }
    let came = body.len().min(length);
    body.resize(length, 0);
    let rest = stream.read_exact(&mut body[came..]);
    rest.map_err(|error| Fault::of(&error))?;
    Ok(body)
}

/// Writes an answer, whose body is these parts, and says that the connection ends with it.
pub fn respond(stream: &mut impl Write, status: u16, kind: &str, parts: &[&str]) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        202 => "Accepted",
        _ => "Refused",
    };
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {length}\r\n\
         {SECURITY}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    for part in parts {
        stream.write_all(part.as_bytes())?;
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Request, Fault> {
        read(&mut text.as_bytes())
    }

    #[test]
    fn a_request_is_read_with_its_body_and_nothing_behind_it() {
        let text = "POST /run HTTP/1.1\r\nHost: localhost:1\r\ncontent-length: 2\r\n\r\n{}GET /";
        let request = asked(text).unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/run")
        );
        assert_eq!(request.header("HOST"), Some("localhost:1"));
        assert_eq!(request.body, b"{}");
    }

    #[test]
    fn every_other_request_has_its_status() {
        let head = |header: &str| format!("POST / HTTP/1.1\r\n{header}\r\n\r\n");
        for (text, status) in [
            ("GET /\r\n\r\n".to_owned(), 400),
            ("\r\n\r\n".to_owned(), 400),
            (head("no colon"), 400),
            (head(": nameless"), 400),
            (head("Content-Length: -1"), 400),
            (head("Content-Length: 99999999999999999999999"), 413),
            (head("Content-Length: 16385"), 413),
            (head("Transfer-Encoding: chunked"), 411),
            (head(&"a: b\r\n".repeat(4000)), 431),
            ("x".repeat(HEAD + 1), 431),
        ] {
            let Err(Fault::Refused(found, _)) = asked(&text) else {
                panic!("refused: {text}");
            };
            assert_eq!(found, status, "{text}");
        }
        for text in [
            "",
            "GET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab",
        ] {
            assert_eq!(asked(text), Err(Fault::Gone), "{text}");
        }
    }
}
