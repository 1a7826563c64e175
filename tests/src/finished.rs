//! A program that has ended, and what it said.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

/// How a program ended and what it wrote.
#[derive(Debug, Clone)]
#[must_use = "a command that fails unseen makes a test that tests nothing"]
pub struct Finished {
    /// The command line.
    pub line: String,
    /// Its exit code, or 128 + N if signal N ended it, as a shell says.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    pub(crate) fn new(line: String, status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8>) -> Self {
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        let finished = Self { line, code, stdout, stderr };
        eprintln!("{}", finished.transcript());
        finished
    }

    /// Fails the test unless the exit code is 0. Gives standard output without the last line end.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "often only the success matters")]
    pub fn succeeds(self) -> String {
        assert_eq!(self.code, 0, "{}", self.transcript());
        self.text()
    }

    /// Fails the test unless this is the exit code. Gives standard error.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "often only the code matters")]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}", self.transcript());
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Fails the test unless the exit code is `code` and standard error is one line `appc: …` with all of `words`.
    #[track_caller]
    pub fn refuses(self, code: i32, words: &[&str]) {
        let transcript = self.transcript();
        let said = self.fails(code);
        let errors: Vec<_> = said.lines().filter(|line| !line.starts_with("container ")).collect();
        assert_eq!(errors.len(), 1, "an error is one line\n{transcript}");
        for word in words {
            assert!(said.contains(word), "the error does not say {word:?}\n{transcript}");
        }
    }

    /// Standard output as text, without the last line end.
    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.stdout).into_owned();
        text.strip_suffix('\n').map_or(text.clone(), str::to_owned)
    }

    /// The command, its code and the beginning of its output, for whoever reads why a test failed.
    pub fn transcript(&self) -> String {
        let [stdout, stderr] = [&self.stdout, &self.stderr].map(|bytes| shown(bytes));
        format!("$ {}\n[{}] stdout: {stdout}\n    stderr: {stderr}", self.line, self.code)
    }
}

fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 4000;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]);
    let more = if bytes.len() > MOST { format!(" … ({} bytes)", bytes.len()) } else { String::new() };
    format!("{}{more}", text.trim_end())
}
