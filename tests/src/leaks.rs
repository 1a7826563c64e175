//! What may not stay behind: whatever carries the name or the tag of a test's root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use appcontainers::Paths;

use crate::cgroups;

/// Everything left of the installation at `paths` that can be seen from here, each with its kind.
pub(crate) fn find(paths: &Paths) -> Vec<String> {
    let mut left = mounts(paths);
    left.extend(interfaces());
    left.extend(tables());
    left.extend(processes());
    left.extend(outside(paths));
    left
}

/// What is left after the test's namespaces are gone; removes it.
pub(crate) fn clean_up(paths: &Paths) -> Vec<String> {
    let left = crate::wait::settle(|| outside(paths));
    for directory in cgroups::find(paths) {
        cgroups::remove(&directory);
    }
    for (device, _) in loop_devices(paths) {
        let _ = Command::new("losetup").arg("-d").arg(format!("/dev/{device}")).status();
    }
    let _ = fs::remove_dir_all(locks_of_lxc(paths));
    left
}

/// What no namespace holds back: cgroups, loop devices and directories of others.
fn outside(paths: &Paths) -> Vec<String> {
    let cgroups = cgroups::find(paths).into_iter().map(|directory| format!("cgroup {}", directory.display()));
    let devices = loop_devices(paths).into_iter().map(|(device, file)| format!("loop device {device} of {file}"));
    // The directory itself is there for those of another installation below it.
    let locks = fs::read_dir(locks_of_lxc(paths)).into_iter().flatten().flatten();
    let locks = locks.map(|entry| format!("directory {}", entry.path().display()));
    cgroups.chain(devices).chain(locks).collect()
}

/// Where liblxc makes locks for containers of this installation.
fn locks_of_lxc(paths: &Paths) -> PathBuf {
    Path::new("/run/lxc/lock").join(paths.run().strip_prefix("/").unwrap_or(paths.run()))
}

/// The directory that holds all of the test's files.
fn base(paths: &Paths) -> &Path {
    paths.root().parent().unwrap_or(paths.root())
}

fn mounts(paths: &Paths) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read mountinfo");
    let [root, run] = [base(paths), paths.run()].map(|path| path.to_string_lossy().into_owned());
    let ours = mounts.lines().filter(|line| line.contains(&root) || line.contains(&run));
    ours.map(|line| format!("mount {line}")).collect()
}

/// Interfaces beside loopback: the test's network namespace had no other.
fn interfaces() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net").expect("list /sys/class/net").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    // A kernel with tunnels built in shows their fallback devices in every namespace.
    let others = names.filter(|name| name.starts_with("appc") || name.starts_with('v') || name.starts_with("eth"));
    others.map(|name| format!("interface {name}")).collect()
}

fn tables() -> Vec<String> {
    let listed = Command::new("nft").args(["list", "tables"]).output().expect("run nft");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    listed.lines().map(|line| format!("firewall {line}")).collect()
}

/// Processes in the sandbox beside the test, its init and the session's leader.
fn processes() -> Vec<String> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").expect("list /proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let others = pids.filter(|pid| *pid != own && *pid != 1).filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let state = stat.rsplit_once(") ").map_or("?", |(_, rest)| &rest[..1]);
        // A zombie waits for its parent and holds nothing.
        (state != "Z" && !line.starts_with("setsid --wait")).then(|| format!("process {pid} ({state}) {line} {stat}"))
    });
    others.collect()
}

/// Loop devices whose file is one of the test's, with it.
fn loop_devices(paths: &Paths) -> Vec<(String, String)> {
    let base = base(paths).to_string_lossy().into_owned();
    let entries = fs::read_dir("/sys/block").expect("list /sys/block").flatten();
    let devices = entries.filter_map(|entry| {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
        file.starts_with(&base).then(|| (entry.file_name().to_string_lossy().into_owned(), file.trim().to_owned()))
    });
    devices.collect()
}
