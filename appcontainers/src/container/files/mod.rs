//! Operations on a container's files. All go through an agent in the container, in its user namespace and its root,
//! also for a container that is stopped: then one is started without network for as long as the operation takes.
//!
//! Files travel as one tar stream (`appc-agent tar` on one side, `appc-agent untar` on the other), through pipes: how
//! large they are makes no difference to the memory that it takes. On the host the same program runs as a child, see
//! [`host`].

mod fetch;
mod host;
mod operation;
mod put;
mod relay;
mod said;
mod tail;

use std::fs::File;

pub use fetch::{FetchDestination, FetchOptions};
pub use put::{PutOptions, PutSource};
pub use tail::TailOptions;

use self::operation::Operation;
use super::Container;
use crate::{Error, image::ImageConfig, state::ContainerLock};

impl Container {
    /// Unpacks a plain tar, read from `tar`, into `into` (the home directory of the container's user if absent).
    pub(crate) fn unpack(&self, lock: &ContainerLock, tar: File, into: Option<&str>) -> Result<(), Error> {
        let mut argv = vec!["untar".to_owned()];
        if let Some(directory) = into {
            argv.extend(["--into".to_owned(), directory.to_owned()]);
        } else {
            argv.extend(user_option(&self.record()?.config));
        }
        self.operate_locked(lock, Operation { argv, stdin: Some(tar), ..Operation::default() })?.check(self)
    }

    /// Unpacks a plain tar that a build makes below the directory `into`, which is made if it is missing; all of it becomes
    /// `owner`'s.
    pub(crate) fn unpack_copied(&self, tar: File, into: &str, owner: &str) -> Result<(), Error> {
        let lock = self.lock()?;
        let argv = ["untar", "--into", into, "--owner", owner].map(str::to_owned).into();
        self.operate_locked(&lock, Operation { argv, stdin: Some(tar), ..Operation::default() })?.check(self)
    }

    /// Unpacks a tar that this library made, from `/` on, in the container's writable layer or in its next one.
    pub(super) fn unpack_rendered(&self, lock: &ContainerLock, tar: File, on_next_layer: bool) -> Result<(), Error> {
        let argv = ["untar", "--into", "/", "--owners"].map(str::to_owned).into();
        let operation = Operation { argv, stdin: Some(tar), on_next_layer, ..Operation::default() };
        self.operate_locked(lock, operation)?.check(self)
    }
}

/// Whose home the agent takes relative paths from.
fn user_option(config: &ImageConfig) -> Vec<String> {
    config.user.as_ref().map_or_else(Vec::new, |user| vec!["--user".to_owned(), user.clone()])
}

/// A path as a command in the container would mean it: from its working directory, which, if there is none, the agent
/// takes for the user's home.
fn from_working_dir(config: &ImageConfig, path: &str) -> String {
    match &config.working_dir {
        Some(directory) if !path.starts_with('/') => format!("/{}/{path}", directory.trim_matches('/')),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_where_commands_do() {
        let config =
            |directory: &str| ImageConfig { working_dir: Some(directory.to_owned()), ..ImageConfig::default() };
        assert_eq!(from_working_dir(&config("/srv/"), "app/."), "/srv/app/.");
        assert_eq!(from_working_dir(&config("srv"), "app"), "/srv/app");
        assert_eq!(from_working_dir(&config("/"), "app"), "//app");
        assert_eq!(from_working_dir(&config("/srv"), "/app"), "/app");
        assert_eq!(from_working_dir(&ImageConfig::default(), "app"), "app");
    }
}
