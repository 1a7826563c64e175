//! Starting a container, as its monitor does it.
//!
//! The start is recorded before anything else is done, so that a command that finds the monitor dead can undo it:
//! ```text
//! start.json without init -> mounts (in the monitor's namespace) -> liblxc in a child -> start.json with init
//! ```

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    ProcessIdentity, RuntimeError, StartMode, StartRecord, apparmor, boot, cgroup,
    error::host_error,
    limits,
    lxc_config::{LxcConfig, NetworkConfig, seccomp_policy},
    programs,
    rootfs::{self, Upper},
    scope, start_files,
};
use crate::{
    ContainerName, Paths,
    event::{self, Event, NewEvent},
    limits::Limits,
    network::{PoolSettings, Reservation, new_veth_name},
    record::{ContainerRecord, Init},
    secret::{self, SecretGrant},
    state::{Durability, create_directory, replace},
};
use appcontainers_sys::{lxc, mount};
use rand::Rng;

/// The directory below a container's run directory that the container sees; the monitor's agent socket is in it.
pub const AGENT_SOCKET_DIR: &str = "agent";

/// How long liblxc may take for a start, which is a thousandth of this where nothing is wrong.
const LXC_TIMEOUT: Duration = Duration::from_secs(40);

/// How often it is looked whether the init of a start that takes long is still there.
const LXC_LOOK: Duration = Duration::from_millis(500);

/// A start that liblxc is busy with.
#[derive(Debug)]
pub struct Starting {
    name: ContainerName,
    record: StartRecord,
    directory: PathBuf,
    lxc: lxc::Starting,
}

/// A container whose init runs.
#[derive(Debug)]
pub struct Started {
    /// The start's record, as it is on disk.
    pub record: StartRecord,
    /// The container's init.
    pub init: OwnedFd,
    /// The start as the journal of events has it.
    pub event: Option<Event>,
}

/// Begins a start: mounts the root file system and calls liblxc. Only for programs with one thread: the caller may
/// make more once this has returned.
pub fn begin(
    paths: &Paths,
    container: &ContainerRecord,
    reservation: &Reservation,
    settings: &PoolSettings,
    mode: StartMode,
    kept: bool,
    own_program: &Path,
) -> Result<Starting, RuntimeError> {
    let name = &container.name;
    let directory = paths.container_run(name);
    let id = format!("{:08x}", rand::rng().random::<u32>());
    let host_interface = (mode == StartMode::Full).then(|| new_veth_name(paths));
    let monitor =
        ProcessIdentity::own().ok_or_else(|| host_error("read", "/proc/self/stat")(io::ErrorKind::NotFound.into()))?;
    let cgroup = start_cgroup(paths, name, &id);
    let record = StartRecord {
        id,
        boot: boot::id(),
        mode,
        monitor,
        init: None,
        agent: None,
        cgroup,
        host_interface,
        kept,
        paused: false,
    };
    record.store(paths, name)?;

    scope::enter(paths)?;
    if mode == StartMode::Full {
        secret::prepare(paths, container).map_err(Box::new)?;
    }
    let upper = if mode == StartMode::Renewal { Upper::Next } else { Upper::Present };
    let root = rootfs::mount_rootfs(paths, container, reservation.id_range, upper, &directory)?;
    let agent = show_agent(&directory)?;
    let sockets = directory.join(AGENT_SOCKET_DIR);
    create_directory(&sockets, 0o711).map_err(host_error("create", &sockets))?;
    let files = match mode {
        StartMode::Full => {
            let rendered = start_files::render(paths, container, reservation, settings, &directory)?;
            start_files::show(rendered, &root)?
        }
        // An archive may hold the very files over which these are shown.
        StartMode::Files | StartMode::Renewal => Vec::new(),
    };
    let log = directory.join("lxc.log");
    let _ = fs::remove_file(&log);
    // What works on its files for the host is not limited, nor slowed down.
    let asked = if mode == StartMode::Full { container.settings.limits.clone() } else { Limits::default() };
    let config = LxcConfig {
        hostname: container.hostname.clone(),
        // For an operation on its files the agent is enough.
        init: if mode == StartMode::Full { container.init } else { Init::App },
        rootfs: root,
        id_range: reservation.id_range,
        network: record.host_interface.clone().map(|host_interface| NetworkConfig {
            host_interface,
            ip: reservation.ip,
            gateway: settings.gateway,
            v6: settings.addresses(reservation.ip).v6.zip(settings.address6(settings.gateway)),
            mac: reservation.mac,
            mode: container.network,
        }),
        cgroup: record.cgroup.clone(),
        disk: limits::disk_of(paths, &asked)?,
        limits: asked,
        agent,
        agent_socket_dir: sockets,
        files,
        seccomp_profile: directory.join("seccomp"),
        log: log.clone(),
        run_in_memory: has_secrets_in_run(container),
        post_stop: post_stop(paths, name, &record.id, own_program),
        nofile_hard_limit: limits::most_open_files(),
        apparmor: apparmor::is_enabled(),
    };
    write_volatile(&config.seccomp_profile, &seccomp_policy(config.init))?;
    let config_path = directory.join("lxc.conf");
    write_volatile(&config_path, &config.render()?)?;
    let request = lxc::StartRequest {
        // LXC knows running containers by this name and path: a start of its own never meets the one before.
        name: format!("{name}.{}", record.id),
        lxc_path: directory.clone(),
        config: config_path,
    };
    let lxc = lxc::start(&request).map_err(host_error("call liblxc for", &directory))?;
    Ok(Starting { name: name.clone(), record, directory, lxc })
}

