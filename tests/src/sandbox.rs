//! A test's body in a process, namespaces and directories of its own.
//!
//! ```text
//! libtest's thread:  makes directories -> unshare … sh sandbox.sh THIS-PROGRAM --exact TEST -> waits, prints, removes
//! the same test in the sandbox: finds APPC_TEST_DIRECTORY set -> the body -> the check for left-overs
//! ```

use std::{
    any::type_name_of_val,
    env,
    fs::{self, Permissions},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Host, allowed, leaks, wait::wait_until};

/// Names the test's directory to the process in the sandbox.
const DIRECTORY_VARIABLE: &str = "APPC_TEST_DIRECTORY";

/// Names the directory of the built programs.
const PROGRAMS_VARIABLE: &str = "APPC_BIN_DIR";

/// What a suite needs of the host beside the programs under test.
const TOOLS: &[&str] = &["unshare", "setsid", "mount", "umount", "ip", "nft", "losetup", "tar", "busybox"];

/// How long a test may take unless it says otherwise.
const TEST_LIMIT: Duration = Duration::from_secs(120);

/// Runs a test's body in a sandbox, at most two minutes.
#[track_caller]
pub fn in_sandbox(body: impl FnOnce(&Host)) {
    in_sandbox_for(TEST_LIMIT, body);
}

/// As [`in_sandbox`], with a limit of its own.
#[track_caller]
pub fn in_sandbox_for(limit: Duration, body: impl FnOnce(&Host)) {
    let test = test_name(&body);
    match env::var_os(DIRECTORY_VARIABLE) {
        Some(directory) => {
            let host = Host::new(Path::new(&directory), &programs());
            body(&host);
            host.tear_down();
        }
        None => enter(&test, allowed(limit)),
    }
}

/// The name by which libtest knows the test that has `body` as a closure: its path less the crate's name.
fn test_name<T>(body: &T) -> String {
    let path = type_name_of_val(body);
    let path = path.split_once("::").map_or(path, |(_, path)| path);
    path.split("::{{closure}}").next().unwrap_or(path).to_owned()
}

