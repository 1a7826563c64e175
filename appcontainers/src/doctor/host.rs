//! Checks of the host that need no trial: what is installed and mounted.

use std::{fs, path::Path};

use rustix::process::geteuid;

use super::{Check, Verdict};
use crate::{
    error::chain,
    program::{CONNTRACK, IP, NFT, Program},
    runtime::{apparmor, programs},
};

/// Programs that only some commands need, and which.
const OPTIONAL: [(Program, &str); 3] = [
    (CONNTRACK, "publishing UDP ports that somebody sends to already"),
    (Program { name: "busybox", package: "busybox-static" }, "building the busybox base"),
    (Program { name: "mmdebstrap", package: "mmdebstrap" }, "building Debian and Ubuntu bases"),
];

pub(super) fn root() -> Check {
    if geteuid().is_root() {
        Check::fit("root", "running as root")
    } else {
        Check::unfit("root", format!("running as user {}", geteuid().as_raw()), "run: sudo appc doctor")
    }
}

pub(super) fn cgroups() -> Check {
    const NAME: &str = "cgroups";
    let mount = Path::new("/sys/fs/cgroup");
    let mend = "mount cgroup version 2 there (systemd does), or version 1 with its controllers";
    if let Ok(controllers) = fs::read_to_string(mount.join("cgroup.controllers")) {
        return match controllers.split_whitespace().any(|name| name == "pids") {
            true => Check::fit(NAME, "version 2"),
            false => Check::unfit(NAME, "version 2 without the pids controller", "boot without cgroup_disable=pids"),
        };
    }
    let missing: Vec<_> = ["devices", "pids"].into_iter().filter(|name| !mount.join(name).is_dir()).collect();
    if !missing.is_empty() {
        return Check::unfit(NAME, format!("/sys/fs/cgroup has no {}", missing.join(" and no ")), mend);
    }
    if mount.join("unified/cgroup.procs").exists() {
        Check::fit(NAME, "version 1 and 2 (hybrid)")
    } else {
        let mend = "mount cgroup version 2 at /sys/fs/cgroup/unified: mount -t cgroup2 none /sys/fs/cgroup/unified";
        Check::warning(NAME, "version 1 only: running containers cannot be frozen", mend)
    }
}

pub(super) fn lxc() -> Check {
    const NAME: &str = "lxc";
    let library = library_directories().into_iter().map(|directory| directory.join("liblxc.so.1"));
    match library.filter_map(|path| path.canonicalize().ok()).next() {
        Some(path) => Check::fit(NAME, path.display().to_string()),
        None => Check::unfit(NAME, "liblxc.so.1 is not installed", "install it: apt-get install liblxc1"),
    }
}

/// Where the libraries of this architecture are (hier(7), Debian's multiarch).
fn library_directories() -> Vec<std::path::PathBuf> {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    ["/usr/local/lib", "/usr/lib", "/usr/lib64", "/lib"]
        .iter()
        .flat_map(|directory| [Path::new(directory).join(&triplet), Path::new(directory).to_owned()])
        .collect()
}

pub(super) fn seccomp() -> Check {
    match fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(_) => Check::fit("seccomp", "there"),
        Err(_) => Check::unfit(
            "seccomp",
            "the kernel has none, so system calls of containers cannot be filtered",
            "boot a kernel with CONFIG_SECCOMP_FILTER (every Debian and Ubuntu kernel has it)",
        ),
    }
}

pub(super) fn apparmor() -> Check {
    const NAME: &str = "apparmor";
    if !apparmor::is_enabled() {
        let mend = "boot with: apparmor=1 security=apparmor";
        return Check::warning(NAME, "the kernel has none: containers are confined without it", mend);
    }
    match apparmor::is_loaded() {
        Some(true) => Check::fit(NAME, format!("profile {}", apparmor::PROFILE)),
        Some(false) => {
            let detail = format!("the kernel has no profile {}, so no container starts", apparmor::PROFILE);
            Check::unfit(NAME, detail, "install apparmor and liblxc-common, then run: appc setup")
        }
        None => {
            let mend = "mount it: mount -t securityfs none /sys/kernel/security";
            Check::warning(NAME, "/sys/kernel/security is not mounted: profiles cannot be seen", mend)
        }
    }
}

pub(super) fn programs() -> Vec<Check> {
    let install = |program: &Program| format!("install it: apt-get install {}", program.package);
    let needed = [IP, NFT].map(|program| match program.find() {
        Ok(path) => Check::fit(program.name, path.display().to_string()),
        Err(_) => Check::unfit(program.name, "is not installed", install(&program)),
    });
    let optional = OPTIONAL.map(|(program, what_for)| match program.find() {
        Ok(path) => Check::fit(program.name, path.display().to_string()),
        Err(_) => Check::warning(program.name, format!("is not installed: {what_for} needs it"), install(&program)),
    });
    needed.into_iter().chain(optional).collect()
}

pub(super) fn own_programs() -> Check {
    match (programs::monitor(), programs::agent()) {
        (Ok(monitor), Ok(agent)) => Check::fit("programs", format!("{}, {}", monitor.display(), agent.display())),
        // The error says where it looked and what to do.
        (Err(error), _) | (_, Err(error)) => {
            Check { name: "programs", verdict: Verdict::Unfit, detail: chain(&error), mend: None }
        }
    }
}
