//! The text of a container's LXC configuration (`lxc.container.conf(5)`). Pure: no I/O.

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use super::{
    apparmor,
    limits::{self, Disk},
    seccomp,
};
use crate::{
    Hostname,
    limits::Limits,
    network::{IdRange, MacAddress, NetworkMode},
    record::Init,
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

/// The capabilities that an operating system in a container has not; Incus'. All others are its user namespace's.
const DROPPED_BY_SYSTEMS: &[&str] = &["mac_admin", "mac_override", "sys_module", "sys_rawio", "sys_time"];

/// A container's `/run`.
const RUN: &str = "tmpfs run tmpfs rw,nosuid,nodev,size=64m,mode=755,create=dir";

/// Character devices that a container may use: null, zero, full, random, urandom, tty, ptmx, pts.
const DEVICES: &[&str] =
    &["c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"];

/// Files of the kernel that tell of the host, or do something to it: what Docker and Podman mask.
const MASKED_FILES: &[&str] = &[
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/timer_list",
    "proc/timer_stats",
];

/// Directories likewise.
const MASKED_DIRECTORIES: &[&str] =
    &["proc/acpi", "proc/asound", "proc/scsi", "sys/firmware", "sys/devices/virtual/powercap", "sys/dev/block"];

/// A value that would be read as more than one line, or as another value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} can't stand in the container's configuration (lxc.{key}): it holds a control character or is no UTF-8"
)]
pub struct BadValue {
    key: String,
    value: String,
}

/// All that a start's configuration depends on.
#[derive(Debug, Clone)]
pub(super) struct LxcConfig {
    /// The name inside.
    pub(super) hostname: Hostname,
    /// Its process 1.
    pub(super) init: Init,
    /// The mounted overlay.
    pub(super) rootfs: PathBuf,
    /// Ids inside 0.. are these outside; none for a privileged container.
    pub(super) id_range: Option<IdRange>,
    /// The interface, or none: no network but loopback.
    pub(super) network: Option<NetworkConfig>,
    /// Cgroup directory below each hierarchy's root, of this start alone.
    pub(super) cgroup: String,
    /// What it may use of the host.
    pub(super) limits: Limits,
    /// The disk whose input and output is limited, if it is.
    pub(super) disk: Option<Disk>,
    /// The agent's file on the host.
    pub(super) agent: PathBuf,
    /// The directory with the monitor's socket on the host.
    pub(super) agent_socket_dir: PathBuf,
    /// Files shown read-only where the image has nothing: host path, path inside without the leading `/`.
    pub(super) files: Vec<(PathBuf, PathBuf)>,
    /// The seccomp policy's file.
    pub(super) seccomp_profile: PathBuf,
    /// `/run` is a tmpfs from the start also where the container's own init would make it one.
    pub(super) run_in_memory: bool,
    /// Where liblxc logs.
    pub(super) log: PathBuf,
    /// Run by LXC's monitor when the container is gone: a shell command.
    pub(super) post_stop: String,
    /// The hard limit of open files that this process may give.
    pub(super) nofile_hard_limit: u64,
    /// Whether AppArmor confines here.
    pub(super) apparmor: bool,
}

/// A veth: the host has a route to the /32, the container's default route is the gateway.
#[derive(Debug, Clone)]
pub(super) struct NetworkConfig {
    /// The host's end.
    pub(super) host_interface: String,
    /// The container's address.
    pub(super) ip: Ipv4Addr,
    /// An address that the host holds.
    pub(super) gateway: Ipv4Addr,
    /// Both in IPv6, where the host has that.
    pub(super) v6: Option<(Ipv6Addr, Ipv6Addr)>,
    /// The container's MAC.
    pub(super) mac: MacAddress,
    /// What the host's end is.
    pub(super) mode: NetworkMode,
}

impl LxcConfig {
    /// The configuration as text. A control character in any value (all of this installation's paths are among them)
    /// is an error: a line break would begin a setting of its own.
    pub(super) fn render(&self) -> Result<String, BadValue> {
        let mut lines = Lines { text: String::with_capacity(4096), bad: None };
        lines.set("uts.name", &self.hostname);
        lines.set("rootfs.path", format_args!("dir:{}", self.rootfs.display()));
        lines.set("init.cmd", if self.init.is_app() { "/dev/.appc/agent" } else { "/dev/.appc/agent init" });
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
        lines.bad.map_or(Ok(lines.text), Err)
    }

