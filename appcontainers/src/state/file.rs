//! Files that are whole or absent: written to a temporary beside them and renamed, never in place.
//! State files are JSON objects with a `version`.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Why a state file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file is there and can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The file could not be written; what was there before is unchanged.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The file is not what this program writes.
    #[error("{} is not a valid {kind}; {mend}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        kind: &'static str,
        /// What to do about it.
        mend: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The file was written by a newer program.
    #[error(
        "{} is a {kind} of version {found}, this appc knows up to version {known}; use the newer appc that wrote it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// Its version.
        found: u32,
        /// The version that this program writes.
        known: u32,
    },
    /// The file is of a version that was never released, or that nothing can upgrade any more.
    #[error("{} is a {kind} of version {found}, which this appc cannot upgrade", path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// Its version.
        found: u32,
    },
}

/// Whether a file must survive a power cut that comes right after it was written. It survives the
/// death of the writer either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Synced to the disk before the call returns: two flushes.
    Durable,
    /// Whole or absent after a power cut, and absent is fine.
    Volatile,
}

/// What is kept in a state file: `{ "version": VERSION, ...fields }`. The type's own fields must not
/// have one named `version`, and it must accept fields that it does not know.
pub trait Versioned: Serialize + DeserializeOwned {
    /// What the file is, for errors: `container configuration`.
    const KIND: &'static str;
    /// What to do about a file that is none.
    const MEND: &'static str = "restore it from a backup or remove it";
    /// The version that is written.
    const VERSION: u32;

    /// The fields of an older version as those of [`Self::VERSION`]; `None` if that can't be done.
    fn upgrade(from: u32, fields: Value) -> Option<Value> {
        let _ = (from, fields);
        None
    }
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

#[derive(Serialize)]
struct WithVersion<'a, T> {
    version: u32,
    #[serde(flatten)]
    fields: &'a T,
}

/// Reads a state file, upgrading an older version in memory; `None` if there is none.
pub fn read<T: Versioned>(path: &Path) -> Result<Option<T>, StateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::Read { path: path.to_owned(), source }),
    };
    let malformed = |source| malformed::<T>(path, source);
    let found = version_of(&bytes).map_err(malformed)?;
    refuse_newer(path, T::KIND, found, T::VERSION)?;
    if found == T::VERSION {
        return serde_json::from_slice(&bytes).map(Some).map_err(malformed);
    }
    let fields = serde_json::from_slice(&bytes).map_err(malformed)?;
    let upgraded =
        T::upgrade(found, fields).ok_or(StateError::TooOld { path: path.to_owned(), kind: T::KIND, found })?;
    serde_json::from_value(upgraded).map(Some).map_err(malformed)
}

fn malformed<T: Versioned>(path: &Path, source: serde_json::Error) -> StateError {
    StateError::Malformed { path: path.to_owned(), kind: T::KIND, mend: T::MEND, source }
}

/// The version of a state file's bytes.
pub(crate) fn version_of(bytes: &[u8]) -> serde_json::Result<u32> {
    serde_json::from_slice(bytes).map(|VersionOnly { version }| version)
}

/// An error if a state file of version `found` is over `known`.
pub(crate) fn refuse_newer(path: &Path, kind: &'static str, found: u32, known: u32) -> Result<(), StateError> {
    if found > known {
        return Err(StateError::Newer { path: path.to_owned(), kind, found, known });
    }
    Ok(())
}

/// Writes a state file, mode 0600.
pub fn write<T: Versioned>(path: &Path, fields: &T, durability: Durability) -> Result<(), StateError> {
    let mut bytes = serde_json::to_vec_pretty(&WithVersion { version: T::VERSION, fields })
        .map_err(|source| malformed::<T>(path, source))?;
    bytes.push(b'\n');
    replace(path, &bytes, 0o600, durability).map_err(|source| StateError::Write { path: path.to_owned(), source })
}

/// Puts a whole file of these bytes and this mode at `path`, over what is there.
pub fn replace(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let written = write_new(&temporary, bytes, mode, durability).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    match (durability, path.parent()) {
        (Durability::Durable, Some(directory)) => File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode))?;
    match durability {
        Durability::Durable => file.sync_data(),
        Durability::Volatile => Ok(()),
    }
}

/// A name beside `path` that no other process and no other thread of this one uses; `gc` knows it by
/// its ending. What a dead process left there has another pid or is removed here.
pub(crate) fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(temporary);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(temporary),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Colour {
        colour: String,
    }

    impl Versioned for Colour {
        const KIND: &'static str = "colour";
        const VERSION: u32 = 2;
        fn upgrade(from: u32, mut fields: Value) -> Option<Value> {
            (from == 1).then(|| {
                fields["colour"] = fields["color"].take();
                fields
            })
        }
    }

    #[test]
    fn a_state_file_reads_as_it_was_written_and_says_its_version() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("colour.json");
        assert_eq!(read::<Colour>(&path).unwrap(), None);
        write(&path, &Colour { colour: "red".into() }, Durability::Durable).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\n  \"version\": 2,\n  \"colour\": \"red\"\n}\n");
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read::<Colour>(&path).unwrap().unwrap().colour, "red");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "a temporary was left");
    }

    #[test]
    fn an_older_version_is_upgraded_and_a_newer_one_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("colour.json");
        fs::write(&path, r#"{"version":1,"color":"blue"}"#).unwrap();
        assert_eq!(read::<Colour>(&path).unwrap().unwrap().colour, "blue");
        fs::write(&path, r#"{"version":0}"#).unwrap();
        assert!(matches!(read::<Colour>(&path), Err(StateError::TooOld { found: 0, .. })));
        fs::write(&path, r#"{"version":3,"colour":{}}"#).unwrap();
        let error = read::<Colour>(&path).unwrap_err();
        assert!(matches!(error, StateError::Newer { found: 3, known: 2, .. }), "{error}");
        assert!(error.to_string().contains("colour.json"), "{error}");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "x").unwrap();
        assert!(replace(&path, b"new", 0o600, Durability::Volatile).is_err());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "a temporary was left");
    }
}
