//! `resources.json`: all reservations up to one entry of the journal, one a line.

use std::{fs, io, net::Ipv4Addr, path::Path};

use serde::{Deserialize, Serialize};

use super::{PoolSettings, Reservation, ReservationError, record::Record};
use crate::state::{self, Durability, StateError};

const KIND: &str = "list of reservations";
const VERSION: u32 = 1;

/// All of the file but its reservations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    version: u32,
    #[serde(flatten)]
    pub(super) settings: PoolSettings,
    /// The number of the last journal entry that is in here.
    pub(super) folded: u64,
    pub(super) cursor: Cursor,
}

/// What was given out last; the search for what is free goes on from there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) ip: Option<Ipv4Addr>,
    pub(super) id_base: Option<u32>,
}

impl Header {
    pub(super) fn new(settings: PoolSettings) -> Self {
        Self { version: VERSION, settings, folded: 0, cursor: Cursor::default() }
    }
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    // Not flattened: that would make serde copy every record before it is read.
    version: u32,
    subnet: ipnetwork::Ipv4Network,
    gateway: Ipv4Addr,
    id_pool: super::IdPool,
    folded: u64,
    #[serde(default)]
    cursor: Cursor,
    #[serde(borrow)]
    reservations: Vec<Record<'a>>,
}

/// The file's bytes; `None` if there is none.
pub(super) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, ReservationError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::Read { path: path.to_owned(), source }.into()),
    }
}

/// Understands the file's bytes; `path` is for errors.
pub(super) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<(Header, Vec<Record<'a>>), ReservationError> {
    let parsed = serde_json::from_slice::<Snapshot<'_>>(bytes);
    // The version is looked at on its own only when something is wrong: it takes a pass over the file.
    match parsed {
        Ok(snapshot) if snapshot.version == VERSION => {
            let Snapshot { version, subnet, gateway, id_pool, folded, cursor, reservations } = snapshot;
            let settings = PoolSettings { subnet, gateway, id_pool };
            Ok((Header { version, settings, folded, cursor }, reservations))
        }
        parsed => {
            let found = state::check_version(path, KIND, bytes, VERSION)?;
            let path = path.to_owned();
            Err(match parsed {
                Err(source) if found == VERSION => StateError::Malformed { path, kind: KIND, source },
                _ => StateError::TooOld { path, kind: KIND, found },
            }
            .into())
        }
    }
}

/// Writes the file, synced; its length in bytes.
pub(super) fn write(path: &Path, header: &Header, reservations: &[&Reservation]) -> Result<u64, ReservationError> {
    let malformed = |source| StateError::Malformed { path: path.to_owned(), kind: KIND, source };
    let mut bytes = serde_json::to_vec(header).map_err(malformed)?;
    bytes.pop();
    bytes.extend_from_slice(b",\"reservations\":[");
    for (index, reservation) in reservations.iter().enumerate() {
        bytes.extend_from_slice(if index == 0 { b"\n" } else { b",\n" });
        serde_json::to_writer(&mut bytes, &Record::from(*reservation)).map_err(malformed)?;
    }
    bytes.extend_from_slice(b"\n]}\n");
    state::replace(path, &bytes, 0o600, Durability::Durable)
        .map_err(|source| StateError::Write { path: path.to_owned(), source })?;
    Ok(bytes.len() as u64)
}
