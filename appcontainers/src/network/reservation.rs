//! What containers hold exclusively until they are removed: name, address, MAC, id range.
//!
//! `resources.json` is a snapshot, `resources.journal` what changed since: a reservation costs one
//! appended line however many there are. Entries are numbered and the snapshot says which is its last,
//! so a kill at any step of folding the journal into the snapshot harms nothing:
//!
//! ```text
//! snapshot s0 + journal 1..n   ->  snapshot sn written, renamed   ->  journal replaced by an empty one
//!                                  (killed here: 1..n are read again and passed over)
//! ```
//!
//! Who only reserves does not parse a long snapshot: an index of it (see `index.rs`) says what is surely free.
//!
//! Writing needs the host's lock. Reading needs none: the journal is read before the snapshot, so what
//! was folded in between is in the snapshot.

mod error;

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    ops::Range,
    path::{Path, PathBuf},
};

pub use error::ReservationError;
use ipnetwork::Ipv4Network;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    IdRange, MacAddress, SubordinateIds, address,
    index::Index,
    journal::{self, Change, Entry, Journal},
    mac,
    record::{Held, Record},
    snapshot::{self, Header},
};
use crate::{
    ContainerName, Paths,
    state::{Durability, HostLock},
};

/// The journal is folded when it is longer than this, and than an eighth of the snapshot: everyone who reads the
/// reservations reads both, and an entry of the journal takes twice as long as a record of the snapshot.
const FOLD_AT_LEAST_BYTES: u64 = 64 * 1024;
const FOLD_AT_SHARE: u64 = 8;

/// A shorter snapshot is parsed as fast as its index is read. The tests want the index always.
const INDEX_AT_LEAST_BYTES: u64 = if cfg!(test) { 1 } else { 64 * 1024 };

/// What one container holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    /// The container.
    pub name: ContainerName,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its interface's address.
    pub mac: MacAddress,
    /// Its ids on the host; a privileged container has none.
    pub id_range: Option<IdRange>,
    /// When it was reserved.
    pub created: Timestamp,
}

/// Out of what reservations are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolSettings {
    /// The containers' network.
    pub subnet: Ipv4Network,
    /// The host's address in it.
    pub gateway: Ipv4Addr,
    /// The host's ids that stand for containers' ids.
    pub id_pool: IdPool,
}

impl PoolSettings {
    /// The subnet with its first address as gateway.
    pub fn new(subnet: Ipv4Network, id_pool: IdPool) -> Self {
        Self { subnet, gateway: address::gateway_of(subnet), id_pool }
    }
}

/// A row of ids out of which containers get their ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdPool {
    /// The first.
    pub base: u32,
    /// How many.
    pub count: u32,
}

impl IdPool {
    /// The ids.
    pub fn ids(&self) -> Range<u32> {
        self.base..self.base.saturating_add(self.count)
    }
}

/// How to reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReserveOptions {
    /// Without an id range of its own.
    pub privileged: bool,
    /// Whether the reservation survives a power cut; an ephemeral container's need not.
    pub durability: Durability,
}

/// All reservations, as a reader without a lock sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservations {
    header: Header,
    held: HashMap<ContainerName, Held>,
    /// The number of the last change.
    seq: u64,
}

impl Reservations {
    /// Reads them; needs no lock.
    pub fn read(paths: &Paths) -> Result<Self, ReservationError> {
        // A writer may cut off a torn tail and write over it just while this reads: that looks like damage once.
        Self::try_read(paths).or_else(|error| match error {
            ReservationError::JournalDamaged { .. } => Self::try_read(paths),
            error => Err(error),
        })
    }

    fn try_read(paths: &Paths) -> Result<Self, ReservationError> {
        let journal_path = journal_path(paths);
        let journal = journal::read_bytes(&journal_path)?;
        let (entries, _) = journal::parse(&journal_path, &journal)?;
        let (reservations, _) = Self::from_snapshot(&paths.resources())?;
        reservations.replay(&journal_path, &entries)
    }

    /// The container's reservation.
    pub fn get(&self, name: &ContainerName) -> Option<Reservation> {
        self.held.get(name).map(|held| held.reservation(name))
    }

