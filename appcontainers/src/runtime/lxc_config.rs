//! The text of a container's LXC configuration (`lxc.container.conf(5)`). Pure: no I/O.

use std::{fmt::Write, net::Ipv4Addr, path::PathBuf};

use super::seccomp;
use crate::{
    Hostname,
    network::{IdRange, MacAddress},
};

/// Processes in a container unless it is given another limit.
pub const DEFAULT_PIDS_LIMIT: u32 = 4096;

/// The capabilities that a container's root keeps; podman's, less those that `/dev` and audit need.
pub const CAPABILITIES: &[&str] = &[
    "chown",
    "dac_override",
    "fowner",
    "fsetid",
    "kill",
    "setfcap",
    "setgid",
    "setpcap",
    "setuid",
    "net_bind_service",
    "net_raw",
    "sys_chroot",
];

/// Character devices that a container may use: null, zero, full, random, urandom, tty, ptmx, pts.
const DEVICES: &[&str] =
    &["c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"];

/// All that a start's configuration depends on. Paths come from the installation and the container's
/// validated name, so they hold no control characters.
#[derive(Debug, Clone)]
pub(super) struct LxcConfig {
    /// The name inside.
    pub(super) hostname: Hostname,
    /// The mounted overlay.
    pub(super) rootfs: PathBuf,
    /// Ids inside 0.. are these outside; none for a privileged container.
    pub(super) id_range: Option<IdRange>,
    /// The interface, or none: no network but loopback.
    pub(super) network: Option<NetworkConfig>,
    /// Cgroup directory below each hierarchy's root, of this start alone.
    pub(super) cgroup: String,
    /// Most processes and threads.
    pub(super) pids_limit: u32,
    /// The agent's file on the host.
    pub(super) agent: PathBuf,
    /// The directory with the monitor's socket on the host.
    pub(super) agent_socket_dir: PathBuf,
    /// Files shown read-only over paths of the image: host path, path inside without the leading `/`.
    pub(super) files: Vec<(PathBuf, PathBuf)>,
    /// The seccomp policy's file.
    pub(super) seccomp_profile: PathBuf,
    /// Where liblxc logs.
    pub(super) log: PathBuf,
    /// Run by LXC's monitor when the container is gone: a shell command.
    pub(super) post_stop: String,
    /// The hard limit of open files that this process may give.
    pub(super) nofile_hard_limit: u64,
    /// Whether AppArmor confines here.
    pub(super) apparmor: bool,
}

/// A routed veth: the host has a route to the /32, the container's default route is the gateway.
#[derive(Debug, Clone)]
pub(super) struct NetworkConfig {
    /// The host's end.
    pub(super) host_interface: String,
    /// The container's address.
    pub(super) ip: Ipv4Addr,
    /// An address that the host holds.
    pub(super) gateway: Ipv4Addr,
    /// The container's MAC.
    pub(super) mac: MacAddress,
}

impl LxcConfig {
    /// The configuration as text.
    pub(super) fn render(&self) -> String {
        let mut lines = Lines(String::with_capacity(4096));
        lines.set("uts.name", &self.hostname);
        lines.set("rootfs.path", format_args!("dir:{}", self.rootfs.display()));
        lines.set("init.cmd", "/dev/.appc/agent");
        lines.set("log.file", self.log.display());
        lines.set("log.level", "WARN");
        // Version 1 passes nothing beside the words of the command.
        lines.set("hook.version", 1);
        lines.set("hook.post-stop", &self.post_stop);
        lines.set("autodev", 1);
        lines.set("pty.max", 1024);
        lines.set("tty.max", 0);
        lines.set("console.path", "none");
        self.confine(&mut lines);
        self.limit(&mut lines);
        self.connect(&mut lines);
        self.mount(&mut lines);
        lines.0
    }

    fn confine(&self, lines: &mut Lines) {
        if let Some(range) = self.id_range {
            lines.set("idmap", format_args!("u 0 {} {}", range.base(), range.count()));
            lines.set("idmap", format_args!("g 0 {} {}", range.base(), range.count()));
        }
        lines.set("apparmor.profile", if self.apparmor { "generated" } else { "unconfined" });
        lines.set("seccomp.profile", self.seccomp_profile.display());
        lines.set("cap.keep", CAPABILITIES.join(" "));
        lines.set("no_new_privs", 1);
    }

    fn limit(&self, lines: &mut Lines) {
        lines.set("cgroup.dir.monitor", format_args!("{}/monitor", self.cgroup));
        lines.set("cgroup.dir.monitor.pivot", format_args!("{}/pivot", self.cgroup));
        lines.set("cgroup.dir.container", format_args!("{}/payload", self.cgroup));
        lines.set("prlimit.nofile", format_args!("1024:{}", self.nofile_hard_limit.min(524_288)));
        lines.set("prlimit.core", 0);
        for version in ["cgroup", "cgroup2"] {
            lines.set(&format!("{version}.pids.max"), self.pids_limit);
            lines.set(&format!("{version}.devices.deny"), "a");
            for device in DEVICES {
                lines.set(&format!("{version}.devices.allow"), device);
            }
        }
    }

