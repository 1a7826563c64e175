//! The other side: `appc-agent` as PID 1 of a namespace, and the least monitor that can talk to it.

use std::{
    collections::BTreeMap,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant},
};

use appcontainers_wire::{
    ExitStatus, ProcessId, ProcessSpec, SpawnFailure, Stream, WIRE_VERSION,
    agent::{FromAgent, StreamOffset, ToAgent},
    decode, encode,
};
use tempfile::TempDir;
use zmq::{Context, Socket};

/// Nothing here takes longer unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A command with nothing special about it.
pub(crate) fn spec(argv: &[&str]) -> ProcessSpec {
    ProcessSpec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: Vec::new(),
        working_dir: Some("/".to_owned()),
        user: None,
        stdin: false,
        file_operation: false,
    }
}

/// A shell command.
pub(crate) fn shell(script: &str) -> ProcessSpec {
    spec(&["/bin/sh", "-c", script])
}

/// What a monitor knows of a process.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) pid: Option<u32>,
    pub(crate) failure: Option<SpawnFailure>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) credit: u64,
    pub(crate) exit: Option<ExitStatus>,
    /// Lengths of stdout and stderr when the exit came.
    pub at_exit: Option<(usize, usize)>,
    /// Times of the messages of stdout.
    pub(crate) times: Vec<u64>,
}

impl Known {
    /// Standard output as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

/// An agent and its monitor.
pub(crate) struct Bench {
    pub(crate) directory: TempDir,
    pub(crate) agent: Child,
    context: Context,
    router: Option<Socket>,
    peer: Vec<u8>,
    pub(crate) known: BTreeMap<u32, Known>,
    pub(crate) hellos: usize,
    /// Acknowledge output at once.
    pub(crate) acknowledge: bool,
    next: u32,
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.agent.kill());
        drop(self.agent.wait());
    }
}

impl Bench {
    /// Starts an agent and shakes hands.
    pub(crate) fn start() -> Self {
        assert!(rustix::process::geteuid().is_root(), "needs root, for pid and mount namespaces");
        let directory = tempfile::tempdir().unwrap();
        let context = Context::new();
        let binary = env!("CARGO_BIN_EXE_appc-agent");
        let agent = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--", binary, "--socket-dir"])
            .arg(directory.path())
            .process_group(0)
            .spawn()
            .expect("unshare (util-linux) is needed");
        let known = BTreeMap::new();
        let (peer, router) = (Vec::new(), None);
        let mut bench = Self { directory, agent, context, router, peer, known, hellos: 0, acknowledge: true, next: 0 };
        bench.bind();
        bench.until("the hello", |bench| bench.hellos == 1);
        bench
    }

    /// A new monitor with the memory of the old one, once it has gone.
    pub(crate) fn bind(&mut self) {
        let router = self.context.socket(zmq::ROUTER).unwrap();
        router.set_linger(0).unwrap();
        router.set_rcvhwm(8).unwrap();
        router.bind(&format!("ipc://{}/a", self.directory.path().display())).unwrap();
        self.router = Some(router);
    }

    /// The monitor dies.
    pub(crate) fn unbind(&mut self) {
        self.router = None;
        self.peer = Vec::new();
    }

    /// The pid of the agent in this namespace.
    pub(crate) fn agent_pid(&self) -> i32 {
        let parent = self.agent.id();
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        children.split_ascii_whitespace().next().unwrap().parse().unwrap()
    }

