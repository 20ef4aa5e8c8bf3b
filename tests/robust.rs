//! What happens to runs: killed, stopped, on full disks and closed pipes, with damaged inputs.
//!
//! Each claim is held for every use of a command in `commands::USES` that writes files. `DITPLAN_KILLS=N` kills each
//! of them N times instead of a few.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::commands::{HERE, Left, USES, files, program, used};

/// Uses that write files.
fn writers() -> impl Iterator<Item = &'static str> {
    let all = USES.iter().copied();
    all.filter(|line| line.contains("OUT"))
}

fn started(line: &str, out: &Path) -> Child {
    let mut command = used(program(), line, out);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the program starts")
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .arg(name)
        .arg(child.id().to_string())
        .status();
    sent.expect("kill runs");
}

/// A run to the end: what it leaves, and how long it took.
fn finished(line: &str, out: &Path) -> (Left, Duration) {
    #[allow(
        clippy::disallowed_methods,
        reason = "kills come within the time a run takes"
    )]
    let began = Instant::now();
    assert!(
        started(line, out).wait().expect("it ends").success(),
        "{line}"
    );
    (files(out), began.elapsed())
}

/// Numbers that look random, the same every time (Knuth's MMIX constants).
fn share(state: &mut u64) -> f64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}

/// Each file is whole, or the whole lines of a sweep so far.
fn whole_or_absent(found: &Left, wanted: &Left, line: &str) {
    for (name, bytes) in found {
        let whole = &wanted[name];
        let grows =
            line.starts_with("sweep ") && name.extension().is_some_and(|ending| ending == "csv");
        let partial_trace = name.ends_with("manifest.json");
        let fine = bytes == whole || grows && whole.starts_with(bytes) || partial_trace;
        assert!(fine, "{line}: {} is half-written", name.display());
    }
}

/// Traces under way say so: nothing takes one for a complete one.
fn partial_traces_say_so(out: &Path) {
    for trace in ["part.trace", "wide.trace"] {
        let directory = out.join(trace);
        if !directory.join("manifest.json").is_file() {
            continue;
        }
        let text = fs::read_to_string(directory.join("manifest.json")).expect("a whole manifest");
        let checked = Command::new(program())
            .args(["trace", "check"])
            .arg(&directory)
            .output();
        let passed = checked.expect("the program starts").status.success();
        assert!(passed || text.contains("\"partial\""), "{text}");
    }
}

#[test]
fn a_kill_at_any_moment_leaves_whole_files_and_the_next_run_the_same_bytes() {
    let kills = std::env::var("DITPLAN_KILLS").map_or(3, |text| text.parse().expect("a number"));
    let (mut state, mut hit, mut runs) = (2026, 0, 0);
    for line in writers() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("out");
        let renew = || {
            let _ = fs::remove_dir_all(&out);
            fs::create_dir_all(&out).expect("a directory");
        };
        renew();
        let (wanted, time) = finished(line, &out);
        for _ in 0..kills {
            renew();
            let mut child = started(line, &out);
            sleep(time.mul_f64(1.1 * share(&mut state)));
            hit += usize::from(child.try_wait().expect("a child").is_none());
            runs += 1;
            child.kill().expect("it ends");
            child.wait().expect("it ended");
            whole_or_absent(&files(&out), &wanted, line);
            partial_traces_say_so(&out);
            // A new trace goes to an empty directory; everything else goes on with what is there.
            if line.starts_with("trace ") {
                renew();
            }
            assert!(finished(line, &out).0 == wanted, "{line} after a kill");
        }
    }
    eprintln!("{runs} runs, {hit} killed before their end, nothing lost");
    assert!(hit > 0, "every run was over before it could be killed");
}

/// A copy of the tiny trace in an emptied directory; a `replay --save` changes it.
fn copy_trace(to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("a directory");
    let tiny = Path::new(HERE).join("traces/capture/tests/data/tiny.trace");
    for (name, bytes) in files(&tiny) {
        fs::write(to.join(name), bytes).expect("a copy");
    }
}

#[test]
fn a_trace_whose_errors_are_saved_stays_whole_whenever_that_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("own.trace");
    let save = |ranks: u32| finished(&format!("replay OUT --ranks {ranks} --save"), &trace);
    copy_trace(&trace);
    save(2);
    let (wanted, time) = save(4);
    let kills = std::env::var("DITPLAN_KILLS").map_or(8, |text| text.parse().expect("a number"));
    let mut state = 7;
    for _ in 0..kills {
        copy_trace(&trace);
        save(2);
        let mut child = started("replay OUT --ranks 4 --save", &trace);
        // Late kills: the files are written at the end.
        sleep(time.mul_f64(0.5 + 0.6 * share(&mut state)));
        child.kill().expect("it ends");
        child.wait().expect("it ended");
        let (code, said) = ended("trace check OUT", &trace);
        assert_eq!(code, Some(0), "{said}");
        assert!(save(4).0 == wanted, "after a kill");
    }
}

