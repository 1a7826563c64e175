//! Messages that are none, that come too often, or that say what is not so.

use appcontainers_monitor::monitor::Beginning;
use appcontainers_wire::{
    ExitStatus, ProcessId, ProcessSpec, SpawnFailure, WIRE_VERSION,
    agent::{FromAgent, STDIN_WINDOW_BYTES, ToAgent},
    client::{FromClient, ToClient},
};

use crate::rig::{Rig, connect, hello, message, opening, output, started, zmtp};

const MIB: usize = 1024 * 1024;

fn exited(process: u32, code: u8) -> FromAgent {
    FromAgent::Exited { process: ProcessId(process), status: ExitStatus::Code(code) }
}

fn with_stdin() -> ProcessSpec {
    ProcessSpec { stdin: true, ..ProcessSpec::default() }
}

#[test]
fn a_message_that_is_none_ends_the_session_and_leaves_the_log_as_it_was() {
    let header = appcontainers_wire::encode(&output(1, 5)).unwrap();
    for (bytes, named) in [
        (message(&output(1, 5), &vec![0; MIB + 1]), "1048577 bytes"),
        ([zmtp(1, &vec![b' '; MIB + 1]), zmtp(0, b"")].concat(), "1048577 bytes"),
        ([zmtp(1, b"{\"type\":\"rm\"}"), zmtp(0, b"")].concat(), "no message"),
        ([zmtp(1, b"\xff\xfe"), zmtp(0, b"")].concat(), "no message"),
        ([zmtp(1, &vec![b'['; MIB]), zmtp(0, b"")].concat(), "no message"),
        (zmtp(0, &header), "one frame"),
        ([zmtp(1, &header), zmtp(1, b"x"), zmtp(0, b"y")].concat(), "more than two frames"),
        (zmtp(4, b"\x05ERROR\x02no"), "a command"),
        (opening(), "flags 0xff"),
    ] {
        let mut rig = Rig::ready();
        let (_client, process) = rig.run(ProcessSpec::default());
        let before = [message(&started(process), b""), message(&output(process, 0), b"hello")].concat();
        rig.says(&before).unwrap();
        let error = rig.refuses(&bytes);
        assert!(error.contains(named), "{named}: {error}");
        assert_eq!(rig.logged(), [(process, 0, b"hello".to_vec())]);
        assert_eq!(rig.files(), ["a", "log", "processes.jsonl", "log/0000000000000000.seg"]);
    }
}

#[test]
fn a_message_without_an_end_is_refused_at_its_third_frame() {
    let mut rig = Rig::ready();
    let part = zmtp(1, &vec![b' '; MIB]);
    let error = rig.refuses(&part.repeat(3));
    assert!(error.contains("more than two frames"), "{error}");
    // And before its second one has come.
    let mut rig = Rig::ready();
    let error = rig.refuses(&[&part[..], &zmtp(1, &vec![0; MIB])[..9]].concat());
    assert!(error.contains("more than two frames"), "{error}");
}

#[test]
fn an_agent_of_another_version_is_refused_with_what_to_do() {
    let mut rig = Rig::new(Beginning::Startup(Vec::new()));
    let other = FromAgent::Hello { wire: WIRE_VERSION + 1, version: format!("9.9\n\x1b[2J{}", "x".repeat(MIB / 2)) };
    let error = rig.refuses(&[opening(), message(&other, b"")].concat());
    assert!(error.contains("speaks version 2 of the wire and this monitor 1; restart the container"), "{error}");
    assert!(error.contains("9.9") && error.len() < 400 && !error.contains(['\n', '\x1b']), "{error:?}");
    assert!(!rig.monitor.is_ready());
}

#[test]
fn who_does_not_say_hello_is_not_heard() {
    let mut rig = Rig::new(Beginning::ForCommands);
    rig.says(&[opening(), message(&output(1, 0), b"x"), message(&exited(1, 0), b"")].concat()).unwrap();
    assert!(!rig.monitor.is_ready());
    assert_eq!((rig.logged(), rig.told()), (Vec::new(), Vec::new()));
}

#[test]
fn a_second_connection_waits_for_the_end_of_the_first() {
    let mut rig = Rig::ready();
    rig.told();
    let others: Vec<_> = (0..20).map(|_| connect(rig.place.path())).collect();
    rig.turn().unwrap();
    rig.says(&message(&hello(), b"")).unwrap();
    assert!(matches!(rig.told()[..], [ToAgent::Welcome { .. }]));
    // All but a few were closed; the first of these is the next.
    let mut others = others.into_iter();
    let first = std::mem::replace(&mut rig.agent, others.next().unwrap());
    assert!(others.by_ref().skip(4).all(|mut other| std::io::Read::read(&mut other, &mut [0]).unwrap() == 0));
    drop(first);
    rig.says(&[opening(), message(&hello(), b"")].concat()).unwrap();
    assert!(matches!(rig.told()[..], [ToAgent::Welcome { .. }]));
}

