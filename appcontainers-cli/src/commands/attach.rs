//! `appc attach`

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use anyhow::Context as _;
use appcontainers::{AttachStreams, process::ProcessRef};

use super::ends;
use crate::{context::Context, stdio};

/// Watch a process: all that it has printed and prints, until it has ended; then exit as it did
///
/// Any number of watchers get every byte. None of them holds the process up; one that is slower than the log is long is
/// told how much it has missed. Ctrl-C ends the watching, not the process.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc attach web
  appc attach $(appc spawn -- make)

Exit codes: as those of 'appc wait'.")]
pub(crate) struct Args {
    /// The process, by number or name
    #[arg(value_name = "PROCESS")]
    process: ProcessRef,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<u8> {
        let container = context.container(None)?;
        let copy = |stream: io::Result<OwnedFd>| stream.context("cannot use the standard streams").map(Into::into);
        let streams = AttachStreams {
            stdout: copy(io::stdout().as_fd().try_clone_to_owned())?,
            stderr: copy(io::stderr().as_fd().try_clone_to_owned())?,
        };
        let dropped =
            |bytes| stdio::note(&format!("{bytes} bytes of the container's log were gone before they were read"));
        let attached = container.attach(&self.process, streams, dropped);
        ends::code(&container, &self.process, &stdio::unless_closed(attached)?)
    }
}
