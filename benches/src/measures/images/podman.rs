//! podman: commits the container and saves the image of that.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{BASE, CHANGE, CHANGED, IMAGE, make_ready};
use crate::{missing::Missing, podman::Podman, sandbox::Sandbox};

/// Its store, and the one that is empty before each load.
const STORE: &str = "images";
const OTHER: &str = "images-other";

pub(super) struct WithPodman {
    podman: Podman,
    /// What was saved last.
    pub(super) file: PathBuf,
}

impl WithPodman {
    /// If podman is there.
    pub(super) fn set_up(sandbox: &Sandbox, missing: &mut Missing, tar: &Path) -> anyhow::Result<Option<Self>> {
        if !Podman::is_there(missing) {
            return Ok(None);
        }
        let podman = Podman::set_up(sandbox)?;
        podman.import(STORE, tar, BASE)?;
        Ok(Some(Self { podman, file: sandbox.base.join("podman.tar") }))
    }

    pub(super) fn save(&self) -> anyhow::Result<Duration> {
        self.podman.time_run(STORE, &["--name", CHANGED, BASE, "sh", "-c", CHANGE])?;
        let file = self.file.to_string_lossy();
        make_ready(&self.file)?;
        let committed = self.podman.timed(STORE, &["commit", "--quiet", CHANGED, IMAGE])?;
        let saved = self.podman.timed(STORE, &["save", "--quiet", "--output", &file, IMAGE])?;
        self.podman.podman(STORE, &["rm", CHANGED])?;
        self.podman.podman(STORE, &["rmi", IMAGE])?;
        Ok(committed + saved)
    }

    pub(super) fn load(&self) -> anyhow::Result<Duration> {
        rustix::fs::sync();
        let time = self.podman.timed(OTHER, &["load", "--quiet", "--input", &self.file.to_string_lossy()])?;
        self.podman.podman(OTHER, &["rmi", "--all"])?;
        Ok(time)
    }
}
