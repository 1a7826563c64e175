//! Secrets: small files that containers are given and that are nowhere else in plain text.
//!
//! ```text
//! secrets/key, or where it was said to be          the key: 32 random bytes
//! secrets/NAME.secret                              encrypted; its head says what it is and since when
//! run/containers/NAME/secrets/                     a file system in memory, the container's own, mounted as long as it runs
//!   shown/  apart/  new/                           what is seen at /run/secrets; files for other places; files being written
//!   delivered.json                                 what it was given, and of which state of the secret
//! ```
//! `store` owns what is kept, `delivery` decides when a container gets something, and [`deliver()`] is what gives it: in a process
//! of its own (`appc-monitor secrets NAME`), the only one that ever decrypts. It makes what the container has into what it is
//! to have, whatever was done before: called twice, or after one that was killed, it ends in the same state.
//!
//! Nobody but `deliver` and whoever calls the library with a new value has a secret in memory.

mod deliver;
mod delivery;
mod error;
mod grant;
mod key;
mod owner;
mod place;
mod sealed;
mod store;
mod value;

pub use deliver::deliver;
pub use delivery::{catch_up, deliver_apart};
pub(crate) use delivery::{check, granting, prepare};
pub use error::SecretError;
pub use grant::{InvalidGrant, SECRETS_DIRECTORY, SecretGrant};
pub(crate) use key::holder as key_holder;
pub use key::{CREDENTIAL, KEY_FILE_VARIABLE, VARIABLES as KEY_VARIABLES};
pub(crate) use place::NAME as PLACE;
pub use store::SecretDetails;
pub(crate) use store::{create, find, list, remove, rotate, unusable};
pub use value::{MAX_SECRET_BYTES, SecretValue};
