//! What a new container may use of the host.

use appcontainers::limits::{LimitChange, Limits};

/// Limits, one or many.
#[derive(Debug, Default, clap::Args)]
pub(super) struct LimitArgs {
    /// Limit what it may use, as memory=512M: memory, cpus, cpuset, pids, io.read, io.write, net.egress, net.ingress, nofile ('appc
    /// set --help' says of what); may be said again
    #[arg(long = "limit", value_name = "KEY=VALUE")]
    limits: Vec<LimitChange>,
}

impl LimitArgs {
    pub(super) fn into_limits(self) -> Limits {
        let mut limits = Limits::default();
        self.limits.iter().for_each(|limit| limits.apply(limit));
        limits
    }
}
