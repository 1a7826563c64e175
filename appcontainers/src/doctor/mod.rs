//! Looks at the host and at the state, changes nothing, and says how to mend what is wrong.

mod check;
mod firewall;
mod gateway;
mod host;
mod leftovers;
mod life;
mod network;
mod probe;
mod secrets;
mod state;

pub use check::{Check, Verdict};

use crate::Paths;

/// All checks, the host's first. Needs root for most; starts no container.
pub fn examine(paths: &Paths) -> Vec<Check> {
    let mut checks = vec![host::root()];
    checks.extend(probe::checks(paths));
    checks.push(host::cgroups());
    checks.push(host::lxc());
    checks.push(host::seccomp());
    checks.push(host::apparmor());
    checks.extend(host::programs());
    checks.push(host::own_programs());
    checks.push(state::directories(paths));
    checks.push(state::subordinate_ids(paths));
    checks.push(state::reservations(paths));
    checks.push(state::containers(paths));
    checks.push(state::network(paths));
    checks.push(firewall::check(paths));
    checks.extend(gateway::check(paths));
    checks.extend(network::nft_version());
    checks.push(network::resolvers(paths));
    checks.push(network::router_advertisements());
    checks.push(network::connections());
    checks.extend(secrets::check(paths));
    checks.push(state::leftovers(paths));
    checks.push(state::lost_reservations(paths));
    checks.push(state::unowned(paths));
    checks.extend(life::restarts(paths));
    checks
}
