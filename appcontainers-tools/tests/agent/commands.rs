//! Commands: their start, their output, their end.

use appcontainers_wire::{ExitStatus, SpawnFailure};

use crate::monitor::{Bench, shell, spec};

#[test]
fn stdout_and_stderr_come_apart_and_before_the_exit() {
    let mut bench = Bench::start();
    let known = bench.run(shell("echo out; echo err >&2; printf end; exit 3"));
    assert_eq!((known.stdout.as_slice(), known.stderr.as_slice()), (&b"out\nend"[..], &b"err\n"[..]));
    assert_eq!(known.exit, Some(ExitStatus::Code(3)));
    assert_eq!(known.at_exit, Some((7, 4)));
}

#[test]
fn fifty_megabytes_come_byte_for_byte() {
    let mut bench = Bench::start();
    let known = bench.run(shell("seq 1 7000000"));
    let mut expected = String::with_capacity(60_000_000);
    for number in 1..=7_000_000 {
        expected.push_str(&number.to_string());
        expected.push('\n');
    }
    assert!(known.stdout == expected.as_bytes(), "{} bytes differ from {}", known.stdout.len(), expected.len());
    assert_eq!(known.exit, Some(ExitStatus::Code(0)));
    assert!(known.times.is_sorted());
}

#[test]
fn a_signal_is_told_as_such() {
    let mut bench = Bench::start();
    assert_eq!(bench.run(shell("kill -9 $$")).exit, Some(ExitStatus::Signal(9)));
}

#[test]
fn what_is_missing_or_not_executable_is_said() {
    let mut bench = Bench::start();
    let failure = bench.run(spec(&["no-such-program"])).failure.clone();
    assert_eq!(failure, Some(SpawnFailure::NotFound { program: "no-such-program".to_owned() }));
    let failure = bench.run(spec(&["/etc/passwd"])).failure.clone().unwrap();
    assert_eq!(failure.shell_code(), 126, "{failure:?}");
    let failure = bench.run(spec(&["/etc"])).failure.clone().unwrap();
    assert_eq!(failure.shell_code(), 126, "{failure:?}");
}
