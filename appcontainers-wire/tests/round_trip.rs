//! Every message reads as it was written, and nothing that is read is a panic.
#![allow(clippy::unwrap_used, missing_docs)]

use appcontainers_wire::{
    ExitStatus, MAX_HEADER_BYTES, ProcessId, ProcessSpec, Resource, ResourceLimit, RestartPolicy, SpawnFailure, Stream,
    TerminalSize, WireError,
    agent::{FromAgent, StreamOffset, ToAgent},
    client::{FromClient, ToClient},
    decode, encode, frame,
};
use proptest::{collection::vec, option, prelude::*};

fn process() -> impl Strategy<Value = ProcessId> {
    any::<u32>().prop_map(ProcessId)
}

fn stream() -> impl Strategy<Value = Stream> {
    prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)]
}

fn status() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![any::<u8>().prop_map(ExitStatus::Code), any::<u8>().prop_map(ExitStatus::Signal)]
}

fn failure() -> impl Strategy<Value = SpawnFailure> {
    prop_oneof![
        any::<String>().prop_map(|program| SpawnFailure::NotFound { program }),
        any::<(String, String)>().prop_map(|(program, why)| SpawnFailure::NotExecutable { program, why }),
        any::<String>().prop_map(|user| SpawnFailure::NoSuchUser { user }),
        any::<(String, String)>().prop_map(|(path, why)| SpawnFailure::WorkingDir { path, why }),
        any::<String>().prop_map(|why| SpawnFailure::Other { why }),
    ]
}

fn size() -> impl Strategy<Value = TerminalSize> {
    any::<(u16, u16)>().prop_map(|(rows, columns)| TerminalSize { rows, columns })
}

fn limit() -> impl Strategy<Value = ResourceLimit> {
    let resource = prop_oneof![Just(Resource::Nofile), Just(Resource::As), Just(Resource::Core)];
    (resource, any::<(Option<u64>, Option<u64>)>()).prop_map(|(resource, (soft, hard))| ResourceLimit {
        resource,
        soft,
        hard,
    })
}

fn restart() -> impl Strategy<Value = RestartPolicy> {
    prop_oneof![Just(RestartPolicy::No), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Always)]
}

prop_compose! {
    fn spec()(
        argv in vec(any::<String>(), 0..4),
        env in vec(any::<String>(), 0..4),
        working_dir in option::of(any::<String>()),
        user in option::of(any::<String>()),
        stdin: bool,
        tty in option::of(size()),
        login_shell: bool,
        rlimits in vec(limit(), 0..3),
        file_operation: bool,
    ) -> ProcessSpec {
        ProcessSpec { argv, env, working_dir, user, stdin, tty, login_shell, rlimits, file_operation }
    }
}

prop_compose! {
    fn position()(process in process(), stream in stream(), offset: u64) -> StreamOffset {
        StreamOffset { process, stream, offset }
    }
}

fn from_agent() -> impl Strategy<Value = FromAgent> {
    prop_oneof![
        any::<(u32, String)>().prop_map(|(wire, version)| FromAgent::Hello { wire, version }),
        (process(), any::<(u32, u64, u64)>()).prop_map(|(process, (pid, input_bytes, taken_bytes))| {
            FromAgent::Started { process, pid, input_bytes, taken_bytes }
        }),
        (process(), failure()).prop_map(|(process, failure)| FromAgent::SpawnFailed { process, failure }),
        (position(), any::<u64>()).prop_map(|(StreamOffset { process, stream, offset }, time_ns)| FromAgent::Output {
            process,
            stream,
            offset,
            time_ns
        }),
        (process(), any::<u64>()).prop_map(|(process, bytes)| FromAgent::StdinCredit { process, bytes }),
        (process(), status()).prop_map(|(process, status)| FromAgent::Exited { process, status }),
    ]
}

fn to_agent() -> impl Strategy<Value = ToAgent> {
    prop_oneof![
        (any::<u32>(), vec(position(), 0..4)).prop_map(|(wire, streams)| ToAgent::Welcome { wire, streams }),
        (process(), spec()).prop_map(|(process, spec)| ToAgent::Spawn { process, spec }),
        process().prop_map(|process| ToAgent::Stdin { process }),
        process().prop_map(|process| ToAgent::StdinClose { process }),
        (process(), any::<u8>()).prop_map(|(process, signal)| ToAgent::Signal { process, signal }),
        (process(), size()).prop_map(|(process, size)| ToAgent::Resize { process, size }),
        position().prop_map(ToAgent::Ack),
        process().prop_map(|process| ToAgent::Noted { process }),
        any::<u64>().prop_map(|grace_ms| ToAgent::Shutdown { grace_ms }),
    ]
}

fn from_client() -> impl Strategy<Value = FromClient> {
    prop_oneof![
        (spec(), any::<bool>(), any::<u64>()).prop_map(|(spec, stop_after, token)| FromClient::Run {
            spec,
            stop_after,
            token
        }),
        Just(FromClient::Stdin),
        Just(FromClient::StdinClose),
        Just(FromClient::HoldPorts),
        any::<u8>().prop_map(|signal| FromClient::Signal { signal }),
        (spec(), option::of(any::<String>()), restart(), any::<u64>())
            .prop_map(|(spec, name, restart, token)| FromClient::Spawn { spec, name, restart, token }),
        process().prop_map(|process| FromClient::Claim { process }),
        (process(), any::<u8>()).prop_map(|(process, signal)| FromClient::SignalProcess { process, signal }),
        size().prop_map(|size| FromClient::Resize { size }),
        any::<(u64, u64)>().prop_map(|(position, passed_bytes)| FromClient::Consumed { position, passed_bytes }),
        any::<u64>().prop_map(|grace_ms| FromClient::Stop { grace_ms }),
        Just(FromClient::Watch),
        Just(FromClient::Freeze),
        Just(FromClient::Thaw),
    ]
}

