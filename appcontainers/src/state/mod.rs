//! Locks and whole files: how state on disk stays sound when commands run at once or are killed.

mod directory;
mod file;
mod lock;

pub use directory::create_directory;
pub use file::{Durability, StateError, Versioned, read, replace, write};
pub(crate) use file::{refuse_newer, temporary_beside, version_of};
pub(crate) use lock::create_run_directories;
pub use lock::{ContainerLock, GatewayLock, HostLock, JournalLock, LockError, SecretsLock};
