//! `serve` under slow, huge, malformed and concurrent requests: it answers all the while, in bounded memory.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread::{self, sleep};
use std::time::Duration;

use super::pages::Server;

/// Kilobytes that the server took at most so far.
fn peak_kb(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).expect("its status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .expect("a peak");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse().expect("a number")
}

/// A connection that says a little and then nothing.
fn silent(server: &Server, begun: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    // A server that is busy may have said so and gone.
    let _ = stream.write_all(begun.as_bytes());
    stream
}

/// The status of the page.
fn page(server: &Server) -> u16 {
    server.ask("GET", "/", "").0
}

#[test]
fn slow_clients_do_not_keep_others_waiting() {
    let server = Server::start("60");
    let head = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ";
    let body = "POST /run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{";
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|index| silent(&server, [head, body][index % 2]))
        .collect();
    for _ in 0..5 {
        assert_eq!(page(&server), 200, "beside {} slow clients", slow.len());
        for stream in &mut slow {
            let _ = stream.write_all(b"x");
        }
        sleep(Duration::from_millis(200));
    }
    // More than it holds: some are told to come again, and a moment later it answers as before.
    slow.extend((0..200).map(|index| silent(&server, [head, body][index % 2])));
    let mut refused = 0;
    while page(&server) != 200 {
        refused += 1;
        assert!(refused < 300, "it does not come back");
        sleep(Duration::from_millis(100));
    }
    sleep(Duration::from_secs(1));
    let threads = fs::read_dir(format!("/proc/{}/task", server.id()))
        .expect("threads")
        .count();
    eprintln!(
        "400 slow clients: {refused} pages refused, {threads} threads, {} kB at most",
        peak_kb(&server)
    );
    assert!(threads < 280 && peak_kb(&server) < 100_000);
}

#[test]
fn huge_requests_are_refused_without_being_held() {
    let server = Server::start("60");
    let piece = "x".repeat(1 << 16);
    for (begun, status) in [
        ("GET / HTTP/1.1\r\nX: ", 431),
        ("GET /", 431),
        (
            "POST /run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n",
            413,
        ),
        (
            "POST /run HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
            411,
        ),
    ] {
        let mut stream = silent(&server, begun);
        let sent = (0..512)
            .take_while(|_| stream.write_all(piece.as_bytes()).is_ok())
            .count();
        let mut answer = String::new();
        // What was refused may be cut off when the server stops listening.
        let _ = stream.read_to_string(&mut answer);
        assert!(
            sent < 512 || !answer.is_empty(),
            "{begun}: neither refused nor answered"
        );
        assert!(
            answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert_eq!(page(&server), 200);
    }
    assert!(peak_kb(&server) < 60_000, "{} kB", peak_kb(&server));
}

#[test]
fn malformed_and_concurrent_requests_leave_it_as_it_was() {
    let server = Server::start("60");
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/http");
    let seeds: Vec<Vec<u8>> = fs::read_dir(seeds)
        .expect("seeds")
        .map(|entry| fs::read(entry.expect("an entry").path()).expect("bytes"))
        .collect();
    let rounds =
        std::env::var("DITPLAN_REQUESTS").map_or(100, |text| text.parse().expect("a number"));
    let counts: Vec<[u64; 3]> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16_u64)
            .map(|thread| {
                let (server, seeds) = (&server, &seeds);
                scope.spawn(move || ask_much(server, seeds, thread, rounds))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let [pages, malformed, refused] = counts.iter().fold([0; 3], |sum, one| {
        [sum[0] + one[0], sum[1] + one[1], sum[2] + one[2]]
    });
    eprintln!(
        "{} requests of 16 clients: {pages} pages, {malformed} malformed, {refused} told to come again, {} kB at most",
        pages + malformed + refused,
        peak_kb(&server)
    );
    assert_eq!(pages + refused, 16 * rounds, "every page was answered");
    assert_eq!(page(&server), 200);
    assert!(peak_kb(&server) < 100_000);
}

/// Pages and damaged requests in turn: how many pages came, how many damaged ones went, how many were refused.
fn ask_much(server: &Server, seeds: &[Vec<u8>], thread: u64, rounds: u64) -> [u64; 3] {
    let mut counts = [0; 3];
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ thread;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..rounds {
        match page(server) {
            200 => counts[0] += 1,
            status => {
                assert_eq!(status, 503);
                counts[2] += 1;
            }
        }
        let mut bytes = seeds[next(seeds.len())].clone();
        for _ in 0..4 {
            let at = next(bytes.len());
            bytes[at] = b"\r\n: \x00\xff/9"[next(8)];
        }
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
        counts[1] += 1;
    }
    counts
}