fn to_client() -> impl Strategy<Value = ToClient> {
    prop_oneof![
        any::<(u32, u32)>().prop_map(|(wire, init_pid)| ToClient::Ready { wire, init_pid }),
        any::<String>().prop_map(|message| ToClient::Failed { message }),
        (process(), any::<u64>()).prop_map(|(process, position)| ToClient::Accepted { process, position }),
        any::<u32>().prop_map(|pid| ToClient::Started { pid }),
        failure().prop_map(|failure| ToClient::SpawnFailed { failure }),
        stream().prop_map(|stream| ToClient::Output { stream }),
        any::<(u64, u64, u64)>().prop_map(|(position, input_bytes, taken_bytes)| ToClient::Claimed {
            position,
            input_bytes,
            taken_bytes
        }),
        Just(ToClient::Done),
        any::<u64>().prop_map(|position| ToClient::Logged { position }),
        any::<u64>().prop_map(|bytes| ToClient::StdinCredit { bytes }),
        (status(), any::<u64>()).prop_map(|(status, position)| ToClient::Exited { status, position }),
        Just(ToClient::Frozen),
        Just(ToClient::Stopped),
    ]
}

/// Everything that comes from outside goes through these.
fn read_as_anything(bytes: &[u8]) {
    drop(decode::<FromAgent>(bytes));
    drop(decode::<ToAgent>(bytes));
    drop(decode::<FromClient>(bytes));
    drop(decode::<ToClient>(bytes));
    drop(decode::<SpawnFailure>(bytes));
    drop(decode::<ProcessSpec>(bytes));
    drop(frame::peek(bytes));
    drop(frame::split(bytes));
}

proptest! {
    #[test]
    fn agents_messages_read_as_they_were_written(message in from_agent()) {
        prop_assert_eq!(decode::<FromAgent>(&encode(&message).unwrap()).unwrap(), message);
    }

    #[test]
    fn messages_to_the_agent_read_as_they_were_written(message in to_agent()) {
        prop_assert_eq!(decode::<ToAgent>(&encode(&message).unwrap()).unwrap(), message);
    }

    #[test]
    fn clients_messages_read_as_they_were_written(message in from_client()) {
        prop_assert_eq!(decode::<FromClient>(&encode(&message).unwrap()).unwrap(), message);
    }

    #[test]
    fn messages_to_clients_read_as_they_were_written(message in to_client()) {
        prop_assert_eq!(decode::<ToClient>(&encode(&message).unwrap()).unwrap(), message);
    }

    #[test]
    fn no_bytes_are_a_panic(bytes: Vec<u8>) {
        read_as_anything(&bytes);
    }

    #[test]
    fn no_damaged_message_is_a_panic(message in from_agent(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = encode(&message).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read_as_anything(&bytes);
        read_as_anything(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn frames_come_out_of_a_stream_whatever_its_pieces(
        messages in vec((vec(any::<u8>(), 0..300), vec(any::<u8>(), 0..3000)), 0..10),
        piece in 1..5000_usize,
    ) {
        let mut bytes = Vec::new();
        for (header, payload) in &messages {
            frame::push(&mut bytes, header, payload).unwrap();
        }
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = frame::peek(&buffer).unwrap() {
                found.push((frame.header.to_vec(), frame.payload.to_vec()));
                let length = frame.length;
                buffer.drain(..length);
            }
        }
        prop_assert_eq!(found, messages);
        prop_assert!(buffer.is_empty());
    }
}

#[test]
fn a_header_over_the_limit_is_refused_unread() {
    let long = vec![b' '; MAX_HEADER_BYTES + 1];
    assert!(matches!(decode::<ToAgent>(&long), Err(WireError::HeaderTooLong { .. })));
}

#[test]
fn a_header_of_endless_depth_is_refused() {
    let deep = vec![b'['; 100_000];
    assert!(matches!(decode::<ToAgent>(&deep), Err(WireError::Malformed(_))));
}

/// What is written stays readable: old agents run on under new monitors.
#[test]
fn the_text_of_messages_is_as_it_was() {
    let text = |message: &FromAgent| String::from_utf8(encode(message).unwrap()).unwrap();
    let output = FromAgent::Output { process: ProcessId(7), stream: Stream::Stderr, offset: 9, time_ns: 1 };
    assert_eq!(text(&output), r#"{"type":"output","process":7,"stream":"stderr","offset":9,"time_ns":1}"#);
    let exited = FromAgent::Exited { process: ProcessId(7), status: ExitStatus::Signal(9) };
    assert_eq!(text(&exited), r#"{"type":"exited","process":7,"status":{"signal":9}}"#);
    let ack = ToAgent::Ack(StreamOffset { process: ProcessId(7), stream: Stream::Stdout, offset: 9 });
    let text = String::from_utf8(encode(&ack).unwrap()).unwrap();
    assert_eq!(text, r#"{"type":"ack","process":7,"stream":"stdout","offset":9}"#);
}
