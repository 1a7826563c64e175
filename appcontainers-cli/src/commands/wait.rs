//! `appc wait`

use std::time::Duration;

use anyhow::bail;
use appcontainers::process::ProcessRef;

use super::{ends, values};
use crate::context::Context;

/// Wait until a process has ended, and exit as it did
///
/// The end of one that has ended long ago is still known.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc wait 3 && echo 'it went well'

Exit codes: the process's own, 128+N where signal N ended it, 127 and 126 where it was not started,
125 where that is not known or appc itself failed.")]
pub(crate) struct Args {
    /// Wait no longer than this
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds)]
    timeout: Option<Duration>,
    /// The process, by number or name
    #[arg(value_name = "PROCESS")]
    process: ProcessRef,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<u8> {
        let container = context.container(None)?;
        match container.wait(&self.process, self.timeout)? {
            Some(end) => ends::code(&container, &self.process, &end),
            None => bail!("process {} has not ended; its container is {}", self.process, container.name()),
        }
    }
}
