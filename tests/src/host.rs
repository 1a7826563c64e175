//! A test's host: its directories, the programs under test, and what else it looks from.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use appcontainers::Paths;
use serde_json::Value;

use crate::{Console, Finished, LIMIT, Running, leaks, wait::settle};

/// One test's host, seen from within its sandbox.
#[derive(Debug)]
pub struct Host {
    paths: Paths,
    work: PathBuf,
    programs: PathBuf,
}

impl Host {
    /// The host whose files are in `base`, with the programs in `programs`.
    pub(crate) fn new(base: &Path, programs: &Path) -> Self {
        let run = fs::read_link(base.join("run")).expect("read the link to APPC_RUN");
        let work = base.join("work");
        fs::create_dir(&work).expect("make a directory for the test's files");
        Self { paths: Paths::new(base.join("root"), run), work, programs: programs.to_owned() }
    }

    /// Where `APPC_ROOT` and `APPC_RUN` are.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The directory of the programs under test.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// A program that a suite builds for itself, where that was done before: `APPC_TEST_PROGRAMS` names the directory that
    /// has all of them, for a host that has no Rust.
    pub fn built_before(&self, name: &str) -> Option<PathBuf> {
        let program = Path::new(&std::env::var_os("APPC_TEST_PROGRAMS")?).join(name);
        assert!(program.is_file(), "{} is not there, although APPC_TEST_PROGRAMS says so", program.display());
        Some(program)
    }

    /// Another installation on the same host and with the same files of the test: a root that knows nothing of this one.
    pub fn elsewhere(&self) -> Elsewhere {
        let beside = |path: &Path, name: &str| path.parent().expect("a test's directory").join(name);
        let run = self.paths.run().join("elsewhere");
        fs::create_dir(&run).expect("make another APPC_RUN");
        let paths = Paths::new(beside(self.paths.root(), "elsewhere"), run);
        Elsewhere { host: Self { paths, work: self.work.clone(), programs: self.programs.clone() } }
    }

    /// A path for a file of the test's own. Commands run in its directory, so that a name is enough.
    pub fn file(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.work.join(Path::new(name.as_ref()))
    }

    /// Runs `appc` to its end.
    #[track_caller]
    pub fn appc<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Finished {
        self.run("appc", arguments)
    }

    /// Runs `appc` with `--json` and gives what it printed.
    #[track_caller]
    pub fn json<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Value {
        let mut words = vec![OsStr::new("--json").to_owned()];
        words.extend(arguments.into_iter().map(|word| word.as_ref().to_owned()));
        let text = self.appc(words).succeeds();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON: {error}: {text}"))
    }

    /// Runs a program to its end.
    #[track_caller]
    pub fn run<I: IntoIterator<Item: AsRef<OsStr>>>(&self, program: &str, arguments: I) -> Finished {
        let mut command = self.command(program);
        command.args(arguments);
        Running::start(command, false, LIMIT).wait()
    }

    /// Runs a line of shell to its end.
    #[track_caller]
    pub fn sh(&self, line: &str) -> Finished {
        self.run("sh", ["-c", line])
    }

    /// Starts a program whose standard output the test reads and whose standard input it writes.
    #[track_caller]
    pub fn spawn<I: IntoIterator<Item: AsRef<OsStr>>>(&self, program: &str, arguments: I) -> Running {
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::piped());
        Running::start(command, true, LIMIT)
    }

    /// Starts a line of shell on a terminal of 24 lines of 80 characters.
    #[track_caller]
    pub fn console(&self, line: &str) -> Console {
        let mut command = self.command("sh");
        command.args(["-c", line]).env("TERM", "vt100");
        Console::start(&command, (24, 80))
    }

    /// Starts a command made by the test from [`Host::command`]; its output is collected for [`Running::wait`].
    #[track_caller]
    pub fn start_command(&self, command: Command, limit: Duration) -> Running {
        Running::start(command, false, limit)
    }

    /// A command of this host: `APPC_ROOT` and `APPC_RUN` are set, our programs are in `PATH`, nothing is on standard
    /// input.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", self.programs.display()));
        command.env("APPC_ROOT", self.paths.root()).env("APPC_RUN", self.paths.run());
        command.env_remove("APPC_CONTAINER").env_remove("RUST_LOG").env("RUST_BACKTRACE", "0").env("LC_ALL", "C");
        command.current_dir(&self.work).stdin(Stdio::null());
        command
    }

    /// Mounts a small disk at `path` until the guard goes.
    #[track_caller]
    pub fn small_disk(&self, path: &Path, size: &str) -> Disk {
        fs::create_dir_all(path).expect("make a mount point");
        let options = format!("size={size},mode=0711");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).status();
        assert!(mounted.is_ok_and(|status| status.success()), "cannot mount a tmpfs on {}", path.display());
        Disk { path: path.to_owned() }
    }

    /// Removes all there is and fails the test if something stays behind.
    pub(crate) fn tear_down(&self) {
        self.remove_all();
        let left = settle(|| leaks::find(&self.paths));
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }

    fn remove_all(&self) {
        if self.paths.root().exists() {
            for name in self.containers() {
                self.appc(["rm", "-f", &name]).succeeds();
            }
            self.appc(["gc"]).succeeds();
            self.appc(["setup", "--undo"]).succeeds();
        }
    }
}

/// Another installation. What it made is removed when this is dropped.
#[derive(Debug)]
pub struct Elsewhere {
    host: Host,
}

impl std::ops::Deref for Elsewhere {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.host.remove_all();
            let _ = fs::remove_dir_all(self.host.paths.run());
        }
    }
}

/// A small disk. Unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