    fn confine(&self, lines: &mut Lines) {
        if let Some(range) = self.id_range {
            lines.set("idmap", format_args!("u 0 {} {}", range.base(), range.count()));
            lines.set("idmap", format_args!("g 0 {} {}", range.base(), range.count()));
        }
        lines.set("seccomp.profile", self.seccomp_profile.display());
        match self.init {
            Init::App => {
                lines.set("apparmor.profile", if self.apparmor { apparmor::PROFILE } else { "unconfined" });
                lines.set("cap.keep", CAPABILITIES.join(" "));
                lines.set("no_new_privs", 1);
            }
            Init::System => {
                // Made for each start, with a namespace of policies of its own: services confine themselves further.
                lines.set("apparmor.profile", if self.apparmor { "generated" } else { "unconfined" });
                lines.set("apparmor.allow_nesting", 1);
                lines.set("cap.drop", DROPPED_BY_SYSTEMS.join(" "));
            }
        }
    }

    fn limit(&self, lines: &mut Lines) {
        lines.set("cgroup.dir.monitor", format_args!("{}/monitor", self.cgroup));
        lines.set("cgroup.dir.monitor.pivot", format_args!("{}/pivot", self.cgroup));
        lines.set("cgroup.dir.container", format_args!("{}/payload", self.cgroup));
        let (soft, hard) = limits::nofile(&self.limits, self.init.is_app(), self.nofile_hard_limit);
        lines.set("prlimit.nofile", format_args!("{soft}:{hard}"));
        lines.set("prlimit.core", 0);
        for (key, value) in limits::settings(&self.limits, self.disk) {
            lines.set(key, value);
        }
        for version in ["cgroup", "cgroup2"] {
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
        match network.mode {
            NetworkMode::Routed => lines.set("net.0.veth.mode", "router"),
            // Without a link: it is made a port when it is there, in one go with what a port of ours is.
            NetworkMode::Bridge => lines.set("net.0.veth.mode", "bridge"),
        }
        lines.set("net.0.veth.pair", &network.host_interface);
        lines.set("net.0.name", "eth0");
        lines.set("net.0.flags", "up");
        lines.set("net.0.hwaddr", network.mac);
        lines.set("net.0.ipv4.address", format_args!("{}/32", network.ip));
        lines.set("net.0.ipv4.gateway", network.gateway);
        if let Some((ip, gateway)) = network.v6 {
            lines.set("net.0.ipv6.address", format_args!("{ip}/128"));
            lines.set("net.0.ipv6.gateway", gateway);
        }
    }

    fn mount(&self, lines: &mut Lines) {
        lines.set(
            "mount.auto",
            if self.init.is_app() { "proc:mixed sys:ro" } else { "proc:mixed sys:mixed cgroup:mixed" },
        );
        lines.mount(format_args!("{} dev/.appc/agent none bind,ro,create=file", escape(&self.agent)));
        lines.mount(format_args!("{} dev/.appc/sock none bind,ro,create=dir", escape(&self.agent_socket_dir)));
        for (source, target) in &self.files {
            // Optional: LXC refuses a symbolic link on the way.
            lines.mount(format_args!("{} {} none bind,ro,create=file,optional", escape(source), escape(target)));
        }
        if self.init == Init::System {
            if self.run_in_memory {
                lines.mount(format_args!("{RUN}"));
            }
            // It mounts what it needs, also /proc anew for services of its own: what is masked there would forbid that.
            return;
        }
        for path in MASKED_FILES {
            lines.mount(format_args!("/dev/null {path} none bind,ro,optional"));
        }
        for path in MASKED_DIRECTORIES {
            lines.mount(format_args!("none {path} tmpfs ro,size=0,optional"));
        }
        lines.mount(format_args!("tmpfs dev/shm tmpfs rw,nosuid,nodev,size=64m,mode=1777,create=dir"));
        lines.mount(format_args!("{RUN}"));
        lines.mount(format_args!("mqueue dev/mqueue mqueue rw,nosuid,nodev,noexec,create=dir,optional"));
    }
}

/// A path in an fstab-like line: spaces and `\` as octal (`getmntent(3)`).
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\134").replace(' ', "\\040")
}

/// The seccomp policy that [`LxcConfig::seccomp_profile`] names.
pub(super) fn seccomp_policy(init: Init) -> String {
    seccomp::policy(init)
}

struct Lines {
    text: String,
    bad: Option<BadValue>,
}

