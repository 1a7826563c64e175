//! The outbox against a model of a connection that breaks at any point and a monitor that keeps what it got.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// What the monitor has on its disk.
#[derive(Debug, Default)]
struct Log {
    started: Option<u32>,
    streams: [Vec<u8>; 2],
    exit: Option<ExitStatus>,
    failed: bool,
}

/// From the monitor to the agent, under way.
#[derive(Debug)]
enum Answer {
    Welcome(Vec<StreamOffset>),
    Ack(StreamOffset),
    Noted(ProcessId),
}

/// Something that may happen.
#[derive(Debug, Clone)]
enum Act {
    /// The process writes so many bytes.
    Write { process: u32, stream: usize, length: usize },
    /// The process ends; its pipes stay open.
    Exit { process: u32 },
    /// libzmq takes so many messages.
    Send { messages: usize },
    /// So many messages arrive.
    Deliver { messages: usize },
    /// So many answers arrive.
    Answer { messages: usize },
    /// The connection breaks, all under way is lost, another one is made.
    Break,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_u32, 0..2_usize, 1..100_000_usize)
            .prop_map(|(process, stream, length)| Act::Write { process, stream, length }),
        1 => (0..3_u32).prop_map(|process| Act::Exit { process }),
        4 => (0..8_usize).prop_map(|messages| Act::Send { messages }),
        4 => (0..8_usize).prop_map(|messages| Act::Deliver { messages }),
        4 => (0..8_usize).prop_map(|messages| Act::Answer { messages }),
        1 => Just(Act::Break),
    ]
}

struct World {
    outbox: Outbox,
    /// What each process wrote and how it ended.
    truth: BTreeMap<u32, (Log, Option<[usize; 2]>)>,
    logs: BTreeMap<u32, Log>,
    sent: VecDeque<(FromAgent, Vec<u8>)>,
    answers: VecDeque<Answer>,
    clock: u8,
}