#[test]
fn ctrl_c_keeps_what_is_done_and_ends_with_130() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = folder.path().join("rows.csv");
    let line = "sweep --machine 4xL20@25GB/s --plan ulysses2 --plan ring4/1bit --vary \
        link.bandwidth=1GB/s..900GB/s:100:log --vary steps=10..50:20 --resume --out OUT/rows.csv";
    let mut child = started(line, folder.path());
    let lines =
        || fs::read(&rows).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count());
    while lines() < 3 {
        assert!(
            child.try_wait().expect("a child").is_none(),
            "it ended before it was stopped"
        );
        sleep(Duration::from_millis(5));
    }
    signal(&child, "-INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let kept = fs::read(&rows).expect("rows");
    assert!(kept.iter().filter(|byte| **byte == b'\n').count() >= 3);

    // A command that writes at its end leaves nothing, not even hidden.
    let line = "report --out OUT/page.html simulate --plan ring4 --steps 2000";
    let here = tempfile::tempdir().expect("a folder");
    let mut child = started(line, here.path());
    sleep(Duration::from_millis(150));
    signal(&child, "-INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(fs::read_dir(here.path()).expect("a folder").count(), 0);
}

/// Exit code and sentence of a run.
fn ended(line: &str, out: &Path) -> (Option<i32>, String) {
    let ran = used(program(), line, out)
        .output()
        .expect("the program starts");
    (
        ran.status.code(),
        String::from_utf8_lossy(&ran.stderr).into_owned(),
    )
}

#[test]
fn a_full_device_is_told_with_exit_code_1() {
    let full = |line: &str| {
        let (code, said) = ended(line, Path::new("/dev"));
        assert_eq!(code, Some(1), "{line}: {said}");
        assert!(
            said.starts_with("error: ") && said.contains("No space left"),
            "{line}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    };
    full("machines export 8xh100-sxm --format nccl-xml --out OUT/full");
    full("simulate --plan ring4 --steps 2 --timeline OUT/full");
    full("report --out OUT/full gpus");
    full("replay traces/capture/tests/data/tiny.trace --ranks 2 --csv OUT/full");
    let stdout = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let ran = Command::new(program())
        .arg("gpus")
        .stdout(stdout)
        .output()
        .expect("it starts");
    assert_eq!(ran.status.code(), Some(1));
}

#[test]
fn a_full_disk_keeps_the_old_file_and_leaves_no_half() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("a directory");
    let mount = ["-t", "tmpfs", "-o", "size=16k", "tmpfs"];
    let mounted = Command::new("mount").args(mount).arg(&disk).output();
    if !mounted.is_ok_and(|ran| ran.status.success()) {
        eprintln!("SKIPPED: a full disk, which needs root to mount one of 16 kB.");
        return;
    }
    let page = disk.join("page.html");
    fs::write(&page, "old").expect("room for three bytes");
    let (code, said) = ended("report --out OUT/page.html gpus", &disk);
    let (old, left) = (fs::read(&page), fs::read_dir(&disk).map(Iterator::count));
    let unmounted = Command::new("umount")
        .arg(&disk)
        .status()
        .expect("umount runs");
    assert!(unmounted.success());
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("page.html") && said.contains("No space left"),
        "{said}"
    );
    assert_eq!(
        (old.expect("the old page"), left.expect("a directory")),
        (b"old".to_vec(), 1)
    );
}

#[test]
fn a_place_that_cannot_be_written_is_a_mistake_with_its_path() {
    // /proc takes no files, from nobody.
    for line in writers() {
        let (code, said) = ended(line, Path::new("/proc"));
        assert_eq!(code, Some(2), "{line}: {said}");
        assert!(
            said.starts_with("error: ") && said.contains("/proc"),
            "{line}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{line}: {said}");
    }
}

#[test]
fn a_damaged_profile_is_refused_by_file_or_used_whole() {
    let source = Path::new(HERE).join("tests/data/profile-cpu-toy");
    let (mut state, mut refused) = (99, 0);
    for (name, bytes) in files(&source) {
        for _ in 0..6 {
            let folder = tempfile::tempdir().expect("a folder");
            for (other, bytes) in files(&source) {
                fs::write(folder.path().join(other), bytes).expect("a copy");
            }
            let cut = (bytes.len() as f64 * share(&mut state)) as usize;
            let mut damaged = bytes[..cut].to_vec();
            damaged.extend_from_slice(if cut.is_multiple_of(2) {
                b""
            } else {
                b"\xff\x00,"
            });
            fs::write(folder.path().join(&name), damaged).expect("a damaged copy");
            let (code, said) = ended("calibrate --summary OUT", folder.path());
            if code == Some(0) {
                continue;
            }
            refused += 1;
            assert_eq!(code, Some(2), "{}: {said}", name.display());
            assert!(
                said.contains(&*name.to_string_lossy()),
                "{}: {said}",
                name.display()
            );
        }
    }
    assert!(refused > 20, "{refused} damaged profiles were refused");
}

#[test]
fn no_gpu_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, said) = ended("calibrate --python /bin/false --out OUT", folder.path());
    assert_eq!(code, Some(2));
    assert!(said.contains("--python"), "{said}");
    let (code, said) = ended("cuda check", folder.path());
    assert_eq!(code, Some(2), "{said}");
}
