//! A monitor with a container that is not there: its agent is the test.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Instant,
};

use appcontainers::{
    Paths,
    output::{LogReader, LogWriter},
    process::{Connection, ProcessJournal},
};
use appcontainers_monitor::{
    ClientLink,
    agent::{AgentLink, Expected, Inbox},
    monitor::{Announcer, Beginning, Monitor},
};
use appcontainers_wire::{
    ProcessId, ProcessSpec, Stream, WIRE_VERSION,
    agent::{FromAgent, ToAgent},
    client::{FromClient, ToClient},
    decode, encode, frame,
};

/// What a DEALER of libzmq's begins with.
pub(crate) fn opening() -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    bytes.extend_from_slice(b"NULL");
    bytes.resize(64, 0);
    bytes.extend_from_slice(b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER");
    bytes
}

/// A frame of ZMTP; flag 1 says that the message goes on.
pub(crate) fn zmtp(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![flags | 2];
    frame.extend_from_slice(&(body.len() as u64).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// A message as an agent sends it.
pub(crate) fn message(message: &FromAgent, payload: &[u8]) -> Vec<u8> {
    [zmtp(1, &encode(message).unwrap()), zmtp(0, payload)].concat()
}

pub(crate) fn hello() -> FromAgent {
    FromAgent::Hello { wire: WIRE_VERSION, version: "0".to_owned() }
}

pub(crate) fn output(process: u32, offset: u64) -> FromAgent {
    FromAgent::Output { process: ProcessId(process), stream: Stream::Stdout, offset, time_ns: 1 }
}

pub(crate) fn started(process: u32) -> FromAgent {
    FromAgent::Started { process: ProcessId(process), pid: 17, input_bytes: 0, taken_bytes: 0 }
}

pub(crate) struct Rig {
    pub(crate) place: tempfile::TempDir,
    pub(crate) monitor: Monitor,
    inbox: Inbox,
    pub(crate) agent: UnixStream,
    heard: Vec<u8>,
}

impl Rig {
    /// A monitor that waits for hello.
    pub(crate) fn new(beginning: Beginning) -> Self {
        Self::in_place(tempfile::tempdir().unwrap(), beginning)
    }

    /// The same with the files of an earlier one.
    pub(crate) fn in_place(place: tempfile::TempDir, beginning: Beginning) -> Self {
        let mut link = AgentLink::bind(place.path(), None).unwrap();
        link.expect(Expected::Process(rustix::process::getpid()));
        let log = LogWriter::open(&place.path().join("log")).unwrap();
        let journal = match beginning {
            Beginning::Adoption { .. } => ProcessJournal::open(place.path()),
            _ => ProcessJournal::begin(place.path()),
        };
        let paths = Paths::new(place.path(), place.path().join("run"));
        let announcer = Announcer::unpublished(paths, "web".parse().unwrap());
        let monitor = Monitor::new(link, log, journal.unwrap(), announcer, 1, beginning);
        let agent = connect(place.path());
        Self { place, monitor, inbox: Inbox::default(), agent, heard: Vec::new() }
    }

    /// A monitor that runs, and whose agent has said hello; it goes on without commands.
    pub(crate) fn ready() -> Self {
        let mut rig = Self::new(Beginning::Startup(Vec::new()));
        rig.says(&[opening(), message(&hello(), b"")].concat()).unwrap();
        assert!(rig.monitor.is_ready());
        rig
    }

    /// The monitor takes all there is, as its event loop would.
    pub(crate) fn turn(&mut self) -> anyhow::Result<()> {
        while self.monitor.hear(&mut self.inbox)? {}
        self.monitor.client_links().for_each(ClientLink::read_more);
        let mut actions = Vec::new();
        self.monitor.serve_clients(&mut actions)?;
        self.monitor.tick(Instant::now(), &mut actions)?;
        self.monitor.settle()
    }

    /// The agent sends these bytes, and the monitor takes them; how that ends.
    pub(crate) fn says(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let sent = self.pushes(bytes)?;
        assert_eq!(sent, bytes.len(), "the monitor does not listen");
        self.turn()
    }

    /// As [`Rig::says`], but gives up when nothing is taken any more; how many bytes were sent.
    pub(crate) fn pushes(&mut self, bytes: &[u8]) -> anyhow::Result<usize> {
        let (mut sent, mut was_full) = (0, false);
        while sent < bytes.len() {
            match self.agent.write(&bytes[sent..]) {
                Ok(written) => (sent, was_full) = (sent + written, false),
                Err(error) if error.kind() == ErrorKind::WouldBlock && !was_full => {
                    self.turn()?;
                    was_full = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        Ok(sent)
    }

    /// Why the monitor ends the session when the agent sends these bytes.
    #[track_caller]
    pub(crate) fn refuses(&mut self, bytes: &[u8]) -> String {
        format!("{:#}", self.says(bytes).expect_err("the monitor took it"))
    }

    /// What the monitor has told the agent since this was asked last.
    pub(crate) fn told(&mut self) -> Vec<ToAgent> {
        let mut buffer = [0; 65536];
        loop {
            match self.agent.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => self.heard.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        // The greeting and READY come once.
        let mut rest = match self.heard.first() {
            Some(0xff) => &self.heard[64 + 2 + usize::from(self.heard[65])..],
            _ => &self.heard[..],
        };
        let mut messages = Vec::new();
        while let [flags, tail @ ..] = rest {
            let (length, tail) = match flags {
                0 => (usize::from(tail[0]), &tail[1..]),
                2 => (u64::from_be_bytes(*tail.first_chunk().unwrap()) as usize, &tail[8..]),
                flags => panic!("flags {flags}"),
            };
            let (header, _) = frame::split(&tail[..length]).unwrap();
            messages.push(decode(header).unwrap());
            rest = &tail[length..];
        }
        self.heard.clear();
        messages
    }

    /// One more client.
    pub(crate) fn client(&mut self) -> Client {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.monitor.add_client(ClientLink::new(ours).unwrap());
        theirs.set_nonblocking(true).unwrap();
        Client(Connection::from_stream(theirs))
    }

    /// A client has a command run in the foreground, which gets standard input.
    pub(crate) fn run(&mut self, spec: ProcessSpec) -> (Client, u32) {
        let mut client = self.client();
        client.0.send(&FromClient::Run { spec, stop_after: false, token: 1 }, b"").unwrap();
        self.turn().unwrap();
        let accepted = client.news().into_iter().find_map(|news| match news {
            ToClient::Accepted { process, .. } => Some(process.0),
            _ => None,
        });
        (client, accepted.expect("the command was not accepted"))
    }

    /// All that is in the log: process, offset and bytes of each record.
    pub(crate) fn logged(&self) -> Vec<(u32, u64, Vec<u8>)> {
        let mut reader = LogReader::open(&self.place.path().join("log")).unwrap();
        let mut records = Vec::new();
        while let Some(record) = reader.next_whole().unwrap() {
            records.push((record.header.process.0, record.header.offset, record.payload.to_vec()));
        }
        records
    }

    /// The names of all files of the container's.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut names = names(self.place.path());
        names.extend(names_of_log(self.place.path()));
        names
    }
}

fn names_of_log(place: &Path) -> Vec<String> {
    names(&place.join("log")).into_iter().map(|name| format!("log/{name}")).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

/// Connects to the monitor's socket.
pub(crate) fn connect(place: &Path) -> UnixStream {
    let stream = UnixStream::connect(place.join("a")).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// A client's end.
pub(crate) struct Client(pub(crate) Connection);

impl Client {
    /// What it was told since this was asked last.
    pub(crate) fn news(&mut self) -> Vec<ToClient> {
        while self.0.read_more().is_ok() {}
        let mut news = Vec::new();
        while let Some((message, _)) = self.0.pending().unwrap() {
            news.push(message);
        }
        news
    }
}
