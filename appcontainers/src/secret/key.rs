//! The key with which secrets are encrypted: where it is, whether it is there, and that nobody else reads it.
//!
//! Looked for in this order: the file that `APPC_SECRET_KEY_FILE` names; the credential `appcontainers-secret-key` of the systemd unit
//! that this runs in; `secrets/key`. The first and the last are made where there are no secrets yet. A symbolic link at `secrets/key`
//! is followed, so that moves it for good.

use std::{
    env,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use appcontainers_sys::memory::Guarded;
use rand::{TryRngCore as _, rngs::OsRng};
use sha2::{Digest as _, Sha256};

use super::{SecretError, error::failed};
use crate::{
    Paths,
    state::{Durability, replace},
};

/// Names the key's file, instead of `secrets/key`.
pub const KEY_FILE_VARIABLE: &str = "APPC_SECRET_KEY_FILE";

/// The name of a systemd credential that has the key (`LoadCredential=` in systemd.exec(5)).
pub const CREDENTIAL: &str = "appcontainers-secret-key";

/// Where systemd says that a unit's credentials are.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// The variables that say where the key is: who starts a monitor passes them on.
pub const VARIABLES: [&str; 2] = [KEY_FILE_VARIABLE, CREDENTIALS_VARIABLE];

/// Bytes of a key.
const BYTES: usize = 32;

/// A key in memory.
#[derive(Debug)]
pub(super) struct Key {
    bytes: Guarded,
    path: PathBuf,
}

/// Where the key is to be.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    /// It is systemd's: made by others, and closed by systemd.
    is_credential: bool,
}

/// The file that has the key, or should.
pub(crate) fn holder(paths: &Paths) -> PathBuf {
    place(paths, |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)).path
}

fn place(paths: &Paths, variable: impl Fn(&str) -> Option<PathBuf>) -> Place {
    if let Some(path) = variable(KEY_FILE_VARIABLE) {
        return Place { path, is_credential: false };
    }
    match variable(CREDENTIALS_VARIABLE).map(|directory| directory.join(CREDENTIAL)).filter(|path| path.exists()) {
        Some(path) => Place { path, is_credential: true },
        None => Place { path: paths.secret_key(), is_credential: false },
    }
}

fn own_place(paths: &Paths) -> Place {
    place(paths, |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

impl Key {
    /// The key; an error if it is not there.
    pub(super) fn read(paths: &Paths) -> Result<Self, SecretError> {
        let Place { path, is_credential } = own_place(paths);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SecretError::KeyLost { path }),
            opened => opened.map_err(failed("open", &path))?,
        };
        let status = file.metadata().map_err(failed("look at", &path))?;
        let mode = status.permissions().mode() & 0o7777;
        if !is_credential && (mode & 0o077 != 0 || status.uid() != 0) {
            return Err(SecretError::KeyOpen { path, mode });
        }
        Self::parse(file, path)
    }

    /// The key; made if it is not there and `may_make`: no secret was encrypted with one that is lost. Under the secrets' lock.
    pub(super) fn read_or_make(paths: &Paths, may_make: bool) -> Result<Self, SecretError> {
        match Self::read(paths) {
            Err(SecretError::KeyLost { path }) if may_make => {
                Self::make(&path)?;
                Self::read(paths)
            }
            key => key,
        }
    }

    fn make(path: &Path) -> Result<(), SecretError> {
        let make = || -> io::Result<()> {
            let mut bytes = Guarded::new(BYTES)?;
            OsRng.try_fill_bytes(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
            let mut text = Guarded::new(2 * BYTES + 1)?;
            for (pair, byte) in text.chunks_exact_mut(2).zip(bytes.iter()) {
                pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
                pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
            }
            text[2 * BYTES] = b'\n';
            // Through a link, to where it leads.
            let path = if path.is_symlink() { fs::read_link(path)? } else { path.to_owned() };
            replace(&path, &text, 0o600, Durability::Durable)
        };
        make().map_err(failed("make the key of the secrets,", path))
    }

    fn parse(mut file: File, path: PathBuf) -> Result<Self, SecretError> {
        let text = Guarded::read(&mut file.by_ref().take(4096), 4096).map_err(failed("read", &path))?;
        let malformed = || SecretError::KeyMalformed { path: path.clone() };
        let text = text.ok_or_else(malformed)?;
        let digits = text.trim_ascii();
        if digits.len() != 2 * BYTES {
            return Err(malformed());
        }
        let mut bytes = Guarded::new(BYTES).map_err(failed("get memory for", &path))?;
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0]).zip(digit(pair[1])).map(|(high, low)| high << 4 | low).ok_or_else(malformed)?;
        }
        Ok(Self { bytes, path })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Eight digits by which to tell it from others; they say nothing of it.
    pub(super) fn fingerprint(&self) -> String {
        let hash = Sha256::new().chain_update(b"appcontainers secret key 1").chain_update(self.bytes()).finalize();
        hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn digit(character: u8) -> Option<u8> {
    (character as char).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_looked_for_where_it_was_said_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new("/root-of-it", "/run-of-it");
        let credential = directory.path().join(CREDENTIAL);
        let only_credentials = |name: &str| (name == CREDENTIALS_VARIABLE).then(|| directory.path().to_owned());
        assert_eq!(place(&paths, only_credentials).path, paths.secret_key());
        fs::write(&credential, "x").unwrap();
        assert_eq!(place(&paths, only_credentials), Place { path: credential, is_credential: true });
        assert_eq!(
            place(&paths, |_| Some("/elsewhere".into())),
            Place { path: "/elsewhere".into(), is_credential: false }
        );
    }

    #[test]
    fn a_key_is_64_digits() {
        let parse = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), text).unwrap();
            Key::parse(File::open(file.path()).unwrap(), file.path().to_owned())
        };
        let good = "0123456789abcdefABCDEF0123456789".repeat(2);
        let key = parse(&format!("{good}\n")).unwrap();
        assert_eq!(&key.bytes()[..4], [0x01, 0x23, 0x45, 0x67]);
        assert_eq!(key.fingerprint().len(), 8);
        for bad in [String::new(), good[1..].to_owned(), format!("{good}0"), good.replace('0', "g"), "0".repeat(5000)] {
            assert!(matches!(parse(&bad), Err(SecretError::KeyMalformed { .. })), "{bad}");
        }
    }

    #[test]
    fn a_key_is_made_once_for_root_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        Key::make(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() == 65 && text.ends_with('\n'), "{text:?}");
        Key::parse(File::open(&path).unwrap(), path).unwrap();
    }
}
