//! One installation of this project: state and run directories of its own, set up.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use appcontainers::{ContainerName, Paths};
use serde_json::Value;

use crate::{
    sandbox::{Sandbox, make_passable},
    timing::{output, timed},
};

/// How long the kernel and LXC may take to clear up after a container.
const CLEAR_UP: Duration = Duration::from_secs(20);

/// State that only one measure uses.
#[derive(Debug)]
pub(crate) struct Installation {
    paths: Paths,
    appc: PathBuf,
}

/// The processes that one container keeps on the host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processes {
    /// The agent, the container's init.
    pub(crate) agent: u64,
    /// LXC's monitor.
    pub(crate) lxc: u64,
    /// Ours.
    pub(crate) monitor: u64,
}

impl Installation {
    /// A new one.
    pub(crate) fn set_up(sandbox: &Sandbox, name: &str) -> anyhow::Result<Self> {
        let paths = Paths::new(sandbox.base.join(name).join("root"), sandbox.run.join(name));
        make_passable(&sandbox.base.join(name))?;
        make_passable(paths.run())?;
        let installation = Self { paths, appc: sandbox.programs.join("appc") };
        installation.appc(&["setup"])?;
        Ok(installation)
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// `appc` on this installation.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.appc);
        command.args(arguments).env("APPC_ROOT", self.paths.root()).env("APPC_RUN", self.paths.run());
        command.env_remove("APPC_CONTAINER").env_remove("RUST_LOG");
        command
    }

    /// Runs `appc` to its end and gives what it printed.
    pub(crate) fn appc(&self, arguments: &[&str]) -> anyhow::Result<String> {
        output(&mut self.command(arguments))
    }

    /// How long one command takes.
    pub(crate) fn timed(&self, arguments: &[&str]) -> anyhow::Result<Duration> {
        timed(&mut self.command(arguments))
    }

    /// How long `appc run --rm --image IMAGE -- true` takes. Comes back when the container is cleared up, too, so that
    /// whoever is next finds a quiet machine.
    pub(crate) fn time_start(&self, image: &str) -> anyhow::Result<Duration> {
        let time = self.timed(&["run", "--rm", "--image", image, "--", "true"])?;
        self.wait_cleared_up()?;
        Ok(time)
    }

    /// Waits until nothing of earlier starts is left.
    pub(crate) fn wait_cleared_up(&self) -> anyhow::Result<()> {
        let until = Instant::now() + CLEAR_UP;
        let mut places = cgroup_places(&self.paths)?;
        places.push(self.paths.run().join("containers"));
        while let Some(place) = places.iter().find(|place| has_directory(place)) {
            if Instant::now() >= until {
                bail!("{} is not cleared up within {} s", place.display(), CLEAR_UP.as_secs());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The processes of a container that runs.
    pub(crate) fn processes(&self, container: &str) -> anyhow::Result<Processes> {
        let path = self.run_directory(container)?.join("start.json");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let record: Value = serde_json::from_str(&text)?;
        let pid = |part: &str| record[part]["pid"].as_u64().with_context(|| format!("no {part} in {}", path.display()));
        let (agent, monitor) = (pid("init")?, pid("monitor")?);
        let status = fs::read_to_string(format!("/proc/{agent}/status"))?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        Ok(Processes { agent, lxc: parent.context("the container's init has no parent")?, monitor })
    }

    /// A measure that failed has not stopped its own.
    fn remove_running(&self) -> anyhow::Result<()> {
        for running in fs::read_dir(self.paths.run().join("containers")).into_iter().flatten() {
            self.appc(&["rm", "--force", &running?.file_name().to_string_lossy()])?;
        }
        self.wait_cleared_up()
    }

    /// Where a running container has its sockets and LXC's configuration.
    pub(crate) fn run_directory(&self, container: &str) -> anyhow::Result<PathBuf> {
        Ok(self.paths.container_run(&container.parse::<ContainerName>()?))
    }
}

impl Drop for Installation {
    /// The rest of it goes with the sandbox.
    fn drop(&mut self) {
        if let Err(error) = self.remove_running() {
            eprintln!("{error:#}");
        }
        let places = cgroup_places(&self.paths).unwrap_or_default();
        for place in places.into_iter().filter(|place| place.is_dir()) {
            if let Err(error) = fs::remove_dir(&place) {
                eprintln!("cannot remove {}: {error}", place.display());
            }
        }
    }
}

/// An installation's cgroup in every hierarchy.
fn cgroup_places(paths: &Paths) -> anyhow::Result<Vec<PathBuf>> {
    let mount = Path::new("/sys/fs/cgroup");
    let cgroup = format!("appcontainers-{}", paths.tag());
    let hierarchies = fs::read_dir(mount).context("cannot list the cgroup hierarchies")?.flatten();
    // A link is a second name for a hierarchy.
    let hierarchies = hierarchies.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(hierarchies.map(|entry| entry.path().join(&cgroup)).chain([mount.join(&cgroup)]).collect())
}

fn has_directory(path: &Path) -> bool {
    fs::read_dir(path).into_iter().flatten().flatten().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}
