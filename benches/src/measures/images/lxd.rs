//! LXD: publishes the container as an image and exports that.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{BASE, CHANGE, CHANGED, IMAGE, LOADED, make_ready};
use crate::{lxd::Lxd, missing::Missing, sandbox::Sandbox};

pub(super) struct WithLxd {
    lxd: Lxd,
    /// The file without the ending that LXD gives it.
    export: PathBuf,
    /// What was saved last.
    pub(super) file: PathBuf,
}

impl WithLxd {
    /// If LXD is there.
    pub(super) fn set_up(sandbox: &Sandbox, missing: &mut Missing, tar: &Path) -> anyhow::Result<Option<Self>> {
        if !Lxd::is_there(missing) {
            return Ok(None);
        }
        let lxd = Lxd::set_up(sandbox, "images")?;
        lxd.import(tar, BASE)?;
        let export = sandbox.base.join("lxd");
        Ok(Some(Self { lxd, file: export.with_extension("tar.gz"), export }))
    }

    pub(super) fn save(&self) -> anyhow::Result<Duration> {
        self.lxd.lxc(&["launch", BASE, CHANGED])?;
        self.lxd.lxc(&["exec", CHANGED, "--", "sh", "-c", CHANGE])?;
        self.lxd.lxc(&["stop", "--force", CHANGED])?;
        make_ready(&self.file)?;
        let published = self.lxd.timed(&["publish", CHANGED, "--alias", IMAGE])?;
        let exported = self.lxd.timed(&["image", "export", IMAGE, &self.export.to_string_lossy()])?;
        self.lxd.lxc(&["delete", CHANGED])?;
        self.lxd.lxc(&["image", "delete", IMAGE])?;
        Ok(published + exported)
    }

    /// An import keeps the file as it is: only the container that is made then has the files, as with ours.
    pub(super) fn load(&self) -> anyhow::Result<Duration> {
        rustix::fs::sync();
        let imported = self.lxd.timed(&["image", "import", &self.file.to_string_lossy(), "--alias", IMAGE])?;
        let made = self.lxd.timed(&["init", IMAGE, LOADED])?;
        self.lxd.lxc(&["delete", LOADED])?;
        self.lxd.lxc(&["image", "delete", IMAGE])?;
        Ok(imported + made)
    }
}