    /// All, by name.
    pub fn list(&self) -> Vec<Reservation> {
        let mut all: Vec<_> = self.held.iter().map(|(name, held)| held.reservation(name)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.held.len()
    }

    /// Out of what they are made.
    pub fn settings(&self) -> &PoolSettings {
        &self.header.settings
    }

    fn from_snapshot(path: &Path) -> Result<(Self, u64), ReservationError> {
        let bytes = snapshot::read_bytes(path)?.ok_or_else(|| ReservationError::NotSetUp { path: path.to_owned() })?;
        let (header, records) = snapshot::parse(path, &bytes)?;
        let mut held = HashMap::with_capacity(records.len() + 1);
        for record in records {
            let (name, one) = record.try_into().map_err(|source| snapshot::malformed(path, source))?;
            held.insert(name, one);
        }
        let seq = header.folded;
        Ok((Self { header, held, seq }, bytes.len() as u64))
    }

    /// Writes the index of the snapshot, which has these reservations; the caller has the host's lock.
    fn write_index(&self, paths: &Paths, snapshot_bytes: u64) {
        if snapshot_bytes < INDEX_AT_LEAST_BYTES {
            return;
        }
        if let Err(error) = Index::write(&paths.reservation_index(), &paths.resources(), &self.header, self.held.iter())
        {
            // Without it, all is only slower.
            tracing::debug!(%error, "cannot write the index of the reservations");
        }
    }

    fn replay(mut self, path: &Path, entries: &[Entry<'_>]) -> Result<Self, ReservationError> {
        let folded = self.header.folded;
        for entry in entries.iter().filter(|entry| entry.seq > folded) {
            let out_of_step = || ReservationError::JournalOutOfStep { path: path.to_owned(), seq: entry.seq };
            if entry.seq != self.seq + 1 {
                return Err(out_of_step());
            }
            self.apply(entry).ok_or_else(out_of_step)?;
        }
        Ok(self)
    }

    /// What the journal alone reserves, over a snapshot of which there is an index; `None` if one has to look.
    fn over_index(index: &mut Index, entries: &[Entry<'_>]) -> Option<Self> {
        let header = index.header().clone();
        let mut all = Self { seq: header.folded, header, held: HashMap::new() };
        let folded = all.seq;
        for entry in entries.iter().filter(|entry| entry.seq > folded) {
            all.apply_over(index, entry).filter(|()| entry.seq == all.seq)?;
        }
        Some(all)
    }

    /// As [`Self::apply`], over the index of what is not here.
    fn apply_over(&mut self, index: &mut Index, entry: &Entry<'_>) -> Option<()> {
        let next = self.seq + 1;
        match entry.change {
            Change::Reserve(Record { name, .. }) | Change::Rename { to: name, .. } => {
                index.holds(&name.parse().ok()?).is_some().then(|| self.apply(entry))??;
            }
            Change::Release(name) => {
                let name: ContainerName = name.parse().ok()?;
                if self.held.remove(&name).is_none() {
                    index.release(name).then_some(())?;
                }
            }
        }
        self.seq = next;
        Some(())
    }

    /// `None` if the change can't be made of what is there.
    fn apply(&mut self, entry: &Entry<'_>) -> Option<()> {
        match entry.change {
            Change::Reserve(record) => {
                let (name, held) = record.try_into().ok()?;
                self.header.cursor.ip = Some(held.ip);
                self.header.cursor.id_base = record.id_base.or(self.header.cursor.id_base);
                self.held.insert(name, held).is_none().then_some(())?;
            }
            Change::Release(name) => {
                self.held.remove(&name.parse::<ContainerName>().ok()?)?;
            }
            Change::Rename { from, to } => {
                let held = self.held.remove(&from.parse::<ContainerName>().ok()?)?;
                self.held.insert(to.parse().ok()?, held).is_none().then_some(())?;
            }
        }
        self.seq = entry.seq;
        Some(())
    }
}

/// All reservations, to be changed by who has the host's lock.
#[derive(Debug)]
pub struct ReservationStore<'lock> {
    /// All, or over an index those that were made since its snapshot.
    all: Reservations,
    index: Option<Index>,
    journal: Journal,
    paths: Paths,
    snapshot_bytes: u64,
    veth_prefix: String,
    /// Read when first needed.
    ids: Option<SubordinateIds>,
    _lock: &'lock HostLock,
}

impl<'lock> ReservationStore<'lock> {
    /// Reads the reservations, and cuts off what a killed writer left.
    pub fn open(paths: &Paths, lock: &'lock HostLock) -> Result<Self, ReservationError> {
        let path = journal_path(paths);
        let bytes = journal::read_bytes(&path)?;
        let (entries, sound) = journal::parse(&path, &bytes)?;
        let mut index = Index::read(&paths.reservation_index(), &paths.resources());
        let over_index = index.as_mut().and_then(|index| Reservations::over_index(index, &entries));
        let (all, snapshot_bytes) = match (over_index, &index) {
            (Some(all), Some(index)) => (all, index.snapshot_bytes()),
            _ => {
                index = None;
                let (snapshot, bytes) = Reservations::from_snapshot(&paths.resources())?;
                snapshot.write_index(paths, bytes);
                (snapshot.replay(&path, &entries)?, bytes)
            }
        };
        let journal = Journal::open(path, bytes.len(), sound)?;
        let veth_prefix = super::veth_prefix(paths);
        Ok(Self { all, index, journal, paths: paths.clone(), snapshot_bytes, veth_prefix, ids: None, _lock: lock })
    }

    /// Reads what the index does not say.
    fn look(&mut self) -> Result<(), ReservationError> {
        if self.index.take().is_some() {
            self.all = Reservations::read(&self.paths)?;
        }
        Ok(())
    }

    fn holds(&mut self, name: &ContainerName) -> Result<bool, ReservationError> {
        if let Some(index) = &self.index
            && !self.all.held.contains_key(name)
        {
            match index.holds(name) {
                Some(holds) => return Ok(holds),
                None => self.look()?,
            }
        }
        Ok(self.all.held.contains_key(name))
    }

    /// Makes the store, without reservations; one that is there keeps them and gets these settings.
    /// What is reserved already stays as it is, also if it is not in the new subnet.
    pub fn create(paths: &Paths, lock: &'lock HostLock, settings: PoolSettings) -> Result<Self, ReservationError> {
        match Self::open(paths, lock) {
            Ok(mut store) => {
                store.look()?;
                store.all.header.settings = settings;
                store.fold()?;
                Ok(store)
            }
            Err(ReservationError::NotSetUp { .. }) => {
                // A journal without a snapshot is of no use, and its numbers would be in the way.
                let mut journal = Journal::open(journal_path(paths), 0, 0)?;
                journal.clear()?;
                let mut header = Header::new(settings);
                header.cursor.id_base = Some(last_id_base(paths, &header.settings.id_pool));
                snapshot::write(&paths.resources(), &header, &[])?;
                Self::open(paths, lock)
            }
            Err(error) => Err(error),
        }
    }

    /// Out of what reservations are made.
    pub fn settings(&self) -> &PoolSettings {
        self.all.settings()
    }

    /// Reserves an address, a MAC and, unless it is privileged, an id range for the container.
    pub fn reserve(&mut self, name: &ContainerName, options: ReserveOptions) -> Result<Reservation, ReservationError> {
        if self.holds(name)? {
            return Err(ReservationError::Taken { name: name.clone() });
        }
        let held = Held {
            ip: self.free_address()?,
            mac: self.free_mac()?,
            id_range: if options.privileged { None } else { Some(self.free_id_range()?) },
            created: now(),
        };
        self.commit(Change::Reserve(held.record(name)), options.durability)?;
        Ok(held.reservation(name))
    }

    /// Gives back what the container holds.
    pub fn release(&mut self, name: &ContainerName, durability: Durability) -> Result<(), ReservationError> {
        if !self.holds(name)? {
            return Err(ReservationError::Unknown { name: name.clone() });
        }
        self.commit(Change::Release(name.as_str()), durability)
    }

    /// Gives the container another name; all else it holds stays.
    pub fn rename(
        &mut self,
        from: &ContainerName,
        to: &ContainerName,
        durability: Durability,
    ) -> Result<(), ReservationError> {
        if !self.holds(from)? {
            return Err(ReservationError::Unknown { name: from.clone() });
        }
        if self.holds(to)? {
            return Err(ReservationError::Taken { name: to.clone() });
        }
        self.commit(Change::Rename { from: from.as_str(), to: to.as_str() }, durability)
    }

    fn free_address(&mut self) -> Result<Ipv4Addr, ReservationError> {
        let PoolSettings { subnet, gateway, .. } = self.all.header.settings;
        let beneath = self.index.iter().flat_map(Index::ips);
        let taken = self.all.held.values().map(|held| held.ip).chain(beneath);
        match address::next_free(subnet, gateway, self.all.header.cursor.ip, taken) {
            Some(address) => Ok(address),
            None if self.index.is_some() => self.look().and_then(|()| self.free_address()),
            None => Err(ReservationError::AddressesExhausted { subnet, held: self.all.count() }),
        }
    }

    fn free_mac(&self) -> Result<MacAddress, ReservationError> {
        let interfaces = Path::new("/sys/class/net");
        loop {
            let mac = MacAddress::random();
            let is_on_host = mac::is_on_host(mac, interfaces, &self.veth_prefix)
                .map_err(|source| ReservationError::Interfaces { path: interfaces.to_owned(), source })?;
            let is_beneath = self.index.as_ref().is_some_and(|index| index.may_have(mac));
            if !is_on_host && !is_beneath && self.all.held.values().all(|held| held.mac != mac) {
                return Ok(mac);
            }
        }
    }

    fn free_id_range(&mut self) -> Result<IdRange, ReservationError> {
        let ids = match self.ids.take() {
            Some(ids) => ids,
            None => SubordinateIds::of_host()?,
        };
        let ids = self.ids.insert(ids);
        let pool = self.all.header.settings.id_pool.ids();
        let last = self.all.header.cursor.id_base.and_then(IdRange::new);
        let beneath = self.index.iter().flat_map(Index::id_ranges);
        let taken = self.all.held.values().filter_map(|held| held.id_range).chain(beneath);
        match ids.next_free(&pool, last, taken) {
            Some(range) => Ok(range),
            None if self.index.is_some() => self.look().and_then(|()| self.free_id_range()),
            None if ids.next_free(&pool, None, std::iter::empty()).is_some() => {
                Err(ReservationError::IdsExhausted { ranges: pool.len() as u32 / IdRange::COUNT, first: pool.start })
            }
            None => Err(ReservationError::IdsNotGranted { first: pool.start, last: pool.end.saturating_sub(1) }),
        }
    }

    fn commit(&mut self, change: Change<'_>, durability: Durability) -> Result<(), ReservationError> {
        let entry = Entry { seq: self.all.seq + 1, change };
        self.journal.append(&entry, durability)?;
        // It was checked against what is there before it was written.
        let _ = match &mut self.index {
            Some(index) => self.all.apply_over(index, &entry),
            None => self.all.apply(&entry),
        };
        if self.journal.length() > FOLD_AT_LEAST_BYTES.max(self.snapshot_bytes / FOLD_AT_SHARE)
            && let Err(error) = self.fold()
        {
            // The change is made all the same; the next one tries again.
            tracing::warn!(%error, "cannot fold the journal of reservations");
        }
        Ok(())
    }

    fn fold(&mut self) -> Result<(), ReservationError> {
        self.look()?;
        self.all.header.folded = self.all.seq;
        let mut all: Vec<_> = self.all.held.iter().map(|(name, held)| held.record(name)).collect();
        all.sort_by_key(|record| record.ip);
        self.snapshot_bytes = snapshot::write(&self.paths.resources(), &self.all.header, &all)?;
        self.all.write_index(&self.paths, self.snapshot_bytes);
        self.journal.clear()
    }
}

/// Where the search for a free id range begins. Another state directory on this host may share the pool
/// without knowing of this one, so each begins at a place of its own.
fn last_id_base(paths: &Paths, pool: &IdPool) -> u32 {
    let ranges = pool.count / IdRange::COUNT;
    let tag = u32::from_str_radix(&paths.tag(), 16).unwrap_or_default();
    pool.base + tag.checked_rem(ranges).unwrap_or_default() * IdRange::COUNT
}

fn journal_path(paths: &Paths) -> PathBuf {
    paths.resources().with_extension("journal")
}

/// Now, in whole seconds: nobody needs more, and files are shorter.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests;
