//! Reading the reservations, without a lock: the snapshot and what the journal says since, or that over an index.

use std::{collections::HashMap, path::Path};

use super::{PoolSettings, Reservation, ReservationError, journal_path};
use crate::{
    ContainerName, Paths,
    network::{
        index::Index,
        journal::{self, Change, Entry},
        record::{Held, Record},
        snapshot::{self, Header},
    },
};

/// A shorter snapshot is parsed as fast as its index is read. The tests want the index always.
const INDEX_AT_LEAST_BYTES: u64 = if cfg!(test) { 1 } else { 64 * 1024 };

/// All reservations, as a reader without a lock sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservations {
    pub(super) header: Header,
    pub(super) held: HashMap<ContainerName, Held>,
    /// The number of the last change.
    pub(super) seq: u64,
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

    pub(super) fn from_snapshot(path: &Path) -> Result<(Self, u64), ReservationError> {
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
    pub(super) fn write_index(&self, paths: &Paths, snapshot_bytes: u64) {
        if snapshot_bytes < INDEX_AT_LEAST_BYTES {
            return;
        }
        if let Err(error) = Index::write(&paths.reservation_index(), &paths.resources(), &self.header, self.held.iter())
        {
            // Without it, all is only slower.
            tracing::debug!(%error, "cannot write the index of the reservations");
        }
    }

    pub(super) fn replay(mut self, path: &Path, entries: &[Entry<'_>]) -> Result<Self, ReservationError> {
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
    pub(super) fn over_index(index: &mut Index, entries: &[Entry<'_>]) -> Option<Self> {
        let header = index.header().clone();
        let mut all = Self { seq: header.folded, header, held: HashMap::new() };
        let folded = all.seq;
        for entry in entries.iter().filter(|entry| entry.seq > folded) {
            all.apply_over(index, entry).filter(|()| entry.seq == all.seq)?;
        }
        Some(all)
    }

    /// As [`Self::apply`], over the index of what is not here.
    pub(super) fn apply_over(&mut self, index: &mut Index, entry: &Entry<'_>) -> Option<()> {
        let next = self.seq + 1;
        match entry.change {
            Change::Reserve(Record { name, .. }) | Change::Rename { to: name, .. } => {
                index.holds(&name.parse().ok()?).is_some().then(|| self.apply(entry))??;
            }
            Change::Readdress { name, .. } => {
                self.held.contains_key(&name.parse::<ContainerName>().ok()?).then(|| self.apply(entry))??;
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
    pub(super) fn apply(&mut self, entry: &Entry<'_>) -> Option<()> {
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
            Change::Readdress { name, ip } => self.held.get_mut(&name.parse::<ContainerName>().ok()?)?.ip = ip,
        }
        self.seq = entry.seq;
        Some(())
    }
}