impl Lines {
    fn set(&mut self, key: &str, value: impl std::fmt::Display) {
        let value = value.to_string();
        // The replacement character: a path that is no UTF-8 would be another path here.
        if value.chars().any(|character| character.is_control() || character == char::REPLACEMENT_CHARACTER) {
            self.bad.get_or_insert(BadValue { key: key.to_owned(), value });
            return;
        }
        // Writing to a String can't fail.
        let _ = writeln!(self.text, "lxc.{key} = {value}");
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
            init: Init::App,
            rootfs: "/run/appcontainers/containers/web/root".into(),
            id_range: Some(IdRange::new(1 << 30).unwrap()),
            network: Some(NetworkConfig {
                host_interface: "v0123456789ab".to_owned(),
                ip: Ipv4Addr::new(10, 213, 0, 2),
                gateway: Ipv4Addr::new(10, 213, 255, 254),
                v6: Some(("fd12::ad5:2".parse().unwrap(), "fd12::ad5:1".parse().unwrap())),
                mac: "02:00:00:00:00:01".parse().unwrap(),
                mode: NetworkMode::Routed,
            }),
            cgroup: "appcontainers-12345678/web-1".to_owned(),
            limits: Limits { pids: Some(100), ..Limits::default() },
            disk: None,
            agent: "/usr/libexec/appcontainers/appc-agent".into(),
            agent_socket_dir: "/run/appcontainers/containers/web/agent".into(),
            files: vec![("/run/a b/hosts".into(), "etc/hosts".into())],
            seccomp_profile: "/run/seccomp".into(),
            run_in_memory: false,
            log: "/run/lxc.log".into(),
            post_stop: "true".to_owned(),
            nofile_hard_limit: 4096,
            apparmor: false,
        }
    }

    #[test]
    fn a_default_container_is_unprivileged_confined_and_limited() {
        let text = config().render().unwrap();
        for line in [
            "lxc.idmap = u 0 1073741824 65536",
            "lxc.idmap = g 0 1073741824 65536",
            "lxc.no_new_privs = 1",
            "lxc.cgroup.devices.deny = a",
            "lxc.cgroup2.devices.deny = a",
            "lxc.cgroup.pids.max = 100",
            "lxc.prlimit.nofile = 1024:4096",
            "lxc.net.0.ipv4.address = 10.213.0.2/32",
            "lxc.net.0.ipv6.address = fd12::ad5:2/128",
            "lxc.net.0.ipv6.gateway = fd12::ad5:1",
            "lxc.mount.entry = /run/a\\040b/hosts etc/hosts none bind,ro,create=file,optional 0 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
        }
        assert!(!text.contains("sys_admin"));
    }

    #[test]
    fn a_line_break_or_a_lost_byte_in_any_path_is_refused() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let evil = PathBuf::from("/run/x\nlxc.cap.keep = sys_admin");
        let foreign = PathBuf::from(OsStr::from_bytes(b"/run/\xff"));
        for path in [evil, foreign, "/run/a\tb".into(), "/run/\u{1b}[2J".into()] {
            let text = path.to_string_lossy().into_owned();
            for config in [
                LxcConfig { rootfs: path.clone(), ..config() },
                LxcConfig { agent: path.clone(), ..config() },
                LxcConfig { agent_socket_dir: path.clone(), ..config() },
                LxcConfig { seccomp_profile: path.clone(), ..config() },
                LxcConfig { log: path.clone(), ..config() },
                LxcConfig { post_stop: text.clone(), ..config() },
                LxcConfig { cgroup: text, ..config() },
                LxcConfig { files: vec![(path.clone(), "etc/hosts".into())], ..config() },
                LxcConfig { files: vec![("/run/hosts".into(), path)], ..config() },
            ] {
                let error = config.render().unwrap_err().to_string();
                assert!(!error.chars().any(char::is_control), "{error}");
            }
        }
    }

    #[test]
    fn a_space_or_a_backslash_in_a_path_does_not_end_it() {
        let text = LxcConfig { agent: "/a b/c\\d".into(), ..config() }.render().unwrap();
        assert!(
            text.contains("lxc.mount.entry = /a\\040b/c\\134d dev/.appc/agent none bind,ro,create=file 0 0\n"),
            "{text}"
        );
    }

    #[test]
    fn without_a_network_there_is_only_loopback() {
        let text = LxcConfig { network: None, ..config() }.render().unwrap();
        assert!(text.contains("lxc.net.0.type = empty"));
        assert!(!text.contains("veth"));
    }
}
