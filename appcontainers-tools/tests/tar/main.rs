//! `appc-agent tar`, the real binary: what it writes is read back by `appc-agent untar` and by GNU tar. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod changing;
mod faithful;
mod hostile;
#[path = "../untar/tree.rs"]
mod tree;

use std::{
    ffi::OsStr,
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use tempfile::TempDir;

/// A directory on the file system that the tests are on, which must hold `user.` attributes and holes.
fn directory() -> TempDir {
    assert!(rustix::process::geteuid().is_root(), "needs root, to set owners");
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn agent() -> Command {
    Command::new(env!("CARGO_BIN_EXE_appc-agent"))
}

/// Packs a path.
fn tar(path: &Path) -> Output {
    agent().arg("tar").arg(path).output().unwrap()
}

/// The archive of a path that has all of it.
fn archive(path: &Path) -> Vec<u8> {
    let output = tar(path);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Starts packing; standard output is read by the test.
fn begin(path: &Path) -> (Child, ChildStdout) {
    let mut child = agent().arg("tar").arg(path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    (child, stdout)
}

/// Reads the rest of an archive; the exit code, and what was said.
fn finish(mut child: Child, mut stdout: ChildStdout, archive: &mut Vec<u8>) -> (i32, String) {
    stdout.read_to_end(archive).unwrap();
    let output = child.wait().map(|status| status.code().unwrap()).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (output, said)
}

/// Feeds a program that must take all and succeed.
fn feed(command: &mut Command, input: &[u8]) {
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Unpacks as `cp` copies.
fn untar(archive: &[u8], to: &Path, options: &[&str]) {
    feed(agent().args(["untar", "--to"]).arg(to).args(options), archive);
}

/// The members that GNU tar sees, as it lists them.
fn list(archive: &[u8]) -> Vec<String> {
    let mut child = Command::new("tar").arg("-t").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = archive.to_vec();
    let feeding = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Runs a script of shell in a mount namespace of its own; what it printed.
fn in_namespace(script: &str, arguments: &[&OsStr]) -> String {
    let output = Command::new("unshare").args(["-m", "sh", "-euc", script, "sh"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
