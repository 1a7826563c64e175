//! `appc-agent tail`, the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use tempfile::{TempDir, tempdir};

fn agent(options: &[&str], path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_appc-agent"));
    command.arg("tail").args(options).arg(path);
    command
}

/// What it prints of a file that nobody changes.
fn tail(options: &[&str], path: &Path) -> String {
    let output = agent(options, path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A follower; killed when dropped.
struct Follower {
    child: Child,
    stdout: ChildStdout,
}

impl Follower {
    /// Starts one and waits until it has printed `first`, the end of the file.
    fn start(path: &Path, first: &str) -> Self {
        let mut child = agent(&["--follow"], path).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut follower = Self { child, stdout };
        follower.prints(first);
        follower
    }

    /// Waits for exactly this.
    #[track_caller]
    fn prints(&mut self, expected: &str) {
        let mut got = vec![0; expected.len()];
        self.stdout.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A directory with a file `log` that has one line.
fn log() -> TempDir {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("log"), "first\n").unwrap();
    directory
}

fn append(path: &Path, text: &str) {
    File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn the_last_lines_are_ten_unless_it_is_said() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("file");
    let lines = |numbers: std::ops::Range<u32>| numbers.map(|number| format!("{number}\n")).collect::<String>();
    fs::write(&path, lines(0..100_000)).unwrap();
    assert_eq!(tail(&[], &path), lines(99_990..100_000));
    assert_eq!(tail(&["--lines", "0"], &path), "");
    assert_eq!(tail(&["--lines", "50000"], &path), lines(50_000..100_000));
    assert_eq!(tail(&["--lines", "200000"], &path), lines(0..100_000));
}

#[test]
fn what_is_no_file_is_refused() {
    let directory = log();
    for (name, why) in [("none", "No such file or directory (os error 2)"), (".", "it is not a regular file")] {
        let path = directory.path().join(name);
        for options in [&[][..], &["--follow"]] {
            let output = agent(options, &path).output().unwrap();
            assert_eq!(output.status.code(), Some(1));
            assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("appc-agent: {}: {why}\n", path.display()));
        }
    }
}

#[test]
fn what_is_appended_comes_and_what_is_cut_off_begins_anew() {
    let directory = log();
    let path = directory.path().join("log");
    let mut follower = Follower::start(&path, "first\n");
    append(&path, "second\nthi");
    follower.prints("second\nthi");
    append(&path, "rd\n");
    follower.prints("rd\n");
    fs::write(&path, "new\n").unwrap();
    follower.prints("new\n");
}

#[test]
fn a_file_that_is_rotated_is_read_to_its_end_and_its_successor_from_its_beginning() {
    let directory = log();
    let path = directory.path().join("log");
    let mut follower = Follower::start(&path, "first\n");
    for round in 0..20 {
        let old = directory.path().join("old");
        fs::rename(&path, &old).unwrap();
        append(&old, "last\n");
        follower.prints("last\n");
        append(&old, "really last\n");
        // Under another name, so that it is there with all that it has.
        fs::write(directory.path().join("next"), format!("{round}\n")).unwrap();
        fs::rename(directory.path().join("next"), &path).unwrap();
        follower.prints(&format!("really last\n{round}\n"));
        append(&path, "more\n");
        follower.prints("more\n");
    }
}

#[test]
fn a_file_that_is_removed_may_come_again() {
    let directory = log();
    let path = directory.path().join("log");
    let mut follower = Follower::start(&path, "first\n");
    fs::remove_file(&path).unwrap();
    fs::write(directory.path().join("other"), "not this\n").unwrap();
    fs::write(&path, "again\n").unwrap();
    follower.prints("again\n");
}

#[test]
fn links_and_directories_on_the_way_may_lead_elsewhere() {
    let directory = tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["one", "two", "three"] {
        fs::create_dir_all(path(name).join("logs")).unwrap();
        fs::write(path(name).join("logs/app.1"), format!("{name}\n")).unwrap();
        symlink("../logs/./app.1", path(name).join("logs/app")).unwrap();
    }
    symlink("one", path("current")).unwrap();
    let mut follower = Follower::start(&path("current/logs/app"), "one\n");
    // The first link on the way is replaced.
    symlink("two", path("next")).unwrap();
    fs::rename(path("next"), path("current")).unwrap();
    follower.prints("two\n");
    // A directory is.
    fs::rename(path("two"), path("gone")).unwrap();
    fs::rename(path("three"), path("two")).unwrap();
    follower.prints("three\n");
    // The last link is.
    fs::write(path("two/logs/app.2"), "four\n").unwrap();
    symlink("app.2", path("two/logs/next")).unwrap();
    fs::rename(path("two/logs/next"), path("two/logs/app")).unwrap();
    follower.prints("four\n");
    append(&path("two/logs/app.2"), "more\n");
    follower.prints("more\n");
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    let directory = log();
    let path = directory.path().join("log");
    let mut child = agent(&["--follow"], &path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    append(&path, "more\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
