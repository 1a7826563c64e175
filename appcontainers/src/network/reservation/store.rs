//! Changing the reservations, with the host's lock: the journal is written, and folded when it has grown.

use std::net::Ipv4Addr;

use super::{PoolSettings, ReservationError, Reservations, journal_path};
use crate::{
    ContainerName, Paths,
    network::{
        IdPool, IdRange, SubordinateIds,
        index::Index,
        journal::{self, Change, Entry, Journal},
        snapshot::{self, Header},
        veth_prefix,
    },
    state::{Durability, HostLock},
};

/// The journal is folded when it is longer than this, and than an eighth of the snapshot: everyone who reads the
/// reservations reads both, and an entry of the journal takes twice as long as a record of the snapshot.
const FOLD_AT_LEAST_BYTES: u64 = 64 * 1024;
const FOLD_AT_SHARE: u64 = 8;

/// All reservations, to be changed by who has the host's lock.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{
///     Paths,
///     network::{ReservationStore, ReserveOptions},
///     state::{Durability, HostLock},
/// };
///
/// let paths = Paths::from_env()?;
/// let lock = HostLock::acquire(&paths)?;
/// let mut store = ReservationStore::open(&paths, &lock)?;
/// let options = ReserveOptions { privileged: false, durability: Durability::Durable };
/// let web = store.reserve(&"web".parse()?, options)?;
/// println!("{} for {:?}", web.ip, web.id_range);
/// store.release(&web.name, Durability::Durable)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ReservationStore<'lock> {
    /// All, or over an index those that were made since its snapshot.
    pub(super) all: Reservations,
    pub(super) index: Option<Index>,
    journal: Journal,
    paths: Paths,
    snapshot_bytes: u64,
    pub(super) veth_prefix: String,
    /// Read when first needed.
    pub(super) ids: Option<SubordinateIds>,
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
        let veth_prefix = veth_prefix(paths);
        Ok(Self { all, index, journal, paths: paths.clone(), snapshot_bytes, veth_prefix, ids: None, _lock: lock })
    }

    /// Reads what the index does not say.
    pub(super) fn look(&mut self) -> Result<(), ReservationError> {
        if self.index.take().is_some() {
            self.all = Reservations::read(&self.paths)?;
        }
        Ok(())
    }

    pub(super) fn holds(&mut self, name: &ContainerName) -> Result<bool, ReservationError> {
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

    /// Gives the container another address of the subnet, which must be free; all else it holds stays.
    pub fn readdress(
        &mut self,
        name: &ContainerName,
        ip: Ipv4Addr,
        durability: Durability,
    ) -> Result<(), ReservationError> {
        self.look()?;
        let PoolSettings { subnet, gateway, .. } = self.all.header.settings;
        if !self.all.held.contains_key(name) {
            return Err(ReservationError::Unknown { name: name.clone() });
        }
        if !subnet.contains(ip) || [gateway, subnet.network(), subnet.broadcast()].contains(&ip) {
            return Err(ReservationError::ForeignAddress { ip, subnet });
        }
        if let Some((holder, _)) = self.all.held.iter().find(|(holder, held)| held.ip == ip && *holder != name) {
            return Err(ReservationError::AddressTaken { ip, holder: holder.clone() });
        }
        self.commit(Change::Readdress { name: name.as_str(), ip }, durability)
    }

    pub(super) fn commit(&mut self, change: Change<'_>, durability: Durability) -> Result<(), ReservationError> {
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

    pub(super) fn fold(&mut self) -> Result<(), ReservationError> {
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
