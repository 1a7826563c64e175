//! The other side: `appc-agent` as PID 1 of a namespace, and the least monitor that can talk to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use appcontainers_wire::{
    ExitStatus, ProcessId, ProcessSpec, SpawnFailure, Stream, TerminalSize, WIRE_VERSION,
    agent::{FromAgent, StreamOffset, ToAgent},
    decode, encode, frame,
};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use zmq::{Context, Socket};

/// Nothing here takes longer unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// PID 1 with a /proc and terminals of its own, that goes when unshare goes; what follows is the agent.
const UNSHARE: [&str; 8] = ["--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--", "sh", "-c", INIT];

const INIT: &str = "mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts /dev/pts && exec \"$0\" \"$@\"";

/// A command with nothing special about it.
pub(crate) fn spec(argv: &[&str]) -> ProcessSpec {
    ProcessSpec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        working_dir: Some("/".to_owned()),
        ..ProcessSpec::default()
    }
}

/// A shell command.
pub(crate) fn shell(script: &str) -> ProcessSpec {
    spec(&["/bin/sh", "-c", script])
}

/// A shell command on a terminal of 24 lines.
pub(crate) fn on_terminal(script: &str) -> ProcessSpec {
    ProcessSpec { tty: Some(TerminalSize { rows: 24, columns: 80 }), stdin: true, ..shell(script) }
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
        // Whatever the tests' caller ignores: LXC's child ignores nothing either.
        let mut unshare = Command::new("env");
        unshare.args(["--default-signal", "unshare"]).args(UNSHARE).arg(env!("CARGO_BIN_EXE_appc-agent"));
        Self::start_with(tempfile::tempdir().unwrap(), unshare)
    }

    /// The same as in a container: in a user namespace whose root is a nobody here and can't read the agent's file.
    pub(crate) fn start_in_user_namespace() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        };
        mode(directory.path(), 0o755);
        let agent = directory.path().join("agent");
        std::fs::copy(env!("CARGO_BIN_EXE_appc-agent"), &agent).unwrap();
        mode(&agent, 0o711);
        let mut holder = Command::new("unshare");
        holder.args(["--user", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = holder.spawn().expect("unshare (util-linux) is needed");
        // It answers once it is in its namespace.
        holder.stdin.as_mut().unwrap().write_all(b".").unwrap();
        holder.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        for map in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{}/{map}", holder.id()), "0 1000000 65536").unwrap();
        }
        let mut nsenter = Command::new("nsenter");
        let target = holder.id().to_string();
        nsenter.args(["--user", "--setuid", "0", "--setgid", "0", "--target", &target, "--", "unshare"]);
        nsenter.args(UNSHARE).arg(agent);
        let bench = Self::start_with(directory, nsenter);
        drop(holder.stdin.take());
        holder.wait().unwrap();
        bench
    }

    fn start_with(directory: TempDir, mut command: Command) -> Self {
        assert!(rustix::process::geteuid().is_root(), "needs root, for pid and mount namespaces");
        let context = Context::new();
        let agent = command.arg("--socket-dir").arg(directory.path()).process_group(0).spawn();
        let agent = agent.expect("unshare and nsenter (util-linux) are needed");
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
        // Whoever connects to a socket writes to it.
        let socket = self.directory.path().join("a");
        std::fs::set_permissions(socket, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
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

    /// What the tests' caller left open.
    pub(crate) fn descriptors_of_unshare(&self) -> BTreeSet<u32> {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", self.agent.id())).unwrap();
        fds.map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    /// Whether the agent is gone.
    pub(crate) fn agent_has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.agent.id())).unwrap();
        stat.rsplit(')').next().unwrap().starts_with(" Z")
    }

    /// The pid in this namespace of a process that runs.
    pub(crate) fn pid_here(&self, id: u32) -> i32 {
        let (agent, inside) = (self.agent_pid(), self.known[&id].pid.unwrap().to_string());
        let children = std::fs::read_to_string(format!("/proc/{agent}/task/{agent}/children")).unwrap();
        let is_it = |pid: &&str| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default();
            line.split_ascii_whitespace().last() == Some(inside.as_str())
        };
        children.split_ascii_whitespace().find(is_it).unwrap().parse().unwrap()
    }

    /// An executable file.
    pub(crate) fn script(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Takes what came before the agent's end.
    pub(crate) fn listen_to_the_last(&mut self) {
        while self.take(Duration::from_millis(200)) {}
    }

    /// Acknowledges all output, and notes all ends.
    pub(crate) fn acknowledge_all(&self) {
        for position in self.offsets() {
            self.send(&ToAgent::Ack(position), &[]);
            self.send(&ToAgent::Noted { process: position.process }, &[]);
        }
    }

    pub(crate) fn send(&self, message: &ToAgent, payload: &[u8]) {
        let header = encode(message).unwrap();
        let router = self.router.as_ref().unwrap();
        router.send_multipart([&self.peer[..], &frame::join(&header, payload).unwrap()], 0).unwrap();
    }

    /// Starts a command, does not wait for it.
    pub(crate) fn spawn(&mut self, spec: ProcessSpec) -> u32 {
        self.next += 1;
        self.known.insert(self.next, Known::default());
        self.send(&ToAgent::Spawn { process: ProcessId(self.next), spec }, &[]);
        self.next
    }

    /// Types into a process's terminal, or writes into its pipe.
    pub(crate) fn input(&self, id: u32, text: &str) {
        self.send(&ToAgent::Stdin { process: ProcessId(id) }, text.as_bytes());
    }

    /// Ends a process's input.
    pub(crate) fn close_input(&self, id: u32) {
        self.send(&ToAgent::StdinClose { process: ProcessId(id) }, &[]);
    }

    /// Sends a signal to a process.
    pub(crate) fn signal(&self, id: u32, signal: Signal) {
        self.send(&ToAgent::Signal { process: ProcessId(id), signal: signal as u8 }, &[]);
    }

    /// Waits until a process has printed this.
    pub(crate) fn until_printed(&mut self, id: u32, text: &str) {
        self.until(text, |bench| String::from_utf8_lossy(&bench.known[&id].stdout).contains(text));
    }

    /// Waits for a process's end, and gives its status.
    pub(crate) fn end_of(&mut self, id: u32) -> ExitStatus {
        self.until("the end", |bench| bench.known[&id].exit.is_some());
        self.known[&id].exit.unwrap()
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
            let waits = begin.elapsed() < PATIENCE;
            assert!(waits, "waited in vain for {what}: {:?}; {}", self.agent.try_wait(), self.last_words());
            self.take(Duration::from_millis(100));
        }
    }

    /// What the newest process that runs has printed last.
    fn last_words(&self) -> String {
        let running = self.known.values().rfind(|known| known.exit.is_none());
        let stdout = running.map_or(&[][..], |known| &known.stdout);
        String::from_utf8_lossy(&stdout[stdout.len().saturating_sub(1000)..]).into_owned()
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
            FromAgent::Started { process, pid, taken_bytes, .. } => {
                let known = self.known.get_mut(&process.0).unwrap();
                assert!(known.pid.is_none_or(|before| before == pid), "started twice");
                known.pid = Some(pid);
                known.credit = taken_bytes;
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
