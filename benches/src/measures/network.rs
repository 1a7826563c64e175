//! TCP from the host to a container and from one container to another, beside bare network namespaces with the same veth pairs and
//! routes.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{
    bare::Bare,
    installation::Installation,
    missing::Missing,
    ping_pong,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
    timing::{in_turns, median, output},
};

const ROUNDS: usize = 7;

/// Seconds of each transfer.
const SECONDS: &str = "2";

/// Turns of each ping-pong.
const TURNS: &str = "20000";

/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// The two containers.
const NAMES: [&str; 2] = ["one", "two"];

/// The ports of iperf3 and of the ping-pong.
const PORTS: [u16; 2] = [5201, ping_pong::PORT];

const BESIDE: &str = "bare namespaces, the same veth pairs and routes";
const BESIDE_TRACKING: &str = "the same with connections tracked, and no other rule";

/// The programs, at the same paths in containers and outside.
struct Programs {
    iperf: PathBuf,
    own: PathBuf,
}

/// A client beside the same client between bare namespaces: each makes a command of a program and its arguments.
struct Pair<'a> {
    between: &'a str,
    ours: &'a dyn Fn(&Path, &[&str]) -> Command,
    bare: &'a dyn Fn(&Path, &[&str]) -> Command,
    /// Whether the targets are for this one.
    has_targets: bool,
}

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, missing: &mut Missing) -> anyhow::Result<()> {
    if !missing.has("iperf3", "iperf3") {
        return Ok(());
    }
    let iperf = output(Command::new("sh").args(["-c", "command -v iperf3"]))?.into();
    let programs = Programs { iperf, own: std::env::current_exe()? };
    let ours = containers(sandbox, &programs)?;
    let bare = Bare::set_up()?;
    let _servers = [
        Server::start(bare.in_end(1, &programs.iperf, &["-s"]))?,
        Server::start(bare.in_end(1, &programs.own, &[ping_pong::ARGUMENT, "answer"]))?,
    ];
    wait_for_servers(&bare)?;
    let details: Value = serde_json::from_str(&ours.appc(&["--json", "inspect", NAMES[1]])?)?;
    let address = details["ip"].as_str().context("the container has no address")?;
    let addresses = [address, &bare.address(1).to_string()];

    let from_host = Pair {
        between: "host to container",
        ours: &|program, arguments| {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        },
        bare: &|program, arguments| bare.in_router(program, arguments),
        has_targets: false,
    };
    from_host.measure(&programs, addresses, table)?;
    ours.appc(&["allow", NAMES[0], NAMES[1]])?;
    let between_containers = Pair {
        between: "container to container",
        ours: &|program, arguments| {
            let program = program.to_string_lossy();
            ours.command(&[&["-c", NAMES[0], "exec", "--", &*program], arguments].concat())
        },
        bare: &|program, arguments| bare.in_end(0, program, arguments),
        has_targets: true,
    };
    between_containers.measure(&programs, addresses, table)?;
    bare.track()?;
    between_containers.latency(&programs, addresses, (BESIDE_TRACKING, None), table)
}

/// Two containers with the programs, in the second of which both servers listen.
fn containers(sandbox: &Sandbox, programs: &Programs) -> anyhow::Result<Installation> {
    let ours = Installation::set_up(sandbox, "network")?;
    let archive = pack(sandbox, programs)?;
    for name in NAMES {
        ours.appc(&["provision", "--name", name])?;
        ours.appc(&["-c", name, "load-archive", &archive, "--into", "/"])?;
        ours.appc(&["start", name])?;
    }
    let (own, iperf) = (programs.own.to_string_lossy(), programs.iperf.to_string_lossy());
    for server in [&[&*iperf, "-s"][..], &[&*own, ping_pong::ARGUMENT, "answer"]] {
        ours.appc(&[&["-c", NAMES[1], "spawn", "--"], server].concat())?;
    }
    for port in PORTS {
        ours.appc(&["wait-port", &format!("{}:{port}", NAMES[1])])?;
    }
    Ok(ours)
}

