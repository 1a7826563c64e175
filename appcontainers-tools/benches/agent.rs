//! How long the agent takes, from outside, with a monitor that does nothing but acknowledge. Needs root.
//!
//! `APPC_AGENT=FILE` measures that binary instead of the one that cargo has just built (which is not static).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    process::{Child, Command},
    time::{Duration, Instant},
};

use appcontainers_wire::{
    ProcessId, ProcessSpec, WIRE_VERSION,
    agent::{FromAgent, StreamOffset, ToAgent},
    decode, encode, frame,
};
use zmq::Socket;

struct Bench {
    directory: tempfile::TempDir,
    router: Socket,
    peer: Vec<u8>,
    unshare: Child,
    hello: Duration,
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.unshare.kill());
        drop(self.unshare.wait());
    }
}

impl Bench {
    /// Starts an agent; measures to its hello, without unshare's own time.
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let router = bind(&directory);
        let agent = std::env::var("APPC_AGENT").unwrap_or_else(|_| env!("CARGO_BIN_EXE_appc-agent").to_owned());
        // The shell says when it becomes the agent.
        let script = r#"date +%s%N > "$1/begin"; exec "$2" --socket-dir "$1""#;
        let unshare = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--", "sh", "-c", script, "sh"])
            .args([directory.path().as_os_str(), agent.as_ref()])
            .spawn()
            .unwrap();
        let mut bench = Self { directory, router, peer: Vec::new(), unshare, hello: Duration::ZERO };
        bench.greet();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let begin = std::fs::read_to_string(bench.directory.path().join("begin")).unwrap();
        bench.hello = now - Duration::from_nanos(begin.trim().parse().unwrap());
        bench
    }

    fn send(&self, message: &ToAgent) {
        self.router.send_multipart([&self.peer[..], &frame::join(&encode(message).unwrap(), b"").unwrap()], 0).unwrap();
    }

    /// Runs a command; gives the times to its start and its end, and how much it wrote.
    fn run(&self, process: u32, argv: &[&str]) -> (Duration, Duration, u64) {
        let process = ProcessId(process);
        let spec = ProcessSpec {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            working_dir: Some("/".to_owned()),
            ..ProcessSpec::default()
        };
        let begin = Instant::now();
        self.send(&ToAgent::Spawn { process, spec });
        let (mut started, mut bytes) = (Duration::ZERO, 0);
        loop {
            let mut parts = [(); 3].map(|()| zmq::Message::new());
            for part in &mut parts {
                self.router.recv(part, 0).unwrap();
            }
            match decode(&parts[1]).unwrap() {
                FromAgent::Started { .. } => started = begin.elapsed(),
                FromAgent::Output { process, stream, offset, .. } => {
                    bytes += parts[2].len() as u64;
                    let offset = offset + parts[2].len() as u64;
                    self.send(&ToAgent::Ack(StreamOffset { process, stream, offset }));
                }
                FromAgent::Exited { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        let ended = begin.elapsed();
        self.send(&ToAgent::Noted { process });
        (started, ended, bytes)
    }

    /// The monitor goes, another comes and says so; gives the time to the agent's hello.
    fn replace_monitor(&mut self) -> Duration {
        let agent = nix::unistd::Pid::from_raw(self.agent().parse().unwrap());
        self.router = zmq::Context::new().socket(zmq::PAIR).unwrap();
        self.router = bind(&self.directory);
        let begin = Instant::now();
        nix::sys::signal::kill(agent, nix::sys::signal::Signal::SIGUSR1).unwrap();
        self.greet();
        begin.elapsed()
    }

    fn greet(&mut self) {
        let parts = self.router.recv_multipart(0).unwrap();
        assert!(matches!(decode(&parts[1]).unwrap(), FromAgent::Hello { .. }));
        self.peer = parts.into_iter().next().unwrap();
        self.send(&ToAgent::Welcome { wire: WIRE_VERSION, streams: Vec::new() });
    }

    fn agent(&self) -> String {
        let parent = self.unshare.id();
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        children.trim().to_owned()
    }

    /// Proportional and resident memory of the agent in KiB.
    fn memory(&self) -> (u64, u64) {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.agent())).unwrap();
        let field = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_ascii_whitespace().next().unwrap().parse().unwrap()
        };
        (field("Pss:"), field("Rss:"))
    }
}

fn bind(directory: &tempfile::TempDir) -> Socket {
    let router = zmq::Context::new().socket(zmq::ROUTER).unwrap();
    router.set_rcvhwm(64).unwrap();
    router.bind(&format!("ipc://{}/a", directory.path().display())).unwrap();
    router
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() {
    let hello: Vec<_> = (0..30).map(|_| Bench::start().hello).collect();
    println!("exec (and date) to hello      {:?}", median(hello));
    let mut bench = Bench::start();
    let (pss, rss) = bench.memory();
    println!("idle memory                   PSS {pss} KiB, RSS {rss} KiB");
    let (started, ended): (Vec<_>, Vec<_>) = (0..300)
        .map(|process| {
            let (started, ended, _) = bench.run(process, &["/bin/true"]);
            (started, ended)
        })
        .unzip();
    println!("spawn to started of /bin/true {:?}", median(started));
    println!("spawn to exited of /bin/true  {:?}", median(ended));
    for (process, script) in (1000..).zip(["head -c 1G /dev/zero", "head -c 1G /dev/zero | cat", "seq 1 20000000"]) {
        let (_, ended, bytes) = bench.run(process, &["sh", "-c", script]);
        let rate = bytes as f64 / ended.as_secs_f64() / 1e6;
        println!("{script:29} {ended:?}, {bytes} bytes, {rate:.0} MB/s");
    }
    let replaced: Vec<_> = (0..20).map(|_| bench.replace_monitor()).collect();
    println!("SIGUSR1 to hello              {:?}", median(replaced));
    let (pss, rss) = bench.memory();
    println!("memory after that             PSS {pss} KiB, RSS {rss} KiB");
}
