//! Our side.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{BASE, CHANGE, CHANGED, IMAGE, LOADED, make_ready};
use crate::{installation::Installation, sandbox::Sandbox};

pub(super) struct Ours {
    installation: Installation,
    /// Its store is empty before each load.
    other: Installation,
    /// What was saved last.
    pub(super) file: PathBuf,
}

impl Ours {
    pub(super) fn set_up(sandbox: &Sandbox, tar: &Path) -> anyhow::Result<Self> {
        let installation = Installation::set_up(sandbox, "images")?;
        installation.appc(&["base", "import", &tar.to_string_lossy(), "--name", BASE])?;
        let other = Installation::set_up(sandbox, "images-other")?;
        Ok(Self { installation, other, file: sandbox.base.join("ours.aimg") })
    }

    pub(super) fn save(&self) -> anyhow::Result<Duration> {
        let appc = |arguments: &[&str]| self.installation.appc(arguments);
        appc(&["provision", "--base", BASE, "--name", CHANGED])?;
        appc(&["-c", CHANGED, "run", "--", "sh", "-c", CHANGE])?;
        self.installation.wait_cleared_up()?;
        make_ready(&self.file)?;
        let save = ["-c", CHANGED, "save-image", &self.file.to_string_lossy(), "--name", IMAGE];
        let time = self.installation.timed(&save)?;
        appc(&["rm", CHANGED])?;
        appc(&["gc"])?;
        Ok(time)
    }

    pub(super) fn load(&self) -> anyhow::Result<Duration> {
        rustix::fs::sync();
        let time = self.other.timed(&["load-image", &self.file.to_string_lossy(), "--name", LOADED])?;
        self.other.appc(&["rm", LOADED])?;
        self.other.appc(&["image", "rm", IMAGE])?;
        // With the image go its layers: the next load finds an empty store.
        self.other.appc(&["gc"])?;
        Ok(time)
    }
}