impl Pair<'_> {
    /// Adds both rows; `addresses` are those of our server and the bare one.
    fn measure(&self, programs: &Programs, addresses: [&str; 2], table: &mut Table) -> anyhow::Result<()> {
        self.throughput(programs, addresses, table)?;
        self.latency(programs, addresses, (BESIDE, self.has_targets.then_some(1.1)), table)
    }

    fn throughput(&self, programs: &Programs, addresses: [&str; 2], table: &mut Table) -> anyhow::Result<()> {
        let mut transfers = self.commands(&programs.iperf, addresses, &["-c"], &["-t", SECONDS, "-J"]);
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            for (transfer, rates) in transfers.iter_mut().zip(&mut rates) {
                let rate = throughput(transfer)?;
                if round > 0 {
                    rates.push(rate);
                }
            }
        }
        let [ours, theirs] = rates.map(|rates| Quantity::Rate(median(rates)));
        let what = format!("TCP, {}: iperf3", self.between);
        table.add(&Row { what: &what, ours, beside: BESIDE, theirs, target: self.has_targets.then_some(0.9) });
        Ok(())
    }

    fn latency(
        &self,
        programs: &Programs,
        addresses: [&str; 2],
        (beside, target): (&str, Option<f64>),
        table: &mut Table,
    ) -> anyhow::Result<()> {
        let [mut ours, mut bare] = self.commands(&programs.own, addresses, &[ping_pong::ARGUMENT, "ask"], &[TURNS]);
        let medians = in_turns(ROUNDS, &mut [Box::new(|| latency(&mut ours)), Box::new(|| latency(&mut bare))])?;
        let [ours, theirs] = [medians[0], medians[1]].map(Quantity::Time);
        let what = format!("TCP, {}: a byte there and back", self.between);
        table.add(&Row { what: &what, ours, beside, theirs, target });
        Ok(())
    }

    /// A program with these arguments around the address: ours, and the bare one.
    fn commands(&self, program: &Path, addresses: [&str; 2], before: &[&str], after: &[&str]) -> [Command; 2] {
        let words = addresses.map(|address| [before, &[address], after].concat());
        [(self.ours)(program, &words[0]), (self.bare)(program, &words[1])]
    }
}

/// The programs with the libraries that they need, as a tar: what a container needs to run them.
fn pack(sandbox: &Sandbox, programs: &Programs) -> anyhow::Result<String> {
    let archive = sandbox.base.join("programs.tar").to_string_lossy().into_owned();
    let script = "archive=$1; shift; for program; do echo \"$program\"; ldd \"$program\" | grep -o '/[^ ]*'; done | sort -u \
                  | tar --absolute-names --dereference --transform 's,^/,,' -cf \"$archive\" --files-from -";
    output(Command::new("sh").args(["-ec", script, "sh", &archive]).args([&programs.iperf, &programs.own]))?;
    Ok(archive)
}

/// A server in a bare namespace. It ends when this is dropped.
struct Server(Child);

impl Server {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("cannot run {command:?}"))?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for_servers(bare: &Bare) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let listening = output(&mut bare.in_end(1, Path::new("ss"), &["-Htln"]))?;
        if PORTS.iter().all(|port| listening.contains(&format!(":{port} "))) {
            return Ok(());
        }
        if Instant::now() >= until {
            bail!("the servers in the bare namespace do not listen: {listening}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Bytes a second that iperf3's server has received.
fn throughput(command: &mut Command) -> anyhow::Result<f64> {
    let report: Value = serde_json::from_str(&output(command)?)?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    bits.map(|bits| bits / 8.0).with_context(|| format!("iperf3 reports no throughput: {report}"))
}

/// The median turn of one ping-pong.
fn latency(command: &mut Command) -> anyhow::Result<Duration> {
    Ok(Duration::from_nanos(output(command)?.trim().parse().context("no time")?))
}
