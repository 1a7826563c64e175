//! Secrets as they are kept: made, given another value, listed, removed. Who may have which stands in containers' configurations.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use appcontainers_sys::memory::Guarded;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    MAX_SECRET_BYTES, SecretError, SecretValue,
    error::failed,
    key::Key,
    sealed::{self, Head, MAX_HEAD_BYTES},
};
use crate::{
    ContainerName, Paths, SecretName,
    state::{Durability, SecretsLock, replace},
};

/// The ending of a secret's file.
const ENDING: &str = ".secret";

/// What is known of a secret without its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretDetails {
    /// Its name.
    pub name: SecretName,
    /// When it was made.
    pub created: Timestamp,
    /// When it got its present value.
    pub changed: Timestamp,
    /// How many bytes it has.
    pub bytes: u64,
    /// The fingerprint of the key with which it is encrypted.
    pub key: String,
    /// The containers that are given it.
    pub containers: Vec<ContainerName>,
}

/// Makes a secret. The first one makes the key.
pub(crate) fn create(paths: &Paths, name: &SecretName, value: SecretValue) -> Result<(), SecretError> {
    let _lock = SecretsLock::acquire(paths)?;
    if file(paths, name).exists() {
        return Err(SecretError::Exists { name: name.clone() });
    }
    let key = Key::read_or_make(paths, names(paths)?.is_empty())?;
    let now = Timestamp::now();
    write(paths, name, (now, now), &key, value)
}

/// Gives a secret another value. What containers have of it does not change yet.
pub(crate) fn rotate(paths: &Paths, name: &SecretName, value: SecretValue) -> Result<(), SecretError> {
    let _lock = SecretsLock::acquire(paths)?;
    let now = Timestamp::now();
    let created = match read_head(paths, name) {
        Ok(head) => head.created,
        // That is how it is mended.
        Err(SecretError::Damaged { .. }) => now,
        Err(error) => return Err(error),
    };
    write(paths, name, (created, now), &Key::read(paths)?, value)
}

/// Removes a secret that no container is given, as `granted` says.
pub(crate) fn remove<E: From<SecretError>>(
    paths: &Paths,
    name: &SecretName,
    granted: impl FnOnce() -> Result<Vec<ContainerName>, E>,
) -> Result<(), E> {
    let _lock = SecretsLock::acquire(paths).map_err(SecretError::from)?;
    let path = file(paths, name);
    if !path.exists() {
        return Err(SecretError::Unknown { name: name.clone() }.into());
    }
    let containers = granted()?;
    if !containers.is_empty() {
        return Err(SecretError::InUse { name: name.clone(), containers }.into());
    }
    let removed = fs::remove_file(&path).and_then(|()| File::open(paths.secrets())?.sync_all());
    Ok(removed.map_err(failed("remove", &path))?)
}

/// One secret.
pub(crate) fn find(paths: &Paths, name: &SecretName) -> Result<SecretDetails, SecretError> {
    read_head(paths, name).map(details)
}

/// All secrets whose heads can be read, by name. `containers` is left empty.
pub(crate) fn list(paths: &Paths) -> Result<Vec<SecretDetails>, SecretError> {
    let mut found = Vec::new();
    for name in names(paths)? {
        match read_head(paths, &name) {
            Ok(head) => found.push(details(head)),
            Err(SecretError::Unknown { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// How many secrets the key is right for, and what is wrong with the others. None is decrypted.
pub(crate) fn unusable(paths: &Paths) -> Result<(usize, Vec<SecretError>), SecretError> {
    let names = names(paths)?;
    if names.is_empty() {
        return Ok((0, Vec::new()));
    }
    let key = match Key::read(paths) {
        Ok(key) => key,
        Err(error) => return Ok((0, vec![error])),
    };
    let fits = |name| read_head(paths, name).and_then(|head| head.check_key(&key));
    let errors: Vec<_> = names.iter().filter_map(|name| fits(name).err()).collect();
    Ok((names.len() - errors.len(), errors))
}

/// The file of a secret.
pub(super) fn file(paths: &Paths, name: &SecretName) -> PathBuf {
    paths.secrets().join(format!("{name}{ENDING}"))
}

/// Tells one value of a secret from every other, without the key.
pub(super) fn stamp(paths: &Paths, name: &SecretName) -> Result<String, SecretError> {
    let path = file(paths, name);
    match fs::metadata(&path) {
        Ok(status) => Ok(format!("{}-{}.{:09}", status.ino(), status.ctime(), status.ctime_nsec())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SecretError::Unknown { name: name.clone() }),
        Err(error) => Err(failed("look at", &path)(error)),
    }
}

/// A secret in plain text: only for the process that gives it to a container.
pub(super) fn reveal(paths: &Paths, name: &SecretName, key: &Key) -> Result<Guarded, SecretError> {
    let path = file(paths, name);
    let sealed = read(name, &path, MAX_SECRET_BYTES + MAX_HEAD_BYTES)?;
    sealed::open(name, &path, key, &sealed)
}

fn write(
    paths: &Paths,
    name: &SecretName,
    (created, changed): (Timestamp, Timestamp),
    key: &Key,
    SecretValue(value): SecretValue,
) -> Result<(), SecretError> {
    let sealed = sealed::seal(name, created, changed, key, value)?;
    let path = file(paths, name);
    replace(&path, &sealed, 0o600, Durability::Durable).map_err(failed("write", &path))
}

fn read_head(paths: &Paths, name: &SecretName) -> Result<Head, SecretError> {
    let path = file(paths, name);
    let begin = read(name, &path, MAX_HEAD_BYTES)?;
    sealed::head(name, &path, &begin).map(|(head, _)| head)
}

/// The beginning of a secret's file.
fn read(name: &SecretName, path: &Path, most: usize) -> Result<Vec<u8>, SecretError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SecretError::Unknown { name: name.clone() });
        }
        opened => opened.map_err(failed("open", path))?,
    };
    let mut bytes = Vec::new();
    file.take(most as u64).read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(bytes)
}

fn names(paths: &Paths) -> Result<Vec<SecretName>, SecretError> {
    let directory = paths.secrets();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("list", &directory))?,
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(ENDING)?.parse().ok();
    let mut names: Vec<SecretName> = entries.flatten().filter_map(name).collect();
    names.sort();
    Ok(names)
}

fn details(head: Head) -> SecretDetails {
    let Head { name, created, changed, bytes, key, .. } = head;
    SecretDetails { name, created, changed, bytes, key, containers: Vec::new() }
}
