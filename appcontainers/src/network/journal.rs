//! `resources.journal`: what was reserved, released and renamed since the snapshot, one JSON object a
//! line, numbered, each with a checksum.
//!
//! ```text
//! {"sum":"8c7e0b52","seq":12,"change":{"release":"web"}}
//! ```
//!
//! The sum is the CRC-32 of what follows its comma. A line that was not written to its end (its writer
//! was killed, the disk was full, the power was cut) can only be the last: it never happened, and the
//! next writer cuts it off. Any other line that does not fit is damage, and is reported.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::Ipv4Addr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    ReservationError,
    record::{Record, canonical_number},
};
use crate::state::{self, Durability, StateError};

/// What one line says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change<'a> {
    Reserve(#[serde(borrow)] Record<'a>),
    Release(&'a str),
    Rename { from: &'a str, to: &'a str },
    Readdress { name: &'a str, ip: Ipv4Addr },
}

/// A change and its number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    pub(super) seq: u64,
    #[serde(borrow)]
    pub(super) change: Change<'a>,
}

/// Bytes of `{"sum":"01234567",`.
const SUM_BYTES: usize = 18;

fn encode(entry: &Entry<'_>) -> serde_json::Result<Vec<u8>> {
    let body = serde_json::to_vec(entry)?;
    let rest = &body[1..];
    Ok([b"{\"sum\":\"".as_slice(), &sum_of(rest), b"\",", rest, b"\n"].concat())
}

fn decode(line: &[u8]) -> Option<Entry<'_>> {
    let (prefix, rest) = line.split_at_checked(SUM_BYTES)?;
    let sum = prefix.strip_prefix(b"{\"sum\":\"")?.strip_suffix(b"\",")?;
    // The object without its sum is the object: unknown fields are passed over.
    if sum != sum_of(rest) {
        return None;
    }
    std::str::from_utf8(rest).ok().and_then(decode_reserve).or_else(|| serde_json::from_slice(line).ok())
}

/// Reads the rest of a line that reserves and stands as [`encode`] wrote it; see [`Record::parse_canonical`].
fn decode_reserve(rest: &str) -> Option<Entry<'_>> {
    let (seq, rest) = rest.strip_prefix(r#""seq":"#)?.split_once(',')?;
    let (record, rest) = Record::parse_canonical(rest.strip_prefix(r#""change":{"reserve":"#)?)?;
    (rest == "}}").then_some(Entry { seq: canonical_number(seq)?, change: Change::Reserve(record) })
}

/// The checksum as eight hexadecimal digits.
fn sum_of(bytes: &[u8]) -> [u8; 8] {
    let sum = crc32fast::hash(bytes);
    std::array::from_fn(|digit| b"0123456789abcdef"[(sum >> (28 - 4 * digit)) as usize & 15])
}

/// The entries of a journal's bytes, and how many bytes of them are sound.
pub(super) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<(Vec<Entry<'a>>, usize), ReservationError> {
    let mut entries = Vec::with_capacity(bytes.len() / 160);
    let mut sound = 0;
    let mut torn_line = None;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let entry = line.strip_suffix(b"\n").and_then(decode);
        match (entry, torn_line) {
            (Some(entry), None) => {
                entries.push(entry);
                sound += line.len();
            }
            (Some(_), Some(line)) => return Err(ReservationError::JournalDamaged { path: path.to_owned(), line }),
            (None, _) => torn_line = torn_line.or(Some(index + 1)),
        }
    }
    Ok((entries, sound))
}

/// The journal, open at its end. Only who has the host's lock may have it.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    length: u64,
}

impl Journal {
    /// The journal at `path`, cut to its first `sound` bytes if it is longer.
    pub(super) fn open(path: PathBuf, length: usize, sound: usize) -> Result<Self, ReservationError> {
        let mut journal = Self { path, file: None, length: sound as u64 };
        if sound < length {
            tracing::warn!(journal = %journal.path.display(), bytes = length - sound, "cut off a torn tail");
            journal.cut().map_err(|source| journal.error(source))?;
        }
        Ok(journal)
    }

    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends one entry; what of it was written is cut off again if that fails.
    pub(super) fn append(&mut self, entry: &Entry<'_>, durability: Durability) -> Result<(), ReservationError> {
        let appended = self.try_append(entry, durability);
        if let Err(source) = appended {
            // If this fails too, the next reader finds a torn tail.
            let _ = self.cut();
            return Err(self.error(source));
        }
        Ok(())
    }

