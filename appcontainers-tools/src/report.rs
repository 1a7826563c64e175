//! The agent's own lines on stdout and stderr. That nobody reads them is no failure.

use std::{
    fmt,
    io::{self, Write},
};

/// One line on stdout.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    drop(writeln!(io::stdout(), "appc-agent {text}"));
}

/// One line on stderr, in one write, so that lines of several processes do not mix.
pub(crate) fn error(text: fmt::Arguments<'_>) {
    drop(io::stderr().write_all(format!("appc-agent: {text}\n").as_bytes()));
}

/// How many notes are said.
const MOST_NOTES: u64 = 10;

/// Notes on single files: the first few are said, and how many more there are. A tree can have any number.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    count: u64,
}

impl Notes {
    /// Says it, unless enough is said.
    pub(crate) fn add(&mut self, text: fmt::Arguments<'_>) {
        self.count += 1;
        if self.count <= MOST_NOTES {
            error(text);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Says how many were not said.
    pub(crate) fn finish(&self) {
        if self.count > MOST_NOTES {
            error(format_args!("and {} more", self.count - MOST_NOTES));
        }
    }
}