impl World {
    fn new() -> Self {
        let mut outbox = Outbox::new();
        outbox.connected();
        for process in 0..3 {
            assert!(outbox.add(ProcessId(process)));
            outbox.started(ProcessId(process), process + 100);
        }
        let truth = (0..3).map(|process| (process, (Log::default(), None))).collect();
        Self { outbox, truth, logs: BTreeMap::new(), sent: VecDeque::new(), answers: VecDeque::new(), clock: 0 }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Write { process, stream, length } => self.write(process, stream, length),
            Act::Exit { process } => self.exit(process),
            Act::Send { messages } => self.send(messages),
            Act::Deliver { messages } => (0..messages).for_each(|_| self.deliver()),
            Act::Answer { messages } => (0..messages).for_each(|_| self.answer()),
            Act::Break => {
                self.sent.clear();
                self.answers.clear();
                self.outbox.disconnected();
                self.send(5);
                assert!(self.sent.is_empty(), "sent into no connection");
                self.outbox.connected();
            }
        }
    }

    fn write(&mut self, process: u32, stream: usize, length: usize) {
        let length = length.min(self.outbox.room(ProcessId(process), STREAMS[stream]));
        self.clock = self.clock.wrapping_add(1);
        let bytes: Vec<u8> = (0..length).map(|at| self.clock.wrapping_add((at / 1000) as u8)).collect();
        self.truth.get_mut(&process).unwrap().0.streams[stream].extend_from_slice(&bytes);
        self.outbox.push(ProcessId(process), STREAMS[stream], bytes, 0);
    }

    fn exit(&mut self, process: u32) {
        let (log, ends) = self.truth.get_mut(&process).unwrap();
        if log.exit.is_none() {
            log.exit = Some(ExitStatus::Code(process as u8));
            *ends = Some(log.streams.each_ref().map(Vec::len));
        }
        // Whatever is said later changes nothing.
        self.outbox.exited(ProcessId(process), ExitStatus::Code(process as u8));
    }

    fn send(&mut self, messages: usize) {
        let limit = self.sent.len() + messages;
        let sent = &mut self.sent;
        self.outbox.offer(|message, payload| {
            let taken = sent.len() < limit;
            if taken {
                sent.push_back((message.clone(), payload.to_vec()));
            }
            taken
        });
    }

    fn deliver(&mut self) {
        let Some((message, payload)) = self.sent.pop_front() else { return };
        match message {
            FromAgent::Hello { .. } => {
                let offset = |(id, stream, bytes): (&u32, Stream, &Vec<u8>)| StreamOffset {
                    process: ProcessId(*id),
                    stream,
                    offset: bytes.len() as u64,
                };
                let known = self.logs.iter().flat_map(|(id, log)| {
                    STREAMS.iter().zip(&log.streams).map(move |(stream, bytes)| offset((id, *stream, bytes)))
                });
                self.answers.push_back(Answer::Welcome(known.collect()));
            }
            FromAgent::Started { process, pid, .. } => {
                let log = self.logs.entry(process.0).or_default();
                assert!(log.started.is_none_or(|before| before == pid));
                log.started = Some(pid);
            }
            FromAgent::SpawnFailed { process, .. } => {
                self.logs.entry(process.0).or_default().failed = true;
                self.answers.push_back(Answer::Noted(process));
            }
            FromAgent::Output { process, stream, offset, .. } => {
                let log = self.logs.get_mut(&process.0).expect("output before the start");
                let bytes = &mut log.streams[index(stream)];
                let known = (bytes.len() as u64).checked_sub(offset).expect("a hole");
                bytes.extend_from_slice(payload.get(known as usize..).unwrap_or_default());
                let offset = bytes.len() as u64;
                self.answers.push_back(Answer::Ack(StreamOffset { process, stream, offset }));
            }
            FromAgent::StdinCredit { .. } => {}
            FromAgent::Exited { process, status } => {
                let log = self.logs.get_mut(&process.0).expect("an end before the start");
                let ends = self.truth[&process.0].1.expect("an end that was not");
                assert!(
                    log.streams.iter().zip(ends).all(|(bytes, end)| bytes.len() >= end),
                    "an end before the last byte"
                );
                log.exit = Some(status);
                self.answers.push_back(Answer::Noted(process));
            }
        }
    }

    fn answer(&mut self) {
        match self.answers.pop_front() {
            None => {}
            Some(Answer::Welcome(streams)) => self.outbox.welcome(&streams),
            Some(Answer::Ack(position)) => self.outbox.acknowledge(position),
            Some(Answer::Noted(process)) => self.outbox.noted(process),
        }
    }

    /// Everything ends well from here.
    fn finish(&mut self) {
        for process in 0..3 {
            self.exit(process);
            self.outbox.closed(ProcessId(process));
        }
        for _ in 0..10_000 {
            self.send(64);
            self.deliver();
            self.answer();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_schedule_of_breaks_loses_doubles_or_reorders_anything(acts in prop::collection::vec(act(), 0..120)) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        world.finish();
        for (process, (truth, _)) in &world.truth {
            let log = &world.logs[process];
            prop_assert!(log.streams == truth.streams, "process {}", process);
            prop_assert_eq!(log.exit, truth.exit);
        }
        prop_assert!(world.outbox.is_settled());
        prop_assert!(world.outbox.records.is_empty(), "what is noted is not forgotten");
    }
}

#[test]
fn a_monitor_that_notes_no_end_does_not_fill_the_memory() {
    let mut outbox = Outbox::new();
    outbox.connected();
    outbox.offer(|_, _| true);
    outbox.welcome(&[]);
    for process in (0..5 * MAX_ENDED as u32).map(ProcessId) {
        outbox.add(process);
        outbox.started(process, 1);
        outbox.exited(process, ExitStatus::Code(0));
        outbox.closed(process);
        outbox.offer(|_, _| true);
    }
    assert!(outbox.records.len() <= MAX_ENDED + 1, "{}", outbox.records.len());
}

#[test]
fn a_failed_start_is_told_until_it_is_noted() {
    let mut outbox = Outbox::new();
    let failure = SpawnFailure::NotFound { program: "x".to_owned() };
    outbox.add(ProcessId(1));
    outbox.failed(ProcessId(1), failure.clone());
    outbox.exited(ProcessId(1), ExitStatus::Code(127));
    for _ in 0..2 {
        outbox.connected();
        let mut sent = Vec::new();
        outbox.offer(|message, _| {
            sent.push(message.clone());
            true
        });
        outbox.welcome(&[]);
        outbox.offer(|message, _| {
            sent.push(message.clone());
            true
        });
        assert_eq!(sent[1..], [FromAgent::SpawnFailed { process: ProcessId(1), failure: failure.clone() }]);
        outbox.disconnected();
    }
    outbox.noted(ProcessId(1));
    assert!(outbox.records.is_empty());
}

#[test]
fn a_welcome_of_a_connection_that_is_gone_is_passed_over() {
    let mut outbox = Outbox::new();
    outbox.welcome(&[]);
    assert!(!outbox.is_up());
    outbox.connected();
    outbox.welcome(&[]);
    assert!(!outbox.is_up(), "welcomed before the hello");
}
