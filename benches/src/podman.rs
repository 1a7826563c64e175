//! podman, with stores of its own and its default bridge network.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    missing::Missing,
    room::Room,
    sandbox::Sandbox,
    timing::{output, timed},
};

/// Limits that every host can give; podman's own defaults are above what a container in a sandbox may have.
const RUN: &[&str] = &["run", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];

/// podman in a mount namespace that it finds fit.
#[derive(Debug)]
pub(crate) struct Podman {
    room: Room,
    state: PathBuf,
}

impl Podman {
    /// Whether it is installed; if not, that is noted.
    pub(crate) fn is_there(missing: &mut Missing) -> bool {
        missing.has("podman", "podman")
    }

    pub(crate) fn set_up(sandbox: &Sandbox) -> anyhow::Result<Self> {
        let podman = Self { room: Room::new()?, state: sandbox.directory("podman")? };
        podman.room.run(|| {
            // crun takes a hybrid host for one of version 2. Where these are not mounted, all is well.
            for hybrid in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"] {
                let _ = output(Command::new("umount").arg(hybrid));
            }
            // Its locks and network namespaces, away from those of the host.
            output(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]))
        })??;
        Ok(podman)
    }

    fn command(&self, store: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command.arg("--root").arg(self.state.join(store)).args(["--runroot", &format!("/run/podman-{store}")]);
        command.args(["--cgroup-manager", "cgroupfs"]).args(arguments);
        command
    }

    /// Makes an image of a tar of its files.
    pub(crate) fn import(&self, store: &str, tar: &Path, image: &str) -> anyhow::Result<()> {
        self.podman(store, &["import", "--quiet", &tar.to_string_lossy(), image]).map(drop)
    }

    /// Runs a command to its end and gives what it printed.
    pub(crate) fn podman(&self, store: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.command(store, arguments);
        self.room.run(move || output(&mut command))?
    }

    /// How long a command takes.
    pub(crate) fn timed(&self, store: &str, arguments: &[&str]) -> anyhow::Result<Duration> {
        let mut command = self.command(store, arguments);
        self.room.run(move || timed(&mut command))?
    }

    /// How long `podman run` takes.
    pub(crate) fn time_run(&self, store: &str, arguments: &[&str]) -> anyhow::Result<Duration> {
        self.timed(store, &[RUN, arguments].concat())
    }
}
