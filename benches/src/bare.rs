//! Two bare network namespaces and a third one that routes between them: the way of a packet between two containers, without
//! everything else that a container and its host's rules are.

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::timing::output;

/// The addresses that the three have.
const GATEWAY: &str = "10.199.0.1";
const ENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 199, 0, 2), Ipv4Addr::new(10, 199, 0, 3)];

/// How long the kernel may take for a namespace.
const PATIENCE: Duration = Duration::from_secs(10);

/// The three. They go when this is dropped.
#[derive(Debug)]
pub(crate) struct Bare {
    router: Namespace,
    ends: [Namespace; 2],
}

impl Bare {
    /// Makes them, with a veth pair and a route for each end.
    pub(crate) fn set_up() -> anyhow::Result<Self> {
        let bare = Self { router: Namespace::new()?, ends: [Namespace::new()?, Namespace::new()?] };
        bare.router.sh(&format!(
            "ip link set lo up; ip addr add {GATEWAY}/32 dev lo; echo 1 > /proc/sys/net/ipv4/ip_forward"
        ))?;
        for (number, (end, address)) in bare.ends.iter().zip(ENDS).enumerate() {
            let pid = end.holder.id();
            bare.router.sh(&format!(
                "ip link add end{number} type veth peer name eth0 netns {pid}; ip link set end{number} up"
            ))?;
            end.sh(&format!(
                "ip link set lo up; ip addr add {address}/32 dev eth0; ip link set eth0 up; \
                 ip route add {GATEWAY} dev eth0; ip route add default via {GATEWAY}"
            ))?;
            bare.router.sh(&format!("ip route add {address}/32 dev end{number}"))?;
        }
        Ok(bare)
    }

    /// From now on the router knows the connections through it, and does nothing else with that: what any firewall that is
    /// asked for "established" costs.
    pub(crate) fn track(&self) -> anyhow::Result<()> {
        self.router.sh("nft 'add table inet tracking; \
                  add chain inet tracking through { type filter hook forward priority 0; policy drop; }; \
                  add rule inet tracking through ct state new,established,related accept'")
    }

    /// A command in the router, which is to the ends what the host is to containers.
    pub(crate) fn in_router(&self, program: &Path, arguments: &[&str]) -> Command {
        self.router.command(program, arguments)
    }

    /// A command in one of the two.
    pub(crate) fn in_end(&self, end: usize, program: &Path, arguments: &[&str]) -> Command {
        self.ends[end].command(program, arguments)
    }

    /// The address of one of the two.
    pub(crate) fn address(&self, end: usize) -> Ipv4Addr {
        ENDS[end]
    }
}

/// A network namespace, held by a process that sleeps.
#[derive(Debug)]
struct Namespace {
    holder: Child,
}

impl Namespace {
    fn new() -> anyhow::Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sleep", "infinity"]).stdin(Stdio::null());
        let namespace = Self { holder: command.spawn().context("cannot run unshare")? };
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/net"));
        let (own, until) = (of("self")?, Instant::now() + PATIENCE);
        while of(&namespace.holder.id().to_string()).is_ok_and(|there| there == own) {
            ensure!(Instant::now() < until, "unshare has made no network namespace");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(namespace)
    }

    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--net", "--"]).arg(program).args(arguments);
        command
    }

    fn sh(&self, script: &str) -> anyhow::Result<()> {
        output(&mut self.command(Path::new("sh"), &["-ec", script])).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
