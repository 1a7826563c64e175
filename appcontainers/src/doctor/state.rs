//! Checks of what appc keeps: directories, ids, reservations, network, leftovers.

use std::{collections::HashSet, os::unix::fs::MetadataExt, path::Path};

use super::{Check, leftovers};
use crate::{
    Paths, Service,
    error::chain,
    network::{HostNetwork, ReservationError, Reservations, SubordinateIds},
    setup,
};

const SET_UP: &str = "run: appc setup";

pub(super) fn directories(paths: &Paths) -> Check {
    const NAME: &str = "directories";
    for (path, mode) in setup::layout(paths) {
        match setup::mode_of(&path) {
            Ok(found) if found == mode => {}
            Ok(found) => {
                let detail = format!("{} has mode {found:04o}, not {mode:04o}", path.display());
                return Check::unfit(NAME, detail, SET_UP);
            }
            Err(error) => return Check::unfit(NAME, format!("{}: {error}", path.display()), SET_UP),
        }
    }
    // Containers' ids are other users to the host: they must get through to their files.
    let closed = |path: &&Path| path.metadata().is_ok_and(|metadata| metadata.mode() & 0o001 == 0);
    match paths.root().ancestors().chain(paths.run().ancestors()).find(closed) {
        Some(path) => {
            let detail = format!("{} does not let containers' ids through", path.display());
            Check::unfit(NAME, detail, format!("run: chmod o+x {}", path.display()))
        }
        None => Check::fit(NAME, format!("{}, {}", paths.root().display(), paths.run().display())),
    }
}

pub(super) fn subordinate_ids(paths: &Paths) -> Check {
    const NAME: &str = "subordinate-ids";
    let pool = match Reservations::read(paths) {
        Ok(reservations) => reservations.settings().id_pool,
        Err(_) => return Check::unfit(NAME, "no ids are set aside for containers", SET_UP),
    };
    let (first, last) = (pool.base, pool.base.saturating_add(pool.count) - 1);
    match SubordinateIds::of_host() {
        Ok(ids) if ids.grants_all(&setup::wide(&pool)) => Check::fit(NAME, format!("{first} to {last}")),
        Ok(_) => {
            let detail = format!("/etc/subuid and /etc/subgid don't give root ids {first} to {last} alone");
            Check::unfit(NAME, detail, SET_UP)
        }
        Err(error) => Check::unfit(NAME, chain(&error), SET_UP),
    }
}

pub(super) fn reservations(paths: &Paths) -> Check {
    const NAME: &str = "reservations";
    let reservations = match Reservations::read(paths) {
        Ok(reservations) => reservations,
        Err(ReservationError::NotSetUp { path }) => {
            return Check::unfit(NAME, format!("{} is missing", path.display()), SET_UP);
        }
        Err(error) => return Check::unfit(NAME, chain(&error), "restore the file from a backup"),
    };
    let all = reservations.list();
    let (mut ips, mut macs, mut ranges) = (HashSet::new(), HashSet::new(), HashSet::new());
    let is_double = |one: &&crate::network::Reservation| {
        let ip = ips.insert(one.ip);
        let mac = macs.insert(one.mac);
        let range = one.id_range.is_none_or(|range| ranges.insert(range));
        !(ip && mac && range)
    };
    match all.iter().find(is_double) {
        Some(one) => {
            let detail = format!("{} holds an address, a MAC or an id range that another container holds", one.name);
            Check::unfit(NAME, detail, format!("save what is in it, then: appc rm -f {}", one.name))
        }
        None => Check::fit(NAME, format!("{} of {}", all.len(), reservations.settings().subnet)),
    }
}

pub(super) fn containers(paths: &Paths) -> Check {
    const NAME: &str = "containers";
    let containers = match Service::open(paths.clone()).containers() {
        Ok(containers) => containers,
        Err(error) => return Check::warning(NAME, chain(&error), "when that is mended: appc doctor again"),
    };
    match some_of(containers.iter().filter(|one| one.details.is_err()).map(|one| &one.name)) {
        None => Check::fit(NAME, format!("{}, all readable", containers.len())),
        Some(detail) => {
            let mend = "restore their container.json from a backup, or remove them: appc rm -f NAME; appc ls says more";
            Check::unfit(NAME, format!("can't be read: {detail}"), mend)
        }
    }
}

pub(super) fn network(paths: &Paths) -> Check {
    const NAME: &str = "network";
    let faults = match HostNetwork::examine(paths) {
        Ok(faults) => faults,
        Err(error) => return Check::unfit(NAME, chain(&error), SET_UP),
    };
    match faults {
        Some(faults) if faults.is_empty() => match HostNetwork::find(paths) {
            Ok(Some(up)) => Check::fit(NAME, format!("{}, gateway {}", up.subnet, up.gateway)),
            Ok(None) => Check::warning(NAME, "is being changed", "run: appc doctor again"),
            Err(error) => Check::unfit(NAME, chain(&error), SET_UP),
        },
        Some(faults) => {
            let shown: Vec<_> = faults.iter().take(3).map(ToString::to_string).collect();
            let more = faults.len().checked_sub(4).map_or_else(String::new, |more| format!("; {} more", more + 1));
            Check::warning(NAME, shown.join("; ") + &more, SET_UP)
        }
        // As after a reboot: the next start brings it back.
        None if paths.resources().exists() => {
            Check::warning(NAME, "is not up; the next start sets it up", "now: appc setup")
        }
        None => Check::unfit(NAME, "is not set up", SET_UP),
    }
}

pub(super) fn leftovers(paths: &Paths) -> Check {
    const NAME: &str = "leftovers";
    let garbage = match Service::open(paths.clone()).gc(true) {
        Ok(garbage) => garbage,
        Err(error) => return Check::warning(NAME, chain(&error), "when that is mended: appc gc"),
    };
    // Layers that nothing uses any more are a store's, and no sign of anything that went wrong.
    let left = garbage.iter().filter(|item| !matches!(item.kind, "layer" | "mount"));
    match some_of(left) {
        None => Check::fit(NAME, "none"),
        Some(detail) => Check::warning(NAME, detail, "run: appc gc"),
    }
}

pub(super) fn lost_reservations(paths: &Paths) -> Check {
    const NAME: &str = "lost-reservations";
    match leftovers::unreserved(paths) {
        Ok(names) => match some_of(&names) {
            None => Check::fit(NAME, "none"),
            Some(detail) => {
                let mend =
                    "restore resources.json and resources.journal from a backup, or remove them: appc rm -f NAME";
                Check::unfit(NAME, format!("containers without an address: {detail}"), mend)
            }
        },
        Err(error) => Check::warning(NAME, chain(&error), "run: appc doctor again"),
    }
}

pub(super) fn unowned(paths: &Paths) -> Check {
    const NAME: &str = "stray-processes";
    match leftovers::unowned(paths) {
        Ok(names) => match some_of(&names) {
            None => Check::fit(NAME, "none"),
            Some(detail) => {
                let mend = "end the processes that /sys/fs/cgroup/*/CGROUP/**/cgroup.procs lists, then: appc gc";
                Check::warning(NAME, format!("of no container's start: {detail}"), mend)
            }
        },
        Err(error) => Check::warning(NAME, chain(&error), "run: appc doctor again"),
    }
}

/// How many there are and the first of them; `None` if there are none.
fn some_of<T: ToString>(items: impl IntoIterator<Item = T>) -> Option<String> {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    let shown = items.get(..5.min(items.len()))?.join(", ");
    let more = if items.len() > 5 { ", …" } else { "" };
    (!items.is_empty()).then(|| format!("{}: {shown}{more}", items.len()))
}
