//! A start's cgroups, in every hierarchy that the host has: version 1, 2, or both.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Once,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use super::scope;
use crate::Paths;

const MOUNT: &str = "/sys/fs/cgroup";

/// The kernel forgets the wait after another grace period without a move. On a host under load LXC's first move may
/// come later than that, so the moves go on for a while; all but the first take microseconds.
const WARM_INTERVAL: Duration = Duration::from_millis(4);
const WARM_FOR: Duration = Duration::from_millis(80);

/// The cgroup that holds those of all starts of one installation.
pub(crate) fn parent(paths: &Paths) -> String {
    let name = format!("appcontainers-{}", paths.tag());
    if scope::is_managed() { scope::path(&name) } else { name }
}

/// The directories of cgroup `name` (relative to a hierarchy's root), where they exist.
pub(crate) fn directories(name: &str) -> Vec<PathBuf> {
    let bases = Bases::read();
    let roots = hierarchies().into_iter().map(|root| bases.below(root).join(name));
    roots.filter(|directory| directory.is_dir()).collect()
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

/// Where liblxc begins in each hierarchy: with the cgroup of process 1, less systemd's `init.scope` (LXC's
/// `prune_init_scope`). It is the root, unless process 1 is not the host's but a pid namespace's.
struct Bases(Vec<(String, String)>);

impl Bases {
    fn read() -> Self {
        // Unreadable, it is taken for the root, as everywhere.
        Self::parse(&fs::read_to_string("/proc/1/cgroup").unwrap_or_default())
    }

    /// From lines `ID:CONTROLLERS:PATH` (cgroups(7)).
    fn parse(text: &str) -> Self {
        let of_line = |line: &str| {
            let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { return None };
            let path = path.strip_suffix("/init.scope").unwrap_or(path);
            let hierarchy = controllers.strip_prefix("name=").unwrap_or(controllers);
            Some((hierarchy.to_owned(), path.trim_start_matches('/').to_owned()))
        };
        Self(text.lines().filter_map(of_line).collect())
    }

    /// Liblxc's beginning in the hierarchy that is mounted at `root`: a directory named by its controllers, or version 2.
    fn below(&self, root: PathBuf) -> PathBuf {
        let name = root.file_name().unwrap_or_default().to_string_lossy();
        let found = self.0.iter().find(|(hierarchy, _)| *hierarchy == name);
        let found = found.or_else(|| self.0.iter().find(|(hierarchy, _)| hierarchy.is_empty()));
        match found {
            Some((_, path)) if !path.is_empty() => root.join(path),
            _ => root,
        }
    }
}

/// The root of the version 2 hierarchy, which a hybrid host has beside the others.
pub(super) fn unified() -> PathBuf {
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

/// How many processes of cgroup `name`, and of those below it, the kernel has ended because there was no memory left for them;
/// 0 where it does not count that.
pub(super) fn oom_kills(name: &str) -> u64 {
    // Version 2 counts what is below, too, version 1 has a file with other things in it.
    let files = ["memory.events", "memory.oom_control"];
    let paths = directories(name).into_iter().flat_map(|directory| files.map(|file| directory.join(file)));
    let texts = paths.filter_map(|path| fs::read_to_string(path).ok());
    texts.filter_map(|text| count_of_oom_kills(&text)).sum()
}

fn count_of_oom_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
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
    // Not by looking again and again: that is dozens of files, and many may be waiting so.
    while let Some(first) = processes(name).first()
        && Instant::now() < until
    {
        wait_end(*first, until);
    }
    remove(name)
}

/// Waits for the end of a process; at least a moment, as one that has ended is still in its cgroup.
fn wait_end(pid: Pid, until: Instant) {
    if let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout));
    }
    std::thread::sleep(Duration::from_millis(1));
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
pub(super) fn leave() -> io::Result<()> {
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
    let directory = Bases::read().below(unified()).join(name);
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

/// Whether all processes of cgroup `name` stand still, by version 2 or by version 1's freezer.
pub(super) fn is_frozen(name: &str) -> bool {
    let base = Bases::read();
    let says = |root: PathBuf, file: &str, wanted: &str| {
        let text = fs::read_to_string(base.below(root).join(name).join(file)).unwrap_or_default();
        text.lines().any(|line| line == wanted)
    };
    says(unified(), "cgroup.events", "frozen 1") || says(Path::new(MOUNT).join("freezer"), "freezer.state", "FROZEN")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_for_want_of_memory_are_read_in_both_versions() {
        assert_eq!(count_of_oom_kills("low 0\nhigh 0\nmax 61\noom 2\noom_kill 3\noom_group_kill 0\n"), Some(3));
        assert_eq!(count_of_oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), Some(1));
        assert_eq!(count_of_oom_kills("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn cgroups_are_looked_for_where_liblxc_makes_them() {
        let below = |text: &str, root: &str| Bases::parse(text).below(root.into()).display().to_string();
        let hybrid = "4:memory:/session/1\n3:cpu,cpuacct:/\n2:name=systemd:/init.scope\n0::/";
        assert_eq!(below(hybrid, "/sys/fs/cgroup/memory"), "/sys/fs/cgroup/memory/session/1");
        assert_eq!(below(hybrid, "/sys/fs/cgroup/cpu,cpuacct"), "/sys/fs/cgroup/cpu,cpuacct");
        assert_eq!(below(hybrid, "/sys/fs/cgroup/systemd"), "/sys/fs/cgroup/systemd");
        assert_eq!(below(hybrid, "/sys/fs/cgroup/unified"), "/sys/fs/cgroup/unified");
        assert_eq!(below("0::/init.scope", "/sys/fs/cgroup"), "/sys/fs/cgroup");
        assert_eq!(below("0::/user.slice/a", "/sys/fs/cgroup"), "/sys/fs/cgroup/user.slice/a");
        assert_eq!(below("", "/sys/fs/cgroup"), "/sys/fs/cgroup");
    }
}
