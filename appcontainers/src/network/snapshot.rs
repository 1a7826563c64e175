//! `resources.json`: all reservations up to one entry of the journal, one a line.

use std::{fs, io, net::Ipv4Addr, path::Path};

use serde::{Deserialize, Serialize};

use super::{PoolSettings, ReservationError, record::Record};
use crate::state::{self, Durability, StateError};

const KIND: &str = "list of reservations";
const VERSION: u32 = 1;

/// What to do about a file that is none: without it, nobody knows what is whose.
const MEND: &str = "restore it from a backup";

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
    #[serde(default)]
    subnet6: Option<ipnetwork::Ipv6Network>,
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
    match parse_canonical(bytes) {
        Some(parsed) => Ok(parsed),
        None => parse_json(path, bytes),
    }
}

/// What stands before the first reservation, and after the last.
const OPEN: &str = ",\"reservations\":[\n";
const CLOSE: &str = "\n]}\n";

/// Reads a file that is laid out as [`write`] does it; `None` if it is not, as when somebody edited it.
fn parse_canonical(bytes: &[u8]) -> Option<(Header, Vec<Record<'_>>)> {
    let (header, mut rest) = std::str::from_utf8(bytes).ok()?.split_once(OPEN)?;
    let header: Header = serde_json::from_str(&format!("{header}}}")).ok().filter(|h: &Header| h.version == VERSION)?;
    let mut records = Vec::with_capacity(rest.len() / 100);
    while let Some((record, after)) = Record::parse_canonical(rest) {
        records.push(record);
        rest = after;
        match rest.strip_prefix(",\n") {
            Some(next) => rest = next,
            None => break,
        }
    }
    (rest == CLOSE).then_some((header, records))
}

fn parse_json<'a>(path: &Path, bytes: &'a [u8]) -> Result<(Header, Vec<Record<'a>>), ReservationError> {
    let parsed = serde_json::from_slice::<Snapshot<'_>>(bytes);
    // The version is looked at on its own only when something is wrong: it takes a pass over the file.
    match parsed {
        Ok(snapshot) if snapshot.version == VERSION => {
            let Snapshot { version, subnet, gateway, id_pool, subnet6, folded, cursor, reservations } = snapshot;
            let settings = PoolSettings { subnet, gateway, id_pool, subnet6 };
            Ok((Header { version, settings, folded, cursor }, reservations))
        }
        parsed => {
            let found = state::version_of(bytes).map_err(|source| malformed(path, source))?;
            state::refuse_newer(path, KIND, found, VERSION)?;
            Err(match parsed {
                Err(source) if found == VERSION => malformed(path, source),
                _ => StateError::TooOld { path: path.to_owned(), kind: KIND, found }.into(),
            })
        }
    }
}

/// The file is not what this program writes.
pub(super) fn malformed(path: &Path, source: serde_json::Error) -> ReservationError {
    StateError::Malformed { path: path.to_owned(), kind: KIND, mend: MEND, source }.into()
}

/// All but the records, and the one record of this name, if the file is laid out as [`write`] does it: found by the text before the
/// name, without reading the others. `None` if it is not.
pub(super) fn find_canonical<'a>(bytes: &'a [u8], name: &str) -> Option<(Header, Option<Record<'a>>)> {
    let (header, records) = std::str::from_utf8(bytes).ok()?.split_once(OPEN)?;
    let header: Header = serde_json::from_str(&format!("{header}}}")).ok().filter(|h: &Header| h.version == VERSION)?;
    let record = match records.find(&format!("{{\"name\":\"{name}\",")) {
        Some(at) => Some(Record::parse_canonical(&records[at..])?.0),
        None => None,
    };
    records.ends_with(CLOSE).then_some((header, record))
}

/// Writes the file, synced; its length in bytes.
pub(super) fn write(path: &Path, header: &Header, records: &[Record<'_>]) -> Result<u64, ReservationError> {
    let mut bytes = serde_json::to_vec(header).map_err(|source| malformed(path, source))?;
    bytes.pop();
    bytes.extend_from_slice(OPEN.as_bytes());
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            bytes.extend_from_slice(b",\n");
        }
        serde_json::to_writer(&mut bytes, record).map_err(|source| malformed(path, source))?;
    }
    bytes.extend_from_slice(CLOSE.as_bytes());
    state::replace(path, &bytes, 0o600, Durability::Durable)
        .map_err(|source| StateError::Write { path: path.to_owned(), source })?;
    Ok(bytes.len() as u64)
}
