//! What can go wrong with secrets. No message has anything of a secret but its name.

use std::{io, path::PathBuf};

use crate::{
    ContainerName, InsidePath, SecretName,
    state::{LockError, StateError},
};

/// Why a secret can't be kept, or not be given to a container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// There is none of this name.
    #[error("there is no secret {name}; `appc secret ls` lists them, `appc secret create {name} FILE` makes it")]
    Unknown {
        /// The name.
        name: SecretName,
    },
    /// The name is taken.
    #[error("there is a secret {name} already; give it another value: appc secret rotate {name} FILE")]
    Exists {
        /// The name.
        name: SecretName,
    },
    /// It can't be read.
    #[error("cannot read the secret from {what}")]
    ReadValue {
        /// From where.
        what: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It is too long.
    #[error("{what} has more than {limit} bytes, the most that a secret may have; use a volume or a file for more")]
    TooLarge {
        /// Where it is from.
        what: String,
        /// The most bytes.
        limit: usize,
    },
    /// It has nothing in it.
    #[error("{what} is empty: that is no secret")]
    Empty {
        /// Where it is from.
        what: String,
    },
    /// There are secrets and no key.
    #[error(
        "the key of the secrets is lost: {} is not there; put it back from a backup, or name where it is in {}. \
         Secrets that nobody has a key of can only be removed: appc secret rm NAME",
        path.display(), super::KEY_FILE_VARIABLE
    )]
    KeyLost {
        /// Where it should be.
        path: PathBuf,
    },
    /// The key is another one than that with which the secret was encrypted.
    #[error(
        "{} is not the key of secret {name}: that has the fingerprint {wanted}, this {found}; \
         put the right one there from a backup, or name where it is in {}",
        path.display(), super::KEY_FILE_VARIABLE
    )]
    KeyWrong {
        /// The key's file.
        path: PathBuf,
        /// The secret.
        name: SecretName,
        /// The fingerprint of the key that it was encrypted with.
        wanted: String,
        /// That of this one.
        found: String,
    },
    /// The key's file is none.
    #[error("{} is no key of secrets: it has to be one line, 64 hexadecimal digits; put it back from a backup", path.display())]
    KeyMalformed {
        /// The file.
        path: PathBuf,
    },
    /// Others may read the key.
    #[error("{path} has mode {mode:04o}: others than root may read the key of the secrets; close it: chmod 600 {path}", path = path.display())]
    KeyOpen {
        /// The key's file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The secret's file is not as it was written.
    #[error(
        "secret {name} is damaged: {} is not as it was written; give it its value again: appc secret rotate {name} FILE",
        path.display()
    )]
    Damaged {
        /// The secret.
        name: SecretName,
        /// Its file.
        path: PathBuf,
    },
    /// The secret's file was written by a newer program.
    #[error("{} is a secret of version {found}, this appc knows version 1; use the newer appc that wrote it", path.display())]
    Newer {
        /// Its file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Containers are given it.
    #[error(
        "secret {name} is given to {}; take it from there first: appc secret revoke CONTAINER {name}",
        containers.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
    )]
    InUse {
        /// The secret.
        name: SecretName,
        /// Which have it.
        containers: Vec<ContainerName>,
    },
    /// The container has it already.
    #[error(
        "container {container} has secret {name} already; take that away first: appc secret revoke {container} {name}"
    )]
    AlreadyGranted {
        /// The container.
        container: ContainerName,
        /// The secret.
        name: SecretName,
    },
    /// The container has not got it.
    #[error("container {container} has no secret {name}; those that it has: appc inspect {container}")]
    NotGranted {
        /// The container.
        container: ContainerName,
        /// The secret.
        name: SecretName,
    },
    /// Two secrets at one place, or one in the other's.
    #[error("two secrets can't be at {path}, nor one below the other; choose another path for one")]
    SamePlace {
        /// The place.
        path: InsidePath,
    },
    /// A secret is asked for twice.
    #[error("secret {name} is asked for twice; a container has a secret at one place")]
    Twice {
        /// The secret.
        name: SecretName,
    },
    /// Too many for one container.
    #[error("a container may have {limit} secrets at the most")]
    TooMany {
        /// How many it may have.
        limit: usize,
    },
    /// The owner is nobody in the container.
    #[error("secret {name} is to belong to {owner}, who is not in /etc/passwd and /etc/group of container {container}")]
    NoSuchOwner {
        /// The secret.
        name: SecretName,
        /// The container.
        container: ContainerName,
        /// Who.
        owner: String,
    },
    /// The container's list of users can't be read.
    #[error("cannot read {path} of container {container}")]
    Users {
        /// The container.
        container: ContainerName,
        /// The file.
        path: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file can't be shown in the container.
    #[error(
        "cannot show a secret at {path} in container {container}; no part of that path may be a symbolic link in the image, and \
         its end has to be a file or nothing"
    )]
    Attach {
        /// The container.
        container: ContainerName,
        /// Where.
        path: InsidePath,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The process that gives a container its secrets failed.
    #[error("container {container} did not get its secrets: {said}")]
    NotDelivered {
        /// The container.
        container: ContainerName,
        /// What that process said.
        said: String,
    },
    /// A secret was changed, and not all containers that run got it.
    #[error(
        "secret {name} has its new value, which these containers did not get: {}; when that is mended: appc restart NAME",
        failed.join("; ")
    )]
    NotEverywhere {
        /// The secret.
        name: SecretName,
        /// Which, and why.
        failed: Vec<String>,
    },
    /// A step on a file failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The step.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The cipher could not be used.
    #[error("cannot encrypt secret {name}")]
    Cipher {
        /// The secret.
        name: SecretName,
    },
    /// A lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// A program of ours.
    #[error(transparent)]
    Program(#[from] crate::runtime::ProgramMissing),
    /// A reservation.
    #[error(transparent)]
    Reservation(#[from] crate::network::ReservationError),
}

/// For `map_err`: a step failed.
pub(super) fn failed(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> SecretError {
    let path = path.into();
    move |source| SecretError::Io { action, path, source }
}
