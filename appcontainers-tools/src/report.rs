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
