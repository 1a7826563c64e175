//! Places in the network from which packets are sent, and which say what got through to them.
//!
//! ```text
//! test -- a line of JSON --> prober.py, in the network namespace of the host, of a container or of a neighbour
//! ```

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout},
    time::Duration,
};

use rustix::process::Pid;
use serde_json::{Value, json};

use crate::{Host, Outside, Running, allowed};

const PYTHON: &str = "/usr/bin/python3";
const PROGRAM: &str = include_str!("../programs/prober.py");

/// How long what has to get through may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A place from which packets are sent; it answers at [`Prober::PORTS`], TCP and UDP, with its name and the client's address.
#[derive(Debug)]
pub struct Prober {
    name: String,
    addresses: [String; 2],
    stdin: RefCell<ChildStdin>,
    stdout: RefCell<BufReader<ChildStdout>>,
    _process: Running,
}

/// Something that is tried: `tcp` and `udp` at a port, or `icmp`.
#[derive(Debug, Clone)]
pub struct Probe {
    kind: &'static str,
    address: String,
    port: u16,
    token: String,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// This came back.
    Answer(String),
    /// The kernel says that it does not work.
    Refused(String),
    /// Nothing, so far.
    Silence,
}

impl Probe {
    /// A try whose token nobody else has.
    pub fn new(kind: &'static str, address: &str, port: u16) -> Self {
        thread_local!(static COUNT: Cell<u32> = const { Cell::new(0) });
        COUNT.set(COUNT.get() + 1);
        Self { kind, address: address.to_owned(), port, token: format!("{kind} to {address} {port} #{}", COUNT.get()) }
    }

    /// By what its receiver knows it.
    pub fn token(&self) -> &str {
        &self.token
    }

    fn json(&self) -> Value {
        json!([self.kind, self.address, self.port, self.token])
    }
}

impl Prober {
    /// The ports at which each answers.
    pub const PORTS: [u16; 2] = [8000, 8001];

    /// The port at which each takes flows.
    pub const STREAM: u16 = 7000;

    /// On the host, as a neighbour knows it.
    #[track_caller]
    pub fn on_host(host: &Host) -> Self {
        Self::start(host, "host", &[], Outside::HOST.map(str::to_owned))
    }

    /// At a neighbour.
    #[track_caller]
    pub fn outside(host: &Host, outside: &Outside) -> Self {
        Self::start(host, "outside", &entering(outside.pid()), Outside::ADDRESSES.map(str::to_owned))
    }

    /// In a running container's network, with the host's own Python.
    #[track_caller]
    pub fn container(host: &Host, name: &str) -> Self {
        let enter = entering(host.recorded_pid(name, "init").expect("the container runs"));
        Self::start(host, name, &enter, addresses_inside(host, &enter))
    }

    #[track_caller]
    fn start(host: &Host, name: &str, enter: &[String], addresses: [String; 2]) -> Self {
        let ports = Self::PORTS.into_iter().chain([Self::STREAM]).map(|port| port.to_string());
        let mut words = enter.to_vec();
        words.extend([PYTHON, "-c", PROGRAM, name].map(str::to_owned));
        words.extend(ports);
        let mut process = host.spawn(&words[0], &words[1..]);
        process.read_until("ready\n");
        let stdin = RefCell::new(process.stdin.take().expect("its standard input"));
        let stdout = RefCell::new(BufReader::new(process.stdout.take().expect("its standard output")));
        Self { name: name.to_owned(), addresses, stdin, stdout, _process: process }
    }

    /// What it answers with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address: in IPv4 and in IPv6.
    pub fn addresses(&self) -> [&str; 2] {
        [&self.addresses[0], &self.addresses[1]]
    }

    /// Looks up a container's addresses anew.
    #[track_caller]
    pub fn look_up_addresses(&mut self, host: &Host) {
        let enter = entering(host.recorded_pid(&self.name, "init").expect("the container runs"));
        self.addresses = addresses_inside(host, &enter);
    }

