//! Another image for a container that stays: name, address, MAC, ids, rules and settings are kept.
//!
//! What was written in it goes first, and then the image changes, in one step: a command that is killed leaves the old image,
//! with or without what was written, or the new one.

use std::{collections::BTreeMap, time::Duration};

use super::{Container, lifecycle::startup_length};
use crate::{
    Error, event,
    image::{BaseReference, Manifest},
    runtime::Status,
    state::ContainerLock,
};

impl Container {
    /// Stops the container, if it runs, and gives it the image's files, with those of the skeleton, and its configuration. It
    /// is not started again, unless this fails. `env` goes over the image's variables.
    pub(crate) fn replace_image(
        &self,
        manifest: &Manifest,
        env: &BTreeMap<String, String>,
        timeout: Duration,
    ) -> Result<(), Error> {
        let was_running = self.status()? == Status::Running;
        // What can't be rendered stops no container.
        self.rendered_skeleton()?;
        let image = BaseReference { name: manifest.name.clone(), digest: manifest.digest()? };
        let lock = self.stop_and_lock(timeout)?;
        let replaced = self.renew(&lock).and_then(|()| {
            let mut record = self.record()?;
            record.base = manifest.base.clone().unwrap_or_else(|| image.clone());
            record.image = image;
            record.layers = manifest.layers.iter().map(|layer| layer.digest).collect();
            record.config = manifest.config.clone();
            record.config.env.extend(env.clone());
            Ok(record.store(&self.paths)?)
        });
        drop(lock);
        if replaced.is_ok() {
            event::note(&self.paths, &self.name, "replace", &[("image", manifest.name.as_str().into())]);
        } else if let Err(undo) = self.back_after_failure(was_running) {
            tracing::warn!(name = %self.name, %undo, "cannot start the container again with its old image");
        }
        replaced
    }

    /// Stops the container, if it runs, and gives its commands these variables. It is not started again.
    pub(crate) fn replace_env(&self, env: BTreeMap<String, String>, timeout: Duration) -> Result<(), Error> {
        let with_env = || {
            let mut record = self.record()?;
            record.config.env.clone_from(&env);
            startup_length(&self.name, &record)?;
            Ok::<_, Error>(record)
        };
        // What can't be stops no container.
        with_env()?;
        let _lock = self.stop_and_lock(timeout)?;
        Ok(with_env()?.store(&self.paths)?)
    }

    fn stop_and_lock(&self, timeout: Duration) -> Result<ContainerLock, Error> {
        loop {
            self.stop_to_start(timeout)?;
            let lock = self.lock()?;
            // Another command may have started it meanwhile.
            if self.status()?.can_start() {
                return Ok(lock);
            }
        }
    }
}
