//! What a program says on its standard error while it works on files: the first of it, for it may say any amount.

use std::{
    io::{self, PipeReader, Read},
    thread::{self, JoinHandle},
};

/// Most that is worth telling, in bytes.
const MOST_BYTES: u64 = 4096;

/// Takes all that is said, and keeps the first of it.
pub(super) struct Listener(JoinHandle<Vec<u8>>);

/// The lines that were said, without control characters.
#[derive(Debug, Default)]
pub(super) struct Said(Vec<String>);

impl Listener {
    /// Listens until nobody is left who may say something.
    pub(super) fn start(said: impl Read + Send + 'static) -> Self {
        Self(thread::spawn(move || listen(said)))
    }

    /// A listener, and where to say something.
    pub(super) fn with_pipe() -> io::Result<(Self, io::PipeWriter)> {
        let (reader, writer): (PipeReader, _) = io::pipe()?;
        Ok((Self::start(reader), writer))
    }

    /// Waits for the end.
    pub(super) fn finish(self) -> Said {
        let bytes = self.0.join().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().map(|line| line.strip_prefix("appc-agent: ").unwrap_or(line));
        Said(lines.map(|line| line.replace(char::is_control, "?")).collect())
    }
}

impl Said {
    /// All of it on one line; none if nothing was said.
    pub(super) fn line(&self) -> Option<String> {
        Some(self.0.join("; ")).filter(|line| !line.is_empty())
    }

    /// Passes it on as warnings: what was left out, for example.
    pub(super) fn warn(&self) {
        for line in &self.0 {
            tracing::warn!("{line}");
        }
    }
}

fn listen(mut said: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    // What can't be read was not said.
    let _ = (&mut said).take(MOST_BYTES).read_to_end(&mut kept);
    let _ = io::copy(&mut said, &mut io::sink());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_it_is_kept_on_one_line_without_what_a_terminal_would_obey() {
        let said = Listener::start(&b"appc-agent: one \x1b[2J\nappc-agent: two\n"[..]).finish();
        assert_eq!(said.line().unwrap(), "one ?[2J; two");
        assert_eq!(Listener::start(&b""[..]).finish().line(), None);
        let long = Listener::start(io::repeat(b'x').take(10_000_000)).finish();
        assert_eq!(long.line().unwrap().len(), 4096);
    }
}