#[test]
fn an_agent_that_asks_and_takes_no_answer_is_not_listened_to_any_more() {
    for flood in [message(&hello(), b""), message(&exited(7, 0), b"")] {
        let mut rig = Rig::ready();
        let flood = flood.repeat(10_000);
        let (mut sent, most) = (0, 200 * MIB);
        loop {
            let pushed = rig.pushes(&flood).unwrap();
            sent += pushed;
            if pushed < flood.len() {
                break;
            }
            assert!(sent < most, "it takes questions without end");
        }
        // What it is owed is bounded, and once it is taken the monitor goes on.
        let answers = rig.told().len();
        assert!(answers > 0);
        rig.turn().unwrap();
        while !rig.told().is_empty() {
            rig.turn().unwrap();
        }
    }
}

#[test]
fn an_end_counts_once_and_that_of_nobody_not_at_all() {
    let mut rig = Rig::ready();
    let (mut client, process) = rig.run(ProcessSpec::default());
    rig.says(&message(&started(process), b"")).unwrap();
    rig.told();
    let nobody = [0, process + 1, u32::MAX].map(|nobody| message(&exited(nobody, 1), b"")).concat();
    let twice = [exited(process, 3), exited(process, 4)].map(|exited| message(&exited, b"")).concat();
    rig.says(&[nobody, twice].concat()).unwrap();
    let ends = client.news().into_iter().filter_map(|news| match news {
        ToClient::Exited { status, .. } => Some(status),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [ExitStatus::Code(3)]);
    assert_eq!(rig.told().len(), 5);
    let journal = std::fs::read_to_string(rig.place.path().join("processes.jsonl")).unwrap();
    assert_eq!(journal.matches("\"entry\":\"ended\"").count(), 1, "{journal}");
}

#[test]
fn a_start_of_nobody_is_no_start() {
    let mut rig = Rig::ready();
    let (mut client, process) = rig.run(with_stdin());
    client.news();
    let start = |process, input_bytes, taken_bytes| {
        let process = ProcessId(process);
        message(&FromAgent::Started { process, pid: u32::MAX, input_bytes, taken_bytes }, b"")
    };
    rig.says(&[start(0, u64::MAX, u64::MAX), start(u32::MAX, u64::MAX, 0), start(process + 1, 0, u64::MAX)].concat())
        .unwrap();
    assert_eq!(client.news(), []);
    // Of one that is: more than it was sent is not given back.
    rig.says(&[start(process, u64::MAX, u64::MAX), start(process, 0, u64::MAX)].concat()).unwrap();
    assert_eq!(client.news(), [ToClient::Started { pid: u32::MAX }]);
}

#[test]
fn a_process_that_runs_cannot_fail_to_start() {
    let mut rig = Rig::ready();
    let (mut client, process) = rig.run(ProcessSpec::default());
    let failure = SpawnFailure::Other { why: "so".to_owned() };
    let failed =
        |process| message(&FromAgent::SpawnFailed { process: ProcessId(process), failure: failure.clone() }, b"");
    rig.says(&failed(process + 1)).unwrap();
    rig.says(&[message(&started(process), b""), message(&exited(process, 0), b""), failed(process)].concat()).unwrap();
    assert!(!client.news().iter().any(|news| matches!(news, ToClient::SpawnFailed { .. })));
    let (_client, process) = rig.run(ProcessSpec::default());
    let error = rig.refuses(&[message(&started(process), b""), failed(process)].concat());
    assert!(error.contains(&format!("process {process}, which runs, was not started")), "{error}");
}

#[test]
fn credit_is_given_back_for_what_was_sent_and_not_twice() {
    let mut rig = Rig::ready();
    let (mut client, process) = rig.run(with_stdin());
    rig.says(&message(&started(process), b"")).unwrap();
    client.0.send(&FromClient::Stdin, b"0123456789").unwrap();
    rig.turn().unwrap();
    client.news();
    let credit = |process, bytes| message(&FromAgent::StdinCredit { process: ProcessId(process), bytes }, b"");
    rig.says(&[credit(process, 4), credit(0, u64::MAX), credit(u32::MAX, u64::MAX)].concat()).unwrap();
    rig.says(&credit(process, u64::MAX).repeat(1000)).unwrap();
    assert_eq!(client.news(), [ToClient::StdinCredit { bytes: 4 }, ToClient::StdinCredit { bytes: 6 }]);
}

#[test]
fn an_adopted_agent_has_no_more_input_than_it_can_have() {
    for (input_bytes, taken_bytes, taken) in
        [(u64::MAX, 0, false), (STDIN_WINDOW_BYTES + 6, 5, false), (STDIN_WINDOW_BYTES, 0, true), (0, u64::MAX, true)]
    {
        let mut rig = Rig::ready();
        let (_client, process) = rig.run(with_stdin());
        rig.says(&message(&started(process), b"")).unwrap();
        let mut rig = Rig::in_place(rig.place, Beginning::Adoption { kept: true });
        let process = ProcessId(process);
        let start = FromAgent::Started { process, pid: 17, input_bytes, taken_bytes };
        let said = rig.says(&[opening(), message(&hello(), b""), message(&start, b"")].concat());
        assert_eq!(said.is_ok(), taken, "{input_bytes} {taken_bytes}: {said:?}");
        if taken {
            let mut client = rig.client();
            client.0.send(&FromClient::Claim { process }, b"").unwrap();
            client.0.send(&FromClient::Stdin, b"more").unwrap();
            rig.turn().unwrap();
            rig.says(&message(&FromAgent::StdinCredit { process, bytes: u64::MAX }, b"")).unwrap();
        }
    }
}
