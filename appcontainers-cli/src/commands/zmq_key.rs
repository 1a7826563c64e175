//! `appc zmq-key`

use std::path::PathBuf;

use crate::context::Context;

/// Make a key pair for zmq-proxy, or for a client of one
///
/// Writes it to a new file that only you can read, in the form of CZMQ's and pyzmq's certificates, and prints the public
/// key. Without --output, prints both keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc zmq-key --output proxy.key
  appc zmq-key --output client.key")]
pub(crate) struct Args {
    /// Write the key pair to this file, which must not be there yet
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        match context.service.zmq_key(self.output.as_deref(), context.json)? {}
    }
}
