//! Who may connect to whom: the rules of each container, and what the kernel and the containers know of them.
//!
//! ```text
//! containers/NAME/network.json   what is granted; the truth          (file)
//! grants                         what follows from it                (grant, pure)
//! the nftables table             its elements, container by container (change, activity)
//! /etc/hosts in containers       whom each may reach, by name         (hosts)
//! ```
//!
//! All of it is written with the host's lock held. A change is marked first in the run directory; a table that a killed
//! command left behind is made anew from the files by the next one (see [`super::HostNetwork::find`]).

mod activity;
mod change;
mod file;
mod grant;
mod hosts;
mod look;
mod rule;
mod view;

pub(crate) use activity::host_interface;
pub(super) use activity::{AtBridge, all_elements, at_bridge, attachment};
pub use activity::{activate, admit_loopback, deactivate, is_active};
pub use change::{PolicyChange, PolicyError};
pub use file::NetworkPolicy;
pub use grant::Addresses;
pub(super) use hosts::refresh_all as refresh_all_hosts;
pub(crate) use hosts::{compose as compose_hosts, rebase as rebase_hosts};
pub(crate) use look::{all_counted_rules, all_rules, counted_rules_of};
pub use rule::{
    Allow, Client, Egress, InvalidEgress, InvalidPort, InvalidPublication, InvalidRange, Link, MOST_PUBLISHED_PORTS,
    Peer, Port, PortRange, Protocol, Publication,
};
pub use view::{CountedRule, Rule, RuleKind};
