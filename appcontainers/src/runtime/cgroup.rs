//! A start's cgroups, in every hierarchy that the host has: version 1, 2, or both.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Once,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::Paths;

const MOUNT: &str = "/sys/fs/cgroup";

/// The kernel forgets the wait after another grace period without a move. On a host under load LXC's first move may
/// come later than that, so the moves go on for a while; all but the first take microseconds.
const WARM_INTERVAL: Duration = Duration::from_millis(4);
const WARM_FOR: Duration = Duration::from_millis(80);

/// The cgroup that holds those of all starts of one installation.
pub(crate) fn parent(paths: &Paths) -> String {
    format!("appcontainers-{}", paths.tag())
}

/// The directories of cgroup `name` (relative to a hierarchy's root), where they exist.
pub(crate) fn directories(name: &str) -> Vec<PathBuf> {
    hierarchies().into_iter().map(|root| root.join(name)).filter(|directory| directory.is_dir()).collect()
}

/// The roots of the host's hierarchies.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.controllers").exists() {
        return vec![mount.to_owned()];
    }
    let entries = fs::read_dir(mount).into_iter().flatten().flatten();
    // Aliases (cpu -> cpu,cpuacct) are symbolic links: file_type does not follow them.
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// The root of the version 2 hierarchy, which a hybrid host has beside the others.
fn unified() -> PathBuf {
    let hybrid = Path::new(MOUNT).join("unified");
    if hybrid.join("cgroup.procs").exists() { hybrid } else { PathBuf::from(MOUNT) }
}

/// Pids of all processes in cgroup `name` and below it.
pub(crate) fn processes(name: &str) -> Vec<Pid> {
    let mut pids = Vec::new();
    for directory in directories(name) {
        collect(&directory, &mut pids);
    }
    pids.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
    pids.dedup();
    pids
}

fn collect(directory: &Path, pids: &mut Vec<Pid>) {
    if let Ok(text) = fs::read_to_string(directory.join("cgroup.procs")) {
        pids.extend(text.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw));
    }
    for child in children(directory) {
        collect(&child, pids);
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// Kills every process in cgroup `name`, frozen ones too, and removes the cgroup from all hierarchies.
pub(crate) fn destroy(name: &str) -> io::Result<()> {
    // The kernel takes a process out of its cgroup some time after the signal.
    for attempt in 0..200u32 {
        let left = processes(name);
        if left.is_empty() {
            break;
        }
        let _ = set_frozen(name, false);
        for pid in left {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(u64::from(attempt.min(10))));
    }
    remove(name)
}

/// Waits until no process is left in cgroup `name`, at most `timeout`, and removes it from all hierarchies.
pub(crate) fn remove_when_empty(name: &str, timeout: Duration) -> io::Result<()> {
    let until = Instant::now() + timeout;
    while !processes(name).is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    remove(name)
}

fn remove(name: &str) -> io::Result<()> {
    let mut first_error = None;
    for directory in directories(name) {
        if let Err(error) = remove_tree(&directory) {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// Moves the calling process to the root of every hierarchy: out of cgroups that it is about to remove.
pub(crate) fn leave() -> io::Result<()> {
    for root in hierarchies() {
        fs::write(root.join("cgroup.procs"), "0")?;
    }
    Ok(())
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    for child in children(directory) {
        remove_tree(&child)?;
    }
    for attempt in 0..100u32 {
        match fs::remove_dir(directory) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {
                std::thread::sleep(Duration::from_millis(u64::from(attempt.min(10))));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => return result,
        }
    }
    fs::remove_dir(directory)
}

/// Stops all processes of cgroup `name` where they are, or lets them go on. Waits for the kernel to say so.
pub(crate) fn set_frozen(name: &str, frozen: bool) -> io::Result<()> {
    let directory = unified().join(name);
    fs::write(directory.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
    let wanted = if frozen { "frozen 1" } else { "frozen 0" };
    for attempt in 0..400u32 {
        if fs::read_to_string(directory.join("cgroup.events"))?.lines().any(|line| line == wanted) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_micros(u64::from(50 * attempt.min(200))));
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel did not freeze all processes in time"))
}

/// Lets the wait that every first move between cgroups costs (an RCU grace period, 8 to 16 ms) pass in a
/// thread, while the caller does other things: writes the calling process to the cgroup that it is in.
///
/// Only for a program that is about to start a container: it can't end before that wait is over. A second call does
/// nothing.
pub fn prewarm() {
    static DONE: Once = Once::new();
    let warm = || {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
        let procs = unified().join(path).join("cgroup.procs");
        let until = Instant::now() + WARM_FOR;
        while Instant::now() < until {
            fs::write(&procs, "0").ok()?;
            std::thread::sleep(WARM_INTERVAL);
        }
        Some(())
    };
    // Without the thread the start is only slower.
    DONE.call_once(|| drop(std::thread::Builder::new().name("prewarm".to_owned()).spawn(warm)));
}