/// Starts this test anew in a sandbox, waits for it and removes what it has made.
#[track_caller]
fn enter(test: &str, limit: Duration) {
    check_host();
    let directories = Directories::new();
    let log = directories.base.path().join("test.log");
    let output = fs::File::create(&log).expect("create the test's log");
    let script = directories.base.path().join("sandbox.sh");
    fs::write(&script, include_str!("sandbox.sh")).expect("write sandbox.sh");

    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--propagation=private", "--"]);
    command.arg("sh").arg(&script).arg(env::current_exe().expect("this test's own program"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1", "--include-ignored"]);
    command.env(DIRECTORY_VARIABLE, directories.base.path());
    command.stdin(Stdio::null());
    command.stdout(output.try_clone().expect("share the test's log")).stderr(output);
    let mut sandbox = command.spawn().expect("run unshare");
    let status = wait_until(&mut sandbox, Instant::now() + limit);
    if status.is_none() {
        println!("{test} hangs; these processes are in its sandbox:\n{}", processes_below(sandbox.id()));
        let _ = sandbox.kill();
        let _ = sandbox.wait();
    }
    let said = fs::read(&log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let passed = status.is_some_and(|status| status.success());
    // libtest shows it if the test fails, or is asked to (--show-output).
    println!("{said}");
    if !passed {
        println!("{}", directories.logs());
    }
    let left = leaks::clean_up(&directories.paths());
    assert!(status.is_some(), "{test} did not end within {limit:?}");
    assert!(passed, "{test} failed in its sandbox, more above: {}", panic_of(&said));
    assert!(said.contains("1 passed"), "{test} was not found by its name:\n{said}");
    assert!(left.is_empty(), "{test} left behind: {}", left.join(", "));
}

/// What the test said when it panicked, with what it had just done: whoever sees only the end of a long log sees the cause.
fn panic_of(said: &str) -> String {
    const LINES_BEFORE: usize = 8;
    const LINES: usize = 40;
    let lines: Vec<_> = said.lines().collect();
    let is_panic = |line: &&str| line.starts_with("thread '") && line.contains("panicked at");
    let first = lines.iter().position(is_panic).unwrap_or(lines.len());
    let shown = lines.iter().skip(first.saturating_sub(LINES_BEFORE)).take(LINES);
    shown.take_while(|line| **line != "stack backtrace:").map(|line| format!("\n| {line}")).collect()
}

/// Names what is missing.
fn check_host() {
    assert!(rustix::process::geteuid().is_root(), "these tests need root: sudo make test");
    let missing: Vec<_> = TOOLS.iter().filter(|tool| find_in_path(tool).is_none()).collect();
    assert!(missing.is_empty(), "these tests need programs that are not there: {missing:?}; run: make deps");
    for file in ["/proc/self/ns/net", "/proc/self/ns/user", "/sys/fs/cgroup", "/dev/loop-control"] {
        assert!(Path::new(file).exists(), "these tests need a kernel with {file}");
    }
    let _ = programs();
}

/// The directory of the programs under test.
fn programs() -> PathBuf {
    let directory = env::var_os(PROGRAMS_VARIABLE).map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| {
        panic!("{PROGRAMS_VARIABLE} has to name the directory of the programs under test; `make test` does")
    });
    for program in ["appc", "appc-monitor", "appc-agent"] {
        let path = directory.join(program);
        assert!(path.is_file(), "{} is not there: make build", path.display());
    }
    directory
}

fn find_in_path(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let found = env::split_paths(&path).map(|directory| directory.join(tool)).find(|file| file.is_file());
    found.or_else(|| Some(Path::new("/usr/sbin").join(tool)).filter(|file| file.is_file()))
}

/// The test's directories, removed with it.
struct Directories {
    /// State and scratch files, on a disk.
    base: TempDir,
    /// `APPC_RUN`: a short path, as sockets want it.
    run: TempDir,
}

impl Directories {
    fn new() -> Self {
        let make = |parent: &str, prefix: &str| {
            let directory = tempfile::Builder::new().prefix(prefix).tempdir_in(parent);
            let directory = directory.unwrap_or_else(|error| panic!("cannot make a directory in {parent}: {error}"));
            // A container's root is a stranger: it has to pass through.
            fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).expect("set a mode");
            directory
        };
        let base = make("/var/tmp", "appc-test-");
        let run = make("/run", "appc-test-");
        std::os::unix::fs::symlink(run.path(), base.path().join("run")).expect("make a symbolic link");
        Self { base, run }
    }

    fn paths(&self) -> appcontainers::Paths {
        appcontainers::Paths::new(self.base.path().join("root"), self.run.path())
    }

    /// What monitors and LXC have said.
    fn logs(&self) -> String {
        let mut text = String::new();
        let mut directories = vec![self.run.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && entry.file_name() != "rootfs" => directories.push(path),
                    Ok(kind) if kind.is_file() && path.extension().is_some_and(|extension| extension == "log") => {
                        let mut said = Vec::new();
                        let _ = fs::File::open(&path).and_then(|file| file.take(20_000).read_to_end(&mut said));
                        text += &format!("--- {}\n{}\n", path.display(), String::from_utf8_lossy(&said));
                    }
                    _ => {}
                }
            }
        }
        text
    }
}

/// The processes whose ancestor is `ancestor`, one a line.
fn processes_below(ancestor: u32) -> String {
    let mut lines = Vec::new();
    let mut parents = vec![ancestor];
    while let Some(parent) = parents.pop() {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let read = |file: &str| fs::read(format!("/proc/{child}/{file}")).unwrap_or_default();
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let waits = String::from_utf8_lossy(&read("wchan")).into_owned();
            lines.push(format!("{child} (parent {parent}, in {waits}): {line}"));
            parents.push(child);
        }
    }
    lines.join("\n")
}
