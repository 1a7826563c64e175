//! One thing that setting up, or undoing it, did to the host.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use ipnetwork::Ipv4Network;
use serde::Serialize;

use crate::ContainerName;

/// What was changed on the host, in the past tense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Change {
    /// A directory was made.
    DirectoryCreated {
        /// Where.
        path: PathBuf,
    },
    /// A directory had another mode.
    ModeSet {
        /// Which one.
        path: PathBuf,
        /// Its mode now.
        mode: u32,
    },
    /// Root got subordinate ids.
    IdsGranted {
        /// `/etc/subuid` or `/etc/subgid`.
        path: PathBuf,
        /// The first id.
        base: u32,
        /// How many.
        count: u32,
    },
    /// Root's subordinate ids that setup had added were taken back.
    IdsTakenBack {
        /// `/etc/subuid` or `/etc/subgid`.
        path: PathBuf,
        /// The first id.
        base: u32,
        /// How many.
        count: u32,
    },
    /// A default skeleton was written.
    SkeletonInstalled {
        /// Where.
        path: PathBuf,
    },
    /// Containers get their addresses from here.
    SubnetChosen {
        /// The network.
        subnet: Ipv4Network,
    },
    /// The bridge that holds the gateway's address was made.
    BridgeCreated {
        /// Its name.
        name: String,
        /// The gateway's address.
        gateway: Ipv4Addr,
    },
    /// The bridge was removed.
    BridgeRemoved {
        /// Its name.
        name: String,
    },
    /// The firewall's table was loaded.
    FirewallLoaded {
        /// Its name, in the family inet.
        table: String,
    },
    /// Elements of the firewall's sets were brought back, and strange ones taken out.
    FirewallMended {
        /// The table's name, in the family inet.
        table: String,
        /// How many were missing.
        added: usize,
        /// How many belonged to no rule.
        removed: usize,
    },
    /// The host's route to a container that runs was brought back.
    RouteAdded {
        /// The container.
        container: ContainerName,
        /// Its address.
        address: IpAddr,
    },
    /// The kernel got the AppArmor profile that containers have.
    ProfileLoaded {
        /// Its name.
        profile: &'static str,
    },
    /// The firewall's table was removed.
    FirewallRemoved {
        /// Its name, in the family inet.
        table: String,
    },
    /// The host forwards packets between its interfaces.
    ForwardingEnabled,
    /// The host forwards packets no longer, as before setup.
    ForwardingDisabled,
    /// The host forwards IPv6 packets between its interfaces.
    Forwarding6Enabled,
    /// The host forwards IPv6 packets no longer, as before setup.
    Forwarding6Disabled,
    /// A file or a directory with all that was in it is gone.
    Removed {
        /// Which one.
        path: PathBuf,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DirectoryCreated { path } => write!(f, "created directory {}", path.display()),
            Self::ModeSet { path, mode } => write!(f, "set mode {mode:04o} of {}", path.display()),
            Self::IdsGranted { path, base, count } => {
                write!(f, "gave root {count} subordinate ids from {base} on in {}", path.display())
            }
            Self::IdsTakenBack { path, base, count } => {
                write!(f, "took root's {count} subordinate ids from {base} on out of {}", path.display())
            }
            Self::SkeletonInstalled { path } => write!(f, "installed skeleton {}", path.display()),
            Self::SubnetChosen { subnet } => write!(f, "containers get addresses of {subnet}"),
            Self::BridgeCreated { name, gateway } => write!(f, "created bridge {name} with address {gateway}"),
            Self::BridgeRemoved { name } => write!(f, "removed bridge {name}"),
            Self::FirewallLoaded { table } => write!(f, "loaded firewall table inet {table}"),
            Self::FirewallRemoved { table } => write!(f, "removed firewall table inet {table}"),
            Self::FirewallMended { table, added, removed } => {
                write!(f, "mended firewall table inet {table}: {added} elements added, {removed} removed")
            }
            Self::RouteAdded { container, address } => {
                write!(f, "added the route to {address} of container {container}")
            }
            Self::ProfileLoaded { profile } => write!(f, "loaded AppArmor profile {profile}"),
            Self::ForwardingEnabled => f.write_str("set net.ipv4.ip_forward to 1"),
            Self::ForwardingDisabled => f.write_str("set net.ipv4.ip_forward back to 0"),
            Self::Forwarding6Enabled => f.write_str("set net.ipv6.conf.all.forwarding to 1"),
            Self::Forwarding6Disabled => f.write_str("set net.ipv6.conf.all.forwarding back to 0"),
            Self::Removed { path } => write!(f, "removed {}", path.display()),
        }
    }
}