    fn connect(&self, lines: &mut Lines) {
        let Some(network) = &self.network else {
            lines.set("net.0.type", "empty");
            return;
        };
        lines.set("net.0.type", "veth");
        lines.set("net.0.veth.mode", "router");
        lines.set("net.0.veth.pair", &network.host_interface);
        lines.set("net.0.name", "eth0");
        lines.set("net.0.flags", "up");
        lines.set("net.0.hwaddr", network.mac);
        lines.set("net.0.ipv4.address", format_args!("{}/32", network.ip));
        lines.set("net.0.ipv4.gateway", network.gateway);
    }

    fn mount(&self, lines: &mut Lines) {
        lines.set("mount.auto", "proc:mixed sys:ro");
        let agent = self.agent.display();
        lines.mount(format_args!("{agent} dev/.appc/agent none bind,ro,create=file"));
        lines.mount(format_args!("{} dev/.appc/sock none bind,ro,create=dir", self.agent_socket_dir.display()));
        for (source, target) in &self.files {
            lines.mount(format_args!(
                "{} {} none bind,ro,create=file",
                escape(&source.to_string_lossy()),
                escape(&target.to_string_lossy())
            ));
        }
        for path in ["proc/keys", "proc/timer_list", "proc/kcore", "proc/sched_debug", "proc/latency_stats"] {
            lines.mount(format_args!("/dev/null {path} none bind,ro,optional"));
        }
        for path in ["proc/acpi", "proc/scsi", "sys/firmware", "sys/dev/block"] {
            lines.mount(format_args!("none {path} tmpfs ro,size=0,optional"));
        }
        lines.mount(format_args!("tmpfs dev/shm tmpfs rw,nosuid,nodev,size=64m,mode=1777,create=dir"));
        lines.mount(format_args!("tmpfs run tmpfs rw,nosuid,nodev,size=64m,mode=755,create=dir"));
        lines.mount(format_args!("mqueue dev/mqueue mqueue rw,nosuid,nodev,noexec,create=dir,optional"));
    }
}

/// A path in an fstab-like line: white space and `\` as octal (`getmntent(3)`).
fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for character in path.chars() {
        match character {
            ' ' => escaped.push_str("\\040"),
            '\t' => escaped.push_str("\\011"),
            '\n' => escaped.push_str("\\012"),
            '\\' => escaped.push_str("\\134"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The seccomp policy that [`LxcConfig::seccomp_profile`] names.
pub(super) fn seccomp_policy() -> String {
    seccomp::policy()
}

struct Lines(String);

impl Lines {
    fn set(&mut self, key: &str, value: impl std::fmt::Display) {
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "lxc.{key} = {value}");
    }

    fn mount(&mut self, entry: std::fmt::Arguments<'_>) {
        self.set("mount.entry", format_args!("{entry} 0 0"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> LxcConfig {
        LxcConfig {
            hostname: "web".parse().unwrap(),
            rootfs: "/run/appcontainers/containers/web/root".into(),
            id_range: Some(IdRange::new(1 << 30).unwrap()),
            network: Some(NetworkConfig {
                host_interface: "v0123456789ab".to_owned(),
                ip: Ipv4Addr::new(10, 213, 0, 2),
                gateway: Ipv4Addr::new(10, 213, 255, 254),
                mac: "02:00:00:00:00:01".parse().unwrap(),
            }),
            cgroup: "appcontainers-12345678/web-1".to_owned(),
            pids_limit: 100,
            agent: "/usr/libexec/appcontainers/appc-agent".into(),
            agent_socket_dir: "/run/appcontainers/containers/web/agent".into(),
            files: vec![("/run/a b/hosts".into(), "etc/hosts".into())],
            seccomp_profile: "/run/seccomp".into(),
            log: "/run/lxc.log".into(),
            post_stop: "true".to_owned(),
            nofile_hard_limit: 4096,
            apparmor: false,
        }
    }

    #[test]
    fn a_default_container_is_unprivileged_confined_and_limited() {
        let text = config().render();
        for line in [
            "lxc.idmap = u 0 1073741824 65536",
            "lxc.idmap = g 0 1073741824 65536",
            "lxc.no_new_privs = 1",
            "lxc.cgroup.devices.deny = a",
            "lxc.cgroup2.devices.deny = a",
            "lxc.cgroup.pids.max = 100",
            "lxc.prlimit.nofile = 1024:4096",
            "lxc.net.0.ipv4.address = 10.213.0.2/32",
            "lxc.mount.entry = /run/a\\040b/hosts etc/hosts none bind,ro,create=file 0 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
        }
        assert!(!text.contains("sys_admin"));
    }

    #[test]
    fn without_a_network_there_is_only_loopback() {
        let text = LxcConfig { network: None, ..config() }.render();
        assert!(text.contains("lxc.net.0.type = empty"));
        assert!(!text.contains("veth"));
    }
}