    /// Says a new monitor is there.
    pub(crate) fn hurry(&self) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.agent_pid()), nix::sys::signal::Signal::SIGUSR1)
            .unwrap();
    }

    /// Where libzmq binds.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("a")
    }

    pub(crate) fn send(&self, message: &ToAgent, payload: &[u8]) {
        let header = encode(message).unwrap();
        let router = self.router.as_ref().unwrap();
        router.send_multipart([&self.peer[..], &header, payload], 0).unwrap();
    }

    /// Starts a command, does not wait for it.
    pub(crate) fn spawn(&mut self, spec: ProcessSpec) -> u32 {
        self.next += 1;
        self.known.insert(self.next, Known::default());
        self.send(&ToAgent::Spawn { process: ProcessId(self.next), spec }, &[]);
        self.next
    }

    /// Runs a command to its end.
    pub(crate) fn run(&mut self, spec: ProcessSpec) -> &Known {
        let id = self.spawn(spec);
        self.until("the command's end", |bench| bench.known[&id].exit.is_some() || bench.known[&id].failure.is_some());
        &self.known[&id]
    }

    /// Takes messages until something is true.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !done(self) {
            assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}: {:?}", self.agent.try_wait());
            self.take(Duration::from_millis(100));
        }
    }

    /// Takes messages for so long.
    pub(crate) fn listen(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(rest) = end.checked_duration_since(Instant::now()) {
            self.take(rest);
        }
    }

    /// Waits for one message and takes it.
    pub(crate) fn take(&mut self, wait: Duration) -> bool {
        let router = self.router.as_ref().unwrap();
        if router.poll(zmq::POLLIN, wait.as_millis() as i64 + 1).unwrap() == 0 {
            return false;
        }
        let mut parts = router.recv_multipart(0).unwrap().into_iter();
        let (peer, header, payload) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let message: FromAgent = decode(&header).unwrap();
        if let FromAgent::Hello { wire, .. } = &message {
            assert_eq!(*wire, WIRE_VERSION);
            self.peer = peer;
            self.hellos += 1;
            let streams = self.offsets();
            self.send(&ToAgent::Welcome { wire: WIRE_VERSION, streams }, &[]);
            return true;
        }
        assert_eq!(peer, self.peer, "{message:?} before a hello");
        self.note(message, &payload);
        true
    }

    fn offsets(&self) -> Vec<StreamOffset> {
        let offset = |process: &u32, stream, bytes: &Vec<u8>| StreamOffset {
            process: ProcessId(*process),
            stream,
            offset: bytes.len() as u64,
        };
        self.known
            .iter()
            .flat_map(|(id, known)| {
                [offset(id, Stream::Stdout, &known.stdout), offset(id, Stream::Stderr, &known.stderr)]
            })
            .collect()
    }

    fn note(&mut self, message: FromAgent, payload: &[u8]) {
        match message {
            FromAgent::Hello { .. } => unreachable!(),
            FromAgent::Started { process, pid } => {
                let known = self.known.get_mut(&process.0).unwrap();
                assert!(known.pid.is_none_or(|before| before == pid), "started twice");
                known.pid = Some(pid);
            }
            FromAgent::SpawnFailed { process, failure } => {
                self.known.get_mut(&process.0).unwrap().failure = Some(failure);
                self.send(&ToAgent::Noted { process }, &[]);
            }
            FromAgent::Output { process, stream, offset, time_ns } => {
                let known = self.known.get_mut(&process.0).unwrap();
                assert!(known.pid.is_some(), "output before the start");
                assert!(!payload.is_empty() && payload.len() <= appcontainers_wire::agent::CHUNK_BYTES);
                let bytes = match stream {
                    Stream::Stdout => &mut known.stdout,
                    Stream::Stderr => &mut known.stderr,
                };
                let have = bytes.len() as u64;
                assert!(offset <= have, "a hole: have {have}, got {offset}");
                bytes.extend_from_slice(payload.get((have - offset) as usize..).unwrap_or_default());
                if stream == Stream::Stdout {
                    known.times.push(time_ns);
                }
                let offset = bytes.len() as u64;
                if self.acknowledge {
                    self.send(&ToAgent::Ack(StreamOffset { process, stream, offset }), &[]);
                }
            }
            FromAgent::StdinCredit { process, bytes } => self.known.get_mut(&process.0).unwrap().credit += bytes,
            FromAgent::Exited { process, status } => {
                let known = self.known.get_mut(&process.0).unwrap();
                assert!(known.exit.is_none_or(|before| before == status), "two exits");
                known.exit = Some(status);
                known.at_exit.get_or_insert((known.stdout.len(), known.stderr.len()));
                if self.acknowledge {
                    self.send(&ToAgent::Noted { process }, &[]);
                }
            }
        }
    }
}