    /// Calls a function of `prober.py`.
    #[track_caller]
    pub fn ask(&self, words: &Value) -> Result<Value, String> {
        let mut stdin = self.stdin.borrow_mut();
        writeln!(stdin, "{words}").and_then(|()| stdin.flush()).expect("ask a prober");
        let mut line = String::new();
        self.stdout.borrow_mut().read_line(&mut line).expect("hear a prober");
        let mut said: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}: {words}: {line:?}", self.name));
        match said["failed"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(said["done"].take()),
        }
    }

    /// Sends all of these off.
    #[track_caller]
    pub fn begin(&self, probes: &[Probe]) {
        let probes: Vec<_> = probes.iter().map(Probe::json).collect();
        self.ask(&json!(["begin", probes])).expect("send probes");
    }

    /// What became of those that were sent off last. Those that are needed are waited for.
    #[track_caller]
    pub fn end(&self, needed: &[bool]) -> Vec<Said> {
        let said = self.ask(&json!(["end", needed, allowed(PATIENCE).as_secs_f64()])).expect("end probes");
        said.as_array().expect("a result for each").iter().map(Said::of).collect()
    }

    /// Tries one thing, and waits for what comes of it.
    #[track_caller]
    pub fn tries(&self, probe: &Probe) -> Said {
        self.begin(std::slice::from_ref(probe));
        self.end(&[true]).remove(0)
    }

    /// What comes back from there; something has to.
    #[track_caller]
    pub fn gets(&self, kind: &'static str, address: &str, port: u16) -> String {
        match self.tries(&Probe::new(kind, address, port)) {
            Said::Answer(text) => text,
            other => panic!("{} gets no answer to {kind} from {address} {port}: {other:?}", self.name),
        }
    }

    /// Fails the test if what is tried gets through to `target`, or brings an answer back. `control` is somebody who may: when that
    /// one's packets, sent later, have been answered, these were lost.
    #[track_caller]
    pub fn fails_to_reach(&self, probes: &[Probe], target: &Prober, control: &Prober) {
        target.seen();
        self.begin(probes);
        for address in target.addresses() {
            for kind in ["tcp", "udp"] {
                control.gets(kind, address, Self::PORTS[0]);
            }
        }
        for (probe, said) in probes.iter().zip(self.end(&vec![false; probes.len()])) {
            assert!(!matches!(said, Said::Answer(_)), "{} got an answer to {}: {said:?}", self.name, probe.token);
        }
        let seen = target.seen();
        for probe in probes {
            assert!(!seen.contains(&probe.token), "{} of {} got through", probe.token, self.name);
        }
    }

    /// The tokens that came here since this was last asked.
    #[track_caller]
    pub fn seen(&self) -> BTreeSet<String> {
        let seen = self.ask(&json!(["seen"])).expect("ask what was seen");
        seen.as_array().expect("a list").iter().map(|token| token.as_str().expect("a token").to_owned()).collect()
    }

    /// Opens a connection to the port for flows, over which both sides send from now on.
    #[track_caller]
    pub fn open_flow(&self, name: &str, kind: &'static str, address: &str) {
        self.ask(&json!(["flow", name, kind, address])).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// What this side has had of a flow: that it opened, or that somebody else did (`from ADDRESS`).
    #[track_caller]
    pub fn flow(&self, name: &str) -> Option<Flow> {
        let flows = self.ask(&json!(["flows"])).expect("ask for flows");
        let flow = flows.get(name)?;
        let number = |field: &str| flow[field].as_u64().expect("a number");
        Some(Flow {
            sent: number("sent"),
            received: number("received"),
            refused: number("refused"),
            ended: flow["ended"].as_str().map(str::to_owned),
        })
    }

    /// Forgets all flows.
    #[track_caller]
    pub fn end_flows(&self) {
        self.ask(&json!(["flows_end"])).expect("end flows");
    }

    /// From now on tries all of these, again and again: `good` ones have to get through each time, `bad` ones never.
    #[track_caller]
    pub fn stream(&self, good: &[Probe], bad: &[Probe]) {
        let [good, bad] = [good, bad].map(|probes| probes.iter().map(Probe::json).collect::<Vec<_>>());
        self.ask(&json!(["stream", good, bad, allowed(PATIENCE).as_secs_f64()])).expect("begin a stream");
    }

    /// How often it has tried all.
    #[track_caller]
    pub fn rounds(&self) -> u64 {
        let rounds = self.ask(&json!(["rounds"])).expect("ask for rounds");
        rounds.as_array().expect("a list").iter().filter_map(Value::as_u64).sum()
    }

    /// Ends the stream, which must have had no fault.
    #[track_caller]
    pub fn end_stream(&self) {
        let ended = self.ask(&json!(["streams_end"])).expect("end a stream");
        for stream in ended.as_array().expect("a list") {
            assert_eq!(stream["faults"], json!([]), "{} after {} rounds", self.name, stream["rounds"]);
        }
    }
}

/// One side of a flow.
#[derive(Debug, Clone)]
pub struct Flow {
    /// How often it has tried to send.
    pub sent: u64,
    /// How often something has come.
    pub received: u64,
    /// How often the kernel said that it does not work.
    pub refused: u64,
    /// What ended a connection.
    pub ended: Option<String>,
}

impl Said {
    fn of(said: &Value) -> Self {
        match (said["answer"].as_str(), said["error"].as_str()) {
            (Some(answer), _) => Said::Answer(answer.to_owned()),
            (None, Some(error)) => Said::Refused(error.to_owned()),
            (None, None) => Said::Silence,
        }
    }
}

fn entering(pid: Pid) -> Vec<String> {
    ["nsenter", "--target", &pid.as_raw_nonzero().to_string(), "--net", "--"].map(str::to_owned).into()
}

#[track_caller]
fn addresses_inside(host: &Host, enter: &[String]) -> [String; 2] {
    let show = ["ip", "-json", "address", "show", "dev", "eth0", "scope", "global"].map(str::to_owned);
    let said = host.run(&enter[0], enter[1..].iter().chain(&show)).succeeds();
    let said: Value = serde_json::from_str(&said).expect("ip's JSON");
    ["inet", "inet6"].map(|family| {
        let mut all = said[0]["addr_info"].as_array().expect("addresses").iter();
        let info = all.find(|info| info["family"] == family).unwrap_or_else(|| panic!("no {family} address: {said}"));
        info["local"].as_str().expect("an address").to_owned()
    })
}
