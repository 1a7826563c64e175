//! A program that runs beside the test.

use std::{
    io::Read,
    os::fd::OwnedFd,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Finished, allowed, wait::wait_until};

/// A program that was started. Killed when dropped, so no test leaves one behind.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    /// Its standard input, if it has a pipe; close it with `take()`.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if the test reads it itself.
    pub stdout: Option<ChildStdout>,
    collected: Collected,
    limit: Duration,
}

#[derive(Debug, Default)]
struct Collected {
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    /// Starts `command`. Standard error, and standard output unless `by_hand`, are read to their end from now on, so
    /// the program never waits for a reader.
    #[track_caller]
    pub(crate) fn start(mut command: Command, by_hand: bool, limit: Duration) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line = words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
        let stdin = child.stdin.take();
        let mut stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let collected = Collected {
            stdout: if by_hand { None } else { stdout.take().map(|pipe| collect(pipe.into())) },
            stderr: stderr.map(|pipe| collect(pipe.into())),
        };
        Self { line, child, stdin, stdout, collected, limit: allowed(limit) }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal; one that has ended gets none.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("look at a child").is_none()
    }

    /// Reads standard output (of a program started so that the test reads it) until `text` was in it.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) -> Vec<u8> {
        let stdout = self.stdout.as_mut().expect("this program's standard output is read by the test");
        let mut read = Vec::new();
        let mut byte = [0];
        while !read.ends_with(text.as_bytes()) {
            match stdout.read(&mut byte) {
                Ok(1) => read.push(byte[0]),
                other => panic!("{}: {other:?} before {text:?}, after {:?}", self.line, String::from_utf8_lossy(&read)),
            }
        }
        read
    }

    /// Waits for its end. One that does not end in time is killed and fails the test.
    #[track_caller]
    pub fn wait(mut self) -> Finished {
        drop(self.stdin.take());
        if let Some(mut stdout) = self.stdout.take() {
            self.collected.stdout = Some(thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stdout.read_to_end(&mut bytes);
                bytes
            }));
        }
        let ended = wait_until(&mut self.child, Instant::now() + self.limit);
        let hangs = ended.is_none();
        if hangs {
            self.dump_stack();
            self.signal(Signal::KILL);
        }
        let status = ended.unwrap_or_else(|| self.child.wait().expect("wait for a killed child"));
        let read = |thread: Option<JoinHandle<Vec<u8>>>| thread.map_or_else(Vec::new, |thread| thread.join().unwrap());
        let stdout = read(self.collected.stdout.take());
        let stderr = read(self.collected.stderr.take());
        let finished = Finished::new(self.line.clone(), status, stdout, stderr);
        assert!(!hangs, "hung for {:?} and was killed\n{}", self.limit, finished.transcript());
        finished
    }

    /// Waits for its end, at most so long. Whether it has ended.
    pub fn wait_at_most(&mut self, time: Duration) -> bool {
        wait_until(&mut self.child, Instant::now() + time).is_some()
    }

    /// Kills it (SIGKILL) when it has run for so long. Whether it still ran then.
    #[allow(clippy::must_use_candidate, reason = "often it does not matter")]
    pub fn kill_after(mut self, time: Duration) -> bool {
        let has_ended = self.wait_at_most(time);
        self.signal(Signal::KILL);
        let _ = self.wait();
        !has_ended
    }

    /// Where it waits in the kernel, for whoever reads why it hung.
    fn dump_stack(&self) {
        let pid = self.child.id();
        for file in ["wchan", "stack", "syscall"] {
            let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            eprintln!("{} hangs, {file}: {text}", self.line);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(pipe: OwnedFd) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A half is better than none in a report.
        let _ = std::fs::File::from(pipe).read_to_end(&mut bytes);
        bytes
    })
}
