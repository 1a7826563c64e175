//! A secret's file: a line of JSON, its head, and then the encrypted bytes with their tag (XChaCha20-Poly1305, the head authenticated
//! with them). So a file that was changed, cut, or put under another secret's name does not open.

use std::path::Path;

use appcontainers_sys::memory::Guarded;
use chacha20poly1305::{AeadInPlace as _, KeyInit as _, Tag, XChaCha20Poly1305, XNonce};
use jiff::Timestamp;
use rand::{TryRngCore as _, rngs::OsRng};
use serde::{Deserialize, Serialize};

use super::{SecretError, error::failed, key::Key};
use crate::SecretName;

/// The format that is written.
const VERSION: u32 = 1;

/// Bytes of the tag, at the end.
const TAG_BYTES: usize = 16;

/// More than any head has.
pub(super) const MAX_HEAD_BYTES: usize = 4096;

/// What a secret's file says of it in plain text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) version: u32,
    pub(super) name: SecretName,
    pub(super) created: Timestamp,
    /// When it got its present value.
    pub(super) changed: Timestamp,
    pub(super) bytes: u64,
    /// The fingerprint of its key.
    pub(super) key: String,
    /// Never used twice: 24 random bytes, in hexadecimal digits.
    nonce: String,
}

impl Head {
    /// Whether this is the key that opens it.
    pub(super) fn check_key(&self, key: &Key) -> Result<(), SecretError> {
        let found = key.fingerprint();
        if self.key == found {
            return Ok(());
        }
        let (path, name, wanted) = (key.path().to_owned(), self.name.clone(), self.key.clone());
        Err(SecretError::KeyWrong { path, name, wanted, found })
    }
}

/// The whole file of a secret. The value is gone afterwards.
pub(super) fn seal(
    name: &SecretName,
    created: Timestamp,
    changed: Timestamp,
    key: &Key,
    mut value: Guarded,
) -> Result<Vec<u8>, SecretError> {
    let no_cipher = || SecretError::Cipher { name: name.clone() };
    let mut nonce = [0; 24];
    OsRng.try_fill_bytes(&mut nonce).map_err(|_| no_cipher())?;
    let head = Head {
        version: VERSION,
        name: name.clone(),
        created,
        changed,
        bytes: value.len() as u64,
        key: key.fingerprint(),
        nonce: nonce.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let mut file = serde_json::to_vec(&head).map_err(|_| no_cipher())?;
    file.push(b'\n');
    let cipher = XChaCha20Poly1305::new_from_slice(key.bytes()).map_err(|_| no_cipher())?;
    let tag = cipher.encrypt_in_place_detached(XNonce::from_slice(&nonce), &file, &mut value);
    let tag = tag.map_err(|_| no_cipher())?;
    file.extend_from_slice(&value);
    file.extend_from_slice(&tag);
    Ok(file)
}

/// The head of a secret's file, and where the rest begins.
pub(super) fn head(name: &SecretName, path: &Path, file: &[u8]) -> Result<(Head, usize), SecretError> {
    let damaged = || SecretError::Damaged { name: name.clone(), path: path.to_owned() };
    let end = file.iter().take(MAX_HEAD_BYTES).position(|byte| *byte == b'\n').ok_or_else(damaged)?;
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version: found } = serde_json::from_slice(&file[..end]).map_err(|_| damaged())?;
    if found > VERSION {
        return Err(SecretError::Newer { path: path.to_owned(), found });
    }
    let head: Head = serde_json::from_slice(&file[..end]).map_err(|_| damaged())?;
    if head.name != *name { Err(damaged()) } else { Ok((head, end + 1)) }
}

/// What was sealed.
pub(super) fn open(name: &SecretName, path: &Path, key: &Key, file: &[u8]) -> Result<Guarded, SecretError> {
    let damaged = || SecretError::Damaged { name: name.clone(), path: path.to_owned() };
    let (head, begin) = head(name, path, file)?;
    head.check_key(key)?;
    let (authenticated, rest) = file.split_at(begin);
    let (sealed, tag) = rest.split_at_checked(rest.len().saturating_sub(TAG_BYTES)).ok_or_else(damaged)?;
    if tag.len() != TAG_BYTES || sealed.len() as u64 != head.bytes {
        return Err(damaged());
    }
    let nonce = nonce(&head.nonce).ok_or_else(damaged)?;
    let mut value = Guarded::new(sealed.len()).map_err(failed("get memory for", path))?;
    value.copy_from_slice(sealed);
    let cipher = XChaCha20Poly1305::new_from_slice(key.bytes()).map_err(|_| damaged())?;
    let opened =
        cipher.decrypt_in_place_detached(XNonce::from_slice(&nonce), authenticated, &mut value, Tag::from_slice(tag));
    opened.map(|()| value).map_err(|_| damaged())
}

fn nonce(text: &str) -> Option<[u8; 24]> {
    let mut nonce = [0; 24];
    if text.len() != 48 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in nonce.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(nonce)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::Paths;

    fn key(directory: &Path) -> Key {
        let paths = Paths::new(directory, directory);
        let _ = fs::create_dir(paths.secrets());
        Key::read_or_make(&paths, true).unwrap()
    }

    fn guarded(bytes: &[u8]) -> Guarded {
        Guarded::read(&mut &bytes[..], bytes.len()).unwrap().unwrap()
    }

    #[test]
    fn another_key_or_another_name_opens_nothing_and_a_flipped_bit_neither() {
        let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (key, wrong) = (key(one.path()), self::key(other.path()));
        let (name, path) = ("db".parse().unwrap(), Path::new("db.secret"));
        let time = Timestamp::UNIX_EPOCH;
        let file = seal(&name, time, time, &key, guarded(b"hunter2")).unwrap();
        assert!(!file.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(&open(&name, path, &key, &file).unwrap()[..], b"hunter2");
        let error = open(&name, path, &wrong, &file).unwrap_err();
        assert!(matches!(error, SecretError::KeyWrong { .. }), "{error}");
        let error = open(&"dc".parse().unwrap(), path, &key, &file).unwrap_err();
        assert!(matches!(error, SecretError::Damaged { .. }), "{error}");
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(open(&name, path, &key, &changed).is_err(), "byte {at}");
            assert!(open(&name, path, &key, &file[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn two_seals_of_one_value_have_nothing_in_common() {
        let place = tempfile::tempdir().unwrap();
        let (key, name) = (key(place.path()), "db".parse().unwrap());
        let seal = || seal(&name, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, &key, guarded(&[0; 64])).unwrap();
        let (one, two) = (seal(), seal());
        assert_ne!(one[one.len() - 80..], two[two.len() - 80..]);
    }

    proptest! {
        #[test]
        fn no_file_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let place = tempfile::tempdir().unwrap();
            let name = "db".parse().unwrap();
            prop_assert!(open(&name, Path::new("db"), &key(place.path()), &bytes).is_err());
        }
    }
}
