//! `appc logs`

use std::{
    collections::HashMap,
    io::{self, Write as _},
};

use anyhow::{Context as _, bail};
use appcontainers::{LogPiece, LogQuery, Stream, output::Record, process::ProcessRef};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use super::values;
use crate::{context::Context, stdio};

/// Print what a container's processes have printed
///
/// What went to standard output and standard error comes out there again. The log keeps about 256 MiB and outlives stops
/// of the container.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc logs -f
  appc logs --process web --stream stderr --since 10m
  appc logs --tail 20 --timestamps")]
pub(crate) struct Args {
    /// Go on with what is printed from now on
    #[arg(short, long)]
    follow: bool,
    /// Only since a time (RFC 3339) or so long ago (90s, 10m, 2h)
    #[arg(long, value_name = "TIME", value_parser = values::since)]
    since: Option<Timestamp>,
    /// Only so many of the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
    /// Only of this process, by number or name
    #[arg(long, value_name = "PROCESS")]
    process: Option<ProcessRef>,
    /// Only of this stream
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    /// Begin each line with its time
    #[arg(long)]
    timestamps: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StreamName {
    Stdout,
    Stderr,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        if self.timestamps && context.json {
            bail!("--timestamps is for text; each object of --json has its time");
        }
        let container = context.container(None)?;
        let process = self.process.as_ref().map(|which| container.process(which)).transpose()?;
        let query = LogQuery {
            process: process.map(|record| record.id),
            stream: self.stream.map(|stream| match stream {
                StreamName::Stdout => Stream::Stdout,
                StreamName::Stderr => Stream::Stderr,
            }),
            since: self.since,
            tail: self.tail,
        };
        let mut printer = Printer { json: context.json, timestamps: self.timestamps, unfinished: HashMap::new() };
        let mut logs = container.logs(query)?;
        loop {
            while let Some(piece) = logs.next_piece()? {
                match piece {
                    LogPiece::Output(record) => printer.print(&record)?,
                    LogPiece::Dropped { bytes } => {
                        stdio::note(&format!("{bytes} bytes of the container's log were gone before they were read"));
                    }
                }
            }
            if !self.follow {
                return Ok(());
            }
            logs.wait(None)?;
        }
    }
}

/// One piece of output, as JSON.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    process: u32,
    stream: Stream,
    offset: u64,
    time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

struct Printer {
    json: bool,
    timestamps: bool,
    /// The streams that are in the middle of a line.
    unfinished: HashMap<(u32, Stream), bool>,
}

impl Printer {
    fn print(&mut self, record: &Record<'_>) -> anyhow::Result<()> {
        let header = &record.header;
        let time = Timestamp::from_nanosecond(i128::from(header.time_ns)).context("a record of the log has no time")?;
        if self.json {
            let text = std::str::from_utf8(record.payload).ok();
            let base64 = text.is_none().then(|| BASE64_STANDARD.encode(record.payload));
            let (process, stream, offset) = (header.process.0, header.stream, header.offset);
            let line = serde_json::to_string(&Printed { process, stream, offset, time, text, base64 })?;
            return stdio::print(&(line + "\n"));
        }
        if !self.timestamps {
            return write(header.stream, record.payload);
        }
        let unfinished = self.unfinished.entry((header.process.0, header.stream)).or_default();
        let mut lines = Vec::with_capacity(record.payload.len() * 2);
        for line in record.payload.split_inclusive(|byte| *byte == b'\n') {
            if !*unfinished {
                write!(lines, "{time:.6} ")?;
            }
            lines.extend_from_slice(line);
            *unfinished = !line.ends_with(b"\n");
        }
        write(header.stream, &lines)
    }
}

fn write(stream: Stream, bytes: &[u8]) -> anyhow::Result<()> {
    match stream {
        Stream::Stdout => stdio::write_to(&mut io::stdout().lock(), bytes),
        Stream::Stderr => stdio::write_to(&mut io::stderr().lock(), bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render;

    #[test]
    fn a_piece_has_the_documented_fields() {
        let time = "2026-01-02T03:04:05.6Z".parse().unwrap();
        let (text, base64) = (Some("ready\n"), None);
        render::assert_documented(
            "appc logs",
            &Printed { process: 3, stream: Stream::Stdout, offset: 0, time, text, base64 },
        );
    }
}
