//! `appc zmq-proxy`

use std::{ffi::OsString, path::PathBuf};

use appcontainers::{TcpEndpoint, ZmqProxyOptions};

use crate::context::Context;

/// Offer the containers' output and events to other machines, over ZeroMQ with CURVE
///
/// Publishes what all running containers print and what happens to them, and answers requests for it at the next port. It
/// runs until Ctrl-C. Both sides need keys: it prints its public one, by which clients know it, and lets those connect that
/// --allow names, and nobody without it. docs/zeromq.md describes the messages.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc zmq-key --output proxy.key      # prints the public key, for clients
  appc zmq-proxy tcp://*:5555 --keys proxy.key --allow client.key
  appc zmq-proxy tcp://10.1.2.3:5555 --allow 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7'")]
pub(crate) struct Args {
    /// Listen here, and at the next port for requests
    #[arg(value_name = "tcp://ADDRESS:PORT")]
    endpoint: TcpEndpoint,
    /// This side's key pair, as zmq-key writes it [default: a new one each time]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// A client that may connect: its public key, or a file that has it; may be repeated
    #[arg(long, value_name = "KEY|FILE", allow_hyphen_values = true)]
    allow: Vec<OsString>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let Self { endpoint, keys, allow } = self;
        let options = ZmqProxyOptions { endpoint, keys, allow, json: context.json };
        match context.service.zmq_proxy(&options)? {}
    }
}