impl Starting {
    /// The host's end of the container's interface; none if it gets none.
    pub fn host_interface(&self) -> Option<&str> {
        self.record.host_interface.as_deref()
    }

    /// Gives the start up. What liblxc has begun, whoever clears up ends.
    pub fn abandon(self) {
        if let Err(error) = self.lxc.abandon() {
            tracing::warn!(name = %self.name, %error, "cannot end the process that called liblxc");
        }
    }

    /// Waits until the container's init runs.
    pub fn wait(mut self, paths: &Paths) -> Result<Started, RuntimeError> {
        if let Some(why) = self.wait_for_liblxc()? {
            let name = self.name.clone();
            self.abandon();
            return Err(RuntimeError::Lxc { name, said: why.to_owned() });
        }
        let started = self.lxc.wait().map_err(|error| RuntimeError::Lxc {
            name: self.name.clone(),
            said: logged_errors(&self.directory.join("lxc.log")).unwrap_or_else(|| error.to_string()),
        })?;
        self.record.init = ProcessIdentity::of(started.init_pid);
        self.record.store(paths, &self.name)?;
        let event = match self.record.mode {
            StartMode::Full => event::append(paths, &NewEvent::new(&self.name, "start"))
                .inspect_err(|error| tracing::warn!(name = %self.name, %error, "an event was not written"))
                .ok(),
            StartMode::Files | StartMode::Renewal => None,
        };
        Ok(Started { record: self.record, init: started.init, event })
    }
}

impl Starting {
    /// Waits until liblxc has an answer, or says why there will be none: for an init that dies while it is set up, LXC's
    /// monitor waits for ever (it holds both ends of their socket).
    fn wait_for_liblxc(&self) -> Result<Option<&'static str>, RuntimeError> {
        let failed = host_error("wait for liblxc in", &self.directory);
        let payload = payload_cgroup(&self.record);
        let (until, mut was_empty) = (Instant::now() + LXC_TIMEOUT, false);
        loop {
            match self.lxc.is_over_within(LXC_LOOK) {
                Ok(true) => return Ok(None),
                Ok(false) => {}
                Err(error) => return Err(failed(error)),
            }
            // Twice: its cgroup is there a moment before the init.
            let is_empty = !cgroup::directories(&payload).is_empty() && cgroup::processes(&payload).is_empty();
            if is_empty && was_empty {
                return Ok(Some("the container's init died while it was set up"));
            }
            if Instant::now() >= until {
                return Ok(Some("it did not end in time"));
            }
            was_empty = is_empty;
        }
    }
}

