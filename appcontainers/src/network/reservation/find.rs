//! One reservation, without reading the others.

use std::net::Ipv4Addr;

use super::{PoolSettings, Reservation, ReservationError, Reservations, journal_path};
use crate::{
    ContainerName, Paths,
    network::{
        journal::{self, Change, Entry},
        record::{Held, Record},
        snapshot,
    },
};

/// What one container holds, and out of what reservations are made; takes as long with thousands as with ten. Needs no lock.
pub fn find(paths: &Paths, name: &ContainerName) -> Result<(PoolSettings, Option<Reservation>), ReservationError> {
    match try_find(paths, name) {
        Some(found) => Ok(found),
        // Somebody edited the file, or writes to it just now, or something is wrong with it: then that is said here.
        None => {
            let all = Reservations::read(paths)?;
            Ok((all.settings().clone(), all.get(name)))
        }
    }
}

fn try_find(paths: &Paths, name: &ContainerName) -> Option<(PoolSettings, Option<Reservation>)> {
    // In this order: what was folded in between is in the snapshot, and passed over here would be in neither.
    let path = journal_path(paths);
    let journal = journal::read_bytes(&path).ok()?;
    let (entries, _) = journal::parse(&path, &journal).ok()?;
    let bytes = snapshot::read_bytes(&paths.resources()).ok()??;
    let (header, _) = snapshot::find_canonical(&bytes, name.as_str())?;
    let since: Vec<_> = entries.into_iter().filter(|entry| entry.seq > header.folded).collect();
    let (traced, ip) = trace(&since, name.as_str());
    let record = match traced {
        Trace::Here(record) => Some(record),
        Trace::Nowhere => None,
        Trace::Before(name) => snapshot::find_canonical(&bytes, name)?.1,
    };
    let reservation = match record {
        Some(record) => {
            let (_, held): (_, Held) = record.try_into().ok()?;
            Some(Held { ip: ip.unwrap_or(held.ip), ..held }.reservation(name))
        }
        None => None,
    };
    Some((header.settings, reservation))
}

/// Where a container's record is.
enum Trace<'a> {
    /// In the journal.
    Here(Record<'a>),
    /// In the snapshot if anywhere, under this name.
    Before(&'a str),
    Nowhere,
}

/// Follows a name back through the journal; with the address that it was given there.
fn trace<'a>(entries: &[Entry<'a>], name: &'a str) -> (Trace<'a>, Option<Ipv4Addr>) {
    let (mut wanted, mut address) = (name, None);
    for entry in entries.iter().rev() {
        match entry.change {
            Change::Reserve(record) if record.name == wanted => return (Trace::Here(record), address),
            Change::Rename { from, to } if to == wanted => wanted = from,
            Change::Rename { from: gone, .. } | Change::Release(gone) if gone == wanted => {
                return (Trace::Nowhere, None);
            }
            Change::Readdress { name, ip } if name == wanted => address = address.or(Some(ip)),
            Change::Reserve(_) | Change::Rename { .. } | Change::Release(_) | Change::Readdress { .. } => {}
        }
    }
    (Trace::Before(wanted), address)
}
