//! One small app as an image: made as a user of ours makes it, and the same files as an image of each peer.

use std::{path::PathBuf, process::Command};

use crate::{installation::Installation, lxd::Lxd, missing::Missing, podman::Podman, sandbox::Sandbox, timing::output};

/// The image's name everywhere.
pub(crate) const IMAGE: &str = "app";

/// Changes the base that it is made of.
pub(crate) const CHANGE: &str = "echo app > /root/app";

/// A container of ours from it.
pub(crate) const CONTAINER: &str = "model";

/// The image in an installation of its own, with a container that runs.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) ours: Installation,
    name: &'static str,
    /// The container's files, all of them root's.
    pub(crate) tar: PathBuf,
}

impl App {
    /// `name` is that of the installation, and of podman's and LXD's stores; `change` is for the shell.
    pub(crate) fn make(sandbox: &Sandbox, name: &'static str, change: &str) -> anyhow::Result<Self> {
        let ours = Installation::set_up(sandbox, name)?;
        save_image(sandbox, &ours, change)?;
        ours.appc(&["load-image", IMAGE, "--name", CONTAINER])?;
        ours.appc(&["start", CONTAINER])?;
        let tar = sandbox.base.join(name).join("app.tar");
        let root = format!("/proc/{}/root", ours.processes(CONTAINER)?.agent);
        let mut command = Command::new("tar");
        command.args(["--one-file-system", "--owner=0", "--group=0", "-C", &root, "-cf"]).arg(&tar).arg(".");
        output(&mut command)?;
        Ok(Self { ours, name, tar })
    }

    /// podman with the image, if it is there.
    pub(crate) fn in_podman(&self, sandbox: &Sandbox, missing: &mut Missing) -> anyhow::Result<Option<Podman>> {
        if !Podman::is_there(missing) {
            return Ok(None);
        }
        let podman = Podman::set_up(sandbox)?;
        podman.import(self.name, &self.tar, IMAGE)?;
        Ok(Some(podman))
    }

    /// LXD with the image, if it is there.
    pub(crate) fn in_lxd(&self, sandbox: &Sandbox, missing: &mut Missing) -> anyhow::Result<Option<Lxd>> {
        if !Lxd::is_there(missing) {
            return Ok(None);
        }
        let lxd = Lxd::set_up(sandbox, self.name)?;
        lxd.import(&self.tar, IMAGE)?;
        Ok(Some(lxd))
    }
}

/// A base and a layer of changes, through its file.
fn save_image(sandbox: &Sandbox, ours: &Installation, change: &str) -> anyhow::Result<()> {
    let file = sandbox.base.join("app.aimg").to_string_lossy().into_owned();
    ours.appc(&["provision", "--name", "maker"])?;
    ours.appc(&["-c", "maker", "run", "--", "sh", "-c", change])?;
    ours.appc(&["-c", "maker", "save-image", &file, "--name", IMAGE])?;
    ours.appc(&["load-image", &file, "--name", "loaded"])?;
    for container in ["maker", "loaded"] {
        ours.appc(&["rm", container])?;
    }
    Ok(())
}