    fn try_append(&mut self, entry: &Entry<'_>, durability: Durability) -> io::Result<()> {
        let line = encode(entry)?;
        let file = self.file()?;
        file.write_all(&line)?;
        if durability == Durability::Durable {
            file.sync_data()?;
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Replaces the journal by an empty one. Readers without a lock keep the old file whole.
    pub(super) fn clear(&mut self) -> Result<(), ReservationError> {
        self.file = None;
        self.length = 0;
        state::replace(&self.path, b"", 0o600, Durability::Durable).map_err(|source| self.error(source))
    }

    fn cut(&mut self) -> io::Result<()> {
        let length = self.length;
        self.file()?.set_len(length)
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut options = File::options();
                options.append(true).mode(0o600);
                match options.open(&self.path) {
                    // A new one is put in place synced: the directory too must know it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        state::replace(&self.path, b"", 0o600, Durability::Durable)?;
                        options.open(&self.path)?
                    }
                    opened => opened?,
                }
            }
        };
        Ok(self.file.insert(file))
    }

    fn error(&self, source: io::Error) -> ReservationError {
        StateError::Write { path: self.path.clone(), source }.into()
    }
}

/// The journal's bytes; a missing one is empty.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, ReservationError> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(StateError::Read { path: path.to_owned(), source }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<u8> {
        let release = |seq, name| encode(&Entry { seq, change: Change::Release(name) }).unwrap();
        let rename = encode(&Entry { seq: 2, change: Change::Rename { from: "a", to: "b" } }).unwrap();
        [release(1, "a"), rename, release(3, "c")].concat()
    }

    #[test]
    fn a_line_is_json_with_its_sum_first() {
        let line = encode(&Entry { seq: 12, change: Change::Release("web") }).unwrap();
        let text = String::from_utf8(line.clone()).unwrap();
        let rest = r#""seq":12,"change":{"release":"web"}}"#;
        assert_eq!(text, format!("{{\"sum\":\"{:08x}\",{rest}\n", crc32fast::hash(rest.as_bytes())));
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }

    #[test]
    fn a_torn_tail_of_any_length_is_cut_off_and_nothing_else() {
        let bytes = lines();
        let ends: Vec<_> = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
        for cut in 0..=bytes.len() {
            let (entries, sound) = parse(Path::new("j"), &bytes[..cut]).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!((entries.len(), sound), (whole, if whole == 0 { 0 } else { ends[whole - 1] }), "cut at {cut}");
        }
        let mut zeros = bytes.clone();
        zeros.extend([0; 4096]);
        assert_eq!(parse(Path::new("j"), &zeros).unwrap().1, bytes.len());
    }

    #[test]
    fn a_flipped_bit_before_a_sound_line_is_reported_and_not_cut() {
        let bytes = lines();
        for at in 0..bytes.len() / 2 {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let error = parse(Path::new("j"), &damaged).unwrap_err();
                assert!(matches!(error, ReservationError::JournalDamaged { line: 1 | 2, .. }), "byte {at}: {error}");
            }
        }
    }

    #[test]
    fn an_append_that_fails_leaves_no_half_line() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("resources.journal");
        let mut journal = Journal::open(path.clone(), 0, 0).unwrap();
        journal.append(&Entry { seq: 1, change: Change::Release("a") }, Durability::Volatile).unwrap();
        let length = journal.length();
        // What a kill in the middle of a write leaves.
        File::options().append(true).open(&path).unwrap().write_all(b"{\"sum\":").unwrap();
        let bytes = read_bytes(&path).unwrap();
        let (entries, sound) = parse(&path, &bytes).unwrap();
        assert_eq!((entries.len(), sound as u64), (1, length));
        let mut journal = Journal::open(path.clone(), bytes.len(), sound).unwrap();
        journal.append(&Entry { seq: 2, change: Change::Release("b") }, Durability::Durable).unwrap();
        let bytes = read_bytes(&path).unwrap();
        assert_eq!(parse(&path, &bytes).unwrap().0.len(), 2);
    }
}
