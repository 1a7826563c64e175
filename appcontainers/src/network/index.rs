//! `reservations.index` in the run directory: what the snapshot's reservations take, without saying whose it is.
//!
//! It is made from the snapshot, belongs to that very file, and may be missing: then the snapshot is read. It answers
//! "surely free" for a name, a MAC, an address or an id range; for the rest one has to look. So a reservation costs a
//! read of 16 bytes for each container instead of parsing them all.
//!
//! ```text
//! {"version":1,"snapshot":{…},"header":{…},"counts":[names,macs,ips,ids],"sum":…}\n   then numbers, 32 bits each
//! ```

use std::{collections::HashSet, fs, io, net::Ipv4Addr, os::unix::fs::MetadataExt, path::Path};

use serde::{Deserialize, Serialize};

use super::{IdRange, MacAddress, record::Held, snapshot::Header};
use crate::{
    ContainerName,
    state::{Durability, replace},
};

const VERSION: u32 = 1;

/// The snapshot's reservations, to be asked.
#[derive(Debug)]
pub(super) struct Index {
    header: Header,
    snapshot_bytes: u64,
    /// Sorted checksums.
    names: Vec<u32>,
    macs: Vec<u32>,
    ips: Vec<u32>,
    id_bases: Vec<u32>,
    /// What was released since.
    released: HashSet<ContainerName>,
}

/// One file, and no other that had its name before or will have it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    snapshot: Identity,
    header: Header,
    counts: [usize; 4],
    sum: u32,
}

impl Index {
    /// The index at `path` if it is that of `snapshot` as it is now.
    pub(super) fn read(path: &Path, snapshot: &Path) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        let (head, numbers) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n')? + 1);
        let head: Head = serde_json::from_slice(head).ok()?;
        let fits = head.version == VERSION && head.snapshot == Identity::of(snapshot).ok()?;
        if !fits || head.sum != crc32fast::hash(numbers) {
            return None;
        }
        let mut numbers =
            numbers.chunks_exact(4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        let [names, macs, ips, id_bases] = head.counts.map(|count| numbers.by_ref().take(count).collect());
        let snapshot_bytes = head.snapshot.bytes;
        Some(Self { header: head.header, snapshot_bytes, names, macs, ips, id_bases, released: HashSet::new() })
    }

    /// Writes the index of `snapshot`, which has these reservations.
    pub(super) fn write<'a>(
        path: &Path,
        snapshot: &Path,
        header: &Header,
        held: impl Iterator<Item = (&'a ContainerName, &'a Held)>,
    ) -> io::Result<()> {
        let [mut names, mut macs, mut ips, mut id_bases]: [Vec<u32>; 4] = Default::default();
        for (name, one) in held {
            names.push(sum_of_name(name));
            macs.push(sum_of_mac(one.mac));
            ips.push(one.ip.into());
            id_bases.extend(one.id_range.map(|range| range.base()));
        }
        names.sort_unstable();
        macs.sort_unstable();
        let counts = [&names, &macs, &ips, &id_bases].map(Vec::len);
        let numbers: Vec<u8> = [names, macs, ips, id_bases].concat().into_iter().flat_map(u32::to_le_bytes).collect();
        let snapshot = Identity::of(snapshot)?;
        let sum = crc32fast::hash(&numbers);
        let mut bytes = serde_json::to_vec(&Head { version: VERSION, snapshot, header: header.clone(), counts, sum })?;
        bytes.push(b'\n');
        bytes.extend(numbers);
        replace(path, &bytes, 0o600, Durability::Volatile)
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes
    }

    /// Whether the snapshot's reservations have this name; `None` if one has to look.
    pub(super) fn holds(&self, name: &ContainerName) -> Option<bool> {
        let surely_not = self.released.contains(name) || self.names.binary_search(&sum_of_name(name)).is_err();
        if surely_not { Some(false) } else { None }
    }

    /// Notes that a reservation of the snapshot is released; `false` if it has none of this name.
    pub(super) fn release(&mut self, name: ContainerName) -> bool {
        self.holds(&name).is_none() && self.released.insert(name)
    }

    pub(super) fn may_have(&self, mac: MacAddress) -> bool {
        self.macs.binary_search(&sum_of_mac(mac)).is_ok()
    }

    /// Addresses that are taken, and some that were released since the snapshot.
    pub(super) fn ips(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.ips.iter().map(|ip| Ipv4Addr::from(*ip))
    }

    /// Id ranges that are taken, and some that were released since the snapshot.
    pub(super) fn id_ranges(&self) -> impl Iterator<Item = IdRange> + '_ {
        self.id_bases.iter().filter_map(|base| IdRange::new(*base))
    }
}

impl Identity {
    fn of(file: &Path) -> io::Result<Self> {
        let status = fs::metadata(file)?;
        Ok(Self { inode: status.ino(), bytes: status.len(), changed: (status.ctime(), status.ctime_nsec()) })
    }
}

fn sum_of_name(name: &ContainerName) -> u32 {
    crc32fast::hash(name.as_str().as_bytes())
}

fn sum_of_mac(mac: MacAddress) -> u32 {
    crc32fast::hash(mac.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{IdPool, PoolSettings};

    fn name(text: &str) -> ContainerName {
        text.parse().unwrap()
    }

    #[test]
    fn an_index_of_another_snapshot_or_a_damaged_one_is_none() {
        let place = tempfile::tempdir().unwrap();
        let [snapshot, path] = ["snapshot", "index"].map(|name| place.path().join(name));
        let settings = PoolSettings::new("10.0.0.0/24".parse().unwrap(), IdPool { base: 1 << 30, count: 1 << 20 });
        let held = Held {
            ip: Ipv4Addr::new(10, 0, 0, 9),
            mac: "02:00:00:00:00:09".parse().unwrap(),
            id_range: IdRange::new(1 << 30),
            created: jiff::Timestamp::UNIX_EPOCH,
        };
        fs::write(&snapshot, "one").unwrap();
        Index::write(&path, &snapshot, &Header::new(settings), [(&name("web"), &held)].into_iter()).unwrap();

        let mut index = Index::read(&path, &snapshot).unwrap();
        assert_eq!((index.holds(&name("web")), index.holds(&name("db"))), (None, Some(false)));
        assert_eq!(index.ips().collect::<Vec<_>>(), [held.ip]);
        assert_eq!(index.id_ranges().collect::<Vec<_>>(), [held.id_range.unwrap()]);
        assert!(index.may_have(held.mac) && !index.may_have(MacAddress::new([2, 0, 0, 0, 0, 1])));
        assert!(index.release(name("web")) && !index.release(name("web")) && !index.release(name("db")));
        assert_eq!(index.holds(&name("web")), Some(false));

        let whole = fs::read(&path).unwrap();
        for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(Index::read(&path, &snapshot).is_none(), "cut at {cut}");
        }
        fs::write(&path, &whole).unwrap();
        fs::write(place.path().join("new"), "two").unwrap();
        fs::rename(place.path().join("new"), &snapshot).unwrap();
        assert!(Index::read(&path, &snapshot).is_none());
    }
}
