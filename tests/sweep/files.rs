//! The file of a sweep: kills, torn lines, threads, other questions.

use std::fs;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::{ditplan, printed, refused};

/// Two plans over `rates` bandwidths (at most 400 differ in three digits) and `steps` numbers of steps, into a file.
fn arguments(out: &Path, rates: usize, steps: usize) -> Vec<String> {
    let arguments = format!(
        "sweep --machine 4xL20@25GB/s --plan none --plan ulysses2 --vary link.bandwidth=1GB/s..900GB/s:{rates}:log \
         --vary steps=4..{}:{steps} --resume --out {}",
        3 + steps,
        out.display()
    );
    arguments.split(' ').map(str::to_owned).collect()
}

/// Runs a sweep to its end.
fn finish(arguments: &[String]) {
    printed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

fn started(arguments: &[String]) -> Child {
    Process::new(env!("CARGO_BIN_EXE_ditplan"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("rows")
}

fn lines(path: &Path) -> usize {
    fs::read(path).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

/// Numbers from 0 to 1 that nobody would guess, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A sweep of `2 * rates * steps` points killed ten times equals one that was not. Kills come at random moments of a run:
/// after up to a ninth of the time that the whole takes.
#[allow(clippy::disallowed_methods, reason = "it says how fast the sweep was")]
fn killed(rates: usize, steps: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, torn) = (
        folder.path().join("whole.csv"),
        folder.path().join("torn.csv"),
    );
    let begun = Instant::now();
    finish(&arguments(&whole, rates, steps));
    let took = begun.elapsed().as_secs_f64();
    let points = 2 * rates * steps;
    println!(
        "{points} points in {took:.1} s: {:.0} points/s",
        points as f64 / took
    );
    let again = arguments(&torn, rates, steps);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut kills = 0;
    for _ in 0..10 {
        let mut child = started(&again);
        sleep(Duration::from_secs_f64(0.05 + took / 9.0 * random.next()));
        kills += usize::from(child.try_wait().expect("a child").is_none());
        child.kill().expect("the program ends");
        child.wait().expect("the program ended");
        println!("killed at {} lines", lines(&torn));
    }
    assert!(
        kills > 5,
        "{} of ten runs were over before they could be killed",
        10 - kills
    );
    finish(&again);
    assert!(read(&whole) == read(&torn), "the rows differ");
    assert_eq!(lines(&whole), 1 + points);
}

#[test]
fn a_sweep_killed_again_and_again_ends_as_one_that_was_not() {
    killed(60, 15);
}

/// cargo test --release -p ditplan --test integration -- --ignored --nocapture a_hundred_thousand
#[test]
#[ignore = "100,000 points twice: minutes"]
fn a_hundred_thousand_points_killed_again_and_again_end_as_those_that_were_not() {
    killed(400, 125);
}

#[test]
fn rows_are_the_same_at_any_number_of_threads() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |threads: &str| {
        let out = folder.path().join(threads);
        let arguments = arguments(&out, 60, 3);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        ditplan(&arguments)
            .env("RAYON_NUM_THREADS", threads)
            .assert()
            .success();
        read(&out)
    };
    let one = run("1");
    assert!(one == run("2") && one == run("5"));
}

/// A finished sweep of a few points, its file and its bytes.
fn finished() -> (TempDir, Vec<String>, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = arguments(&folder.path().join("rows.csv"), 3, 2);
    finish(&arguments);
    let whole = read(&folder.path().join("rows.csv"));
    (folder, arguments, whole)
}

#[test]
fn half_a_line_is_written_again() {
    let (folder, arguments, whole) = finished();
    let out = folder.path().join("rows.csv");
    for cut in [1, 31, 700, whole.len() - 5, whole.len()] {
        fs::write(&out, &whole[..whole.len() - cut]).expect("a torn file");
        finish(&arguments);
        assert!(read(&out) == whole, "cut by {cut}");
    }
}

#[test]
fn another_question_is_refused_and_its_difference_named() {
    let (folder, arguments, whole) = finished();
    let out = folder.path().join("rows.csv");
    let text: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for (more, part) in [
        (["--size", "512x512"], "request"),
        (["--price", "L20=9/h"], "price_per_gpu_hour_usd"),
        (["--engine", "diffusers"], "differs in engine"),
        (["--plan", "ring2"], "differs in plans"),
    ] {
        let sentence = refused(&[&text[..], &more].concat());
        assert!(sentence.contains(part), "{more:?}: {sentence}");
    }
    assert!(read(&out) == whole, "a refused sweep changed the rows");
}

#[test]
fn another_figure_of_the_machine_is_another_question() {
    let folder = tempfile::tempdir().expect("a folder");
    let (machine, out) = (
        folder.path().join("own.toml"),
        folder.path().join("rows.csv"),
    );
    let text = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../topologies/machines/4xl20-pcie.toml"
    ));
    let text = text.expect("a machine");
    let (machine_name, out) = (machine.display().to_string(), out.display().to_string());
    let arguments = [
        "sweep",
        "--machine",
        &machine_name,
        "--plan",
        "ring4",
        "--vary",
        "steps=10,20",
        "--resume",
        "--out",
        &out,
    ];
    fs::write(&machine, &text).expect("a machine");
    printed(&arguments);
    fs::write(&machine, text.replace("0.82", "0.81")).expect("a machine");
    let sentence = refused(&arguments);
    assert!(sentence.contains("answers another question"), "{sentence}");
}

#[test]
fn files_that_are_no_sweep_are_left_alone() {
    let (folder, arguments, whole) = finished();
    let out = folder.path().join("rows.csv");
    let text: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for words in ["a letter without an end", "a,b\n1,2\n", "\u{0}\u{1}"] {
        fs::write(&out, words).expect("a file");
        let sentence = refused(&text);
        assert!(sentence.contains("other columns"), "{sentence}");
        assert_eq!(read(&out), words.as_bytes());
    }
    fs::write(&out, &whole).expect("rows");
    for damage in ["", "{\"digest\": 3"] {
        fs::write(folder.path().join("rows.csv.question.json"), damage).expect("a file");
        let sentence = refused(&text);
        assert!(sentence.contains("is damaged"), "{sentence}");
    }
    fs::remove_file(folder.path().join("rows.csv.question.json")).expect("a file");
    assert!(refused(&text).contains("is missing"));
    assert!(read(&out) == whole);
}