/// Shows the agent's file in the run directory, all of whose parents the container's ids can pass.
fn show_agent(directory: &Path) -> Result<PathBuf, RuntimeError> {
    let (program, shown) = (programs::agent()?, directory.join("program"));
    fs::write(&shown, "").map_err(host_error("create", &shown))?;
    mount::copy(&program, &shown, None).map_err(host_error("show the agent at", &shown))?;
    Ok(shown)
}

/// The cgroup of one start, below the root of every hierarchy.
pub(crate) fn start_cgroup(paths: &Paths, name: &ContainerName, start_id: &str) -> String {
    format!("{}/{name}.{start_id}", cgroup::parent(paths))
}

/// The cgroup of a start's container; LXC's monitor is in another one beside it.
pub(crate) fn payload_cgroup(start: &StartRecord) -> String {
    format!("{}/payload", start.cgroup)
}

/// Whether a container's own init would mount its `/run` over secrets that are shown there.
fn has_secrets_in_run(container: &ContainerRecord) -> bool {
    let is_in_run = |grant: &SecretGrant| grant.path.as_path().starts_with("/run");
    container.init == Init::System && container.settings.secrets.iter().any(is_in_run)
}

/// Stops all processes of a running container where they are, or lets them go on.
pub fn set_frozen(start: &StartRecord, frozen: bool) -> io::Result<()> {
    cgroup::set_frozen(&payload_cgroup(start), frozen)
}

/// The file whose change says that there was no memory left in the container, and whether it is one of version 1's (memory.txt: one
/// that is watched with an eventfd); none where the host does not count that.
pub fn memory_events(start: &StartRecord) -> Option<(PathBuf, bool)> {
    let directories = cgroup::directories(&payload_cgroup(start));
    let file = |name: &str| directories.iter().map(|directory| directory.join(name)).find(|path| path.exists());
    file("memory.events").map(|path| (path, false)).or_else(|| Some((file("memory.oom_control")?, true)))
}

/// The path of the container's cgroup, as the kernel's messages have its end.
pub fn cgroup_path(start: &StartRecord) -> String {
    format!("/{}", payload_cgroup(start))
}

/// Pids of all of the container's processes, as they are seen here.
pub fn processes(start: &StartRecord) -> Vec<rustix::process::Pid> {
    cgroup::processes(&payload_cgroup(start))
}

/// Whether the processes of a running container stand still.
pub fn is_frozen(start: &StartRecord) -> bool {
    cgroup::is_frozen(&payload_cgroup(start))
}

/// Whether LXC's monitor, which has a container that is gone cleared up, is there.
pub fn has_lxc_monitor(start: &StartRecord) -> bool {
    !cgroup::processes(&format!("{}/monitor", start.cgroup)).is_empty()
}

/// How many of the container's processes the kernel has ended so far because there was no memory left for them.
pub fn oom_kills(start: &StartRecord) -> u64 {
    cgroup::oom_kills(&payload_cgroup(start))
}

fn write_volatile(path: &Path, text: &str) -> Result<(), RuntimeError> {
    replace(path, text.as_bytes(), 0o644, Durability::Volatile).map_err(host_error("write", path))
}

/// The last errors that liblxc logged, without its prefixes.
fn logged_errors(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    let errors = text.lines().filter(|line| line.contains(" ERROR "));
    let said: Vec<_> = errors.filter_map(|line| line.split_once(" - ").map(|(_, said)| said)).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn post_stop(paths: &Paths, name: &ContainerName, id: &str, own_program: &Path) -> String {
    let [program, root, run] = [own_program, paths.root(), paths.run()].map(|path| quote(&path.to_string_lossy()));
    format!("{program} reap --root {root} --run {run} {name} {id}")
}

/// A word for `sh -c`.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_path_does_not_end_the_word() {
        assert_eq!(quote("/a b/c'd"), r"'/a b/c'\''d'");
    }
}
