//! `lxc-execute` with the configuration that this project gives LXC: the same namespaces, id map, routed interface,
//! seccomp policy, capabilities, limits and masks.
//!
//! What differs is in its favour: its root file system is a plain directory that is there already.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    installation::Installation,
    sandbox::Sandbox,
    timing::{output, timed},
};

const NAME: &str = "peer";

/// A container of LXC's own.
#[derive(Debug)]
pub(crate) struct LxcExecute {
    lxc_path: PathBuf,
    config: PathBuf,
}

impl LxcExecute {
    /// Takes configuration and files from a container that runs; it may be stopped afterwards, but has to stay, as
    /// this one has its address and ids.
    pub(crate) fn modelled_on(sandbox: &Sandbox, ours: &Installation, container: &str) -> anyhow::Result<Self> {
        let directory = ours.run_directory(container)?;
        let lxc_path = sandbox.directory("lxc")?;
        let root = sandbox.directory("lxc/root")?;
        copy_files(&format!("/proc/{}/root", ours.processes(container)?.agent), &root)?;
        let seccomp = lxc_path.join("seccomp");
        fs::copy(directory.join("seccomp"), &seccomp).context("cannot copy the seccomp policy")?;
        let text = fs::read_to_string(directory.join("lxc.conf")).context("cannot read lxc.conf")?;
        let config = lxc_path.join("config");
        fs::write(&config, adapt(&text, &directory, &root, &seccomp))?;
        Ok(Self { lxc_path, config })
    }

    /// How long `lxc-execute -- true` takes.
    pub(crate) fn time_start(&self) -> anyhow::Result<Duration> {
        let mut command = Command::new("lxc-execute");
        command.args(["--name", NAME, "--lxcpath"]).arg(&self.lxc_path).arg("--rcfile").arg(&self.config);
        timed(command.args(["--", "/bin/true"]))
    }
}

/// The files of a running container's root, with the owners that they have on the host.
fn copy_files(from: &str, to: &Path) -> anyhow::Result<()> {
    let script = "tar -C \"$1\" --one-file-system --numeric-owner -c . | tar -C \"$2\" --numeric-owner -xp";
    output(Command::new("sh").args(["-c", script, "sh", from]).arg(to)).map(drop)
}

/// Our configuration for another root file system, without what belongs to the agent and to one start.
fn adapt(config: &str, run_directory: &Path, root: &Path, seccomp: &Path) -> String {
    let ours = run_directory.to_string_lossy();
    let kept = config.lines().filter_map(|line| match line.split_once(" = ")?.0 {
        "lxc.rootfs.path" => Some(format!("lxc.rootfs.path = dir:{}", root.display())),
        "lxc.seccomp.profile" => Some(format!("lxc.seccomp.profile = {}", seccomp.display())),
        "lxc.net.0.veth.pair" => Some("lxc.net.0.veth.pair = vpeer".to_owned()),
        "lxc.init.cmd" | "lxc.log.file" | "lxc.log.level" => None,
        key if key.starts_with("lxc.hook.") || key.starts_with("lxc.cgroup.dir.") => None,
        "lxc.mount.entry" if line.contains(&*ours) => None,
        _ => Some(line.to_owned()),
    });
    kept.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_confines_stays_and_what_is_the_agents_goes() {
        let ours = "lxc.rootfs.path = dir:/run/a/root\nlxc.idmap = u 0 1 2\nlxc.hook.post-stop = x\n\
                    lxc.cgroup.dir.monitor = m\nlxc.cgroup.pids.max = 5\nlxc.init.cmd = /dev/.appc/agent\n\
                    lxc.mount.entry = /run/a/program dev/.appc/agent none bind 0 0\n\
                    lxc.mount.entry = /dev/null proc/keys none bind 0 0\n";
        assert_eq!(
            adapt(ours, Path::new("/run/a"), Path::new("/r"), Path::new("/s")),
            "lxc.rootfs.path = dir:/r\nlxc.idmap = u 0 1 2\nlxc.cgroup.pids.max = 5\n\
             lxc.mount.entry = /dev/null proc/keys none bind 0 0\n"
        );
    }
}
