//! Any messages in any order.

use appcontainers_wire::{
    ExitStatus, ProcessId, ProcessSpec, SpawnFailure, Stream, agent::FromAgent, client::FromClient,
};
use proptest::{collection::vec, prelude::*};

use crate::rig::{Rig, hello, message};

/// A process that there is, or is not.
fn process() -> impl Strategy<Value = ProcessId> {
    prop_oneof![4 => 1..4_u32, 1 => Just(0), 1 => Just(u32::MAX)].prop_map(ProcessId)
}

/// A number at an edge.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..20_u64, Just(1 << 20), Just(u64::MAX), Just(u64::MAX - 3)]
}

fn from_agent() -> impl Strategy<Value = FromAgent> {
    prop_oneof![
        Just(hello()),
        (process(), any::<u32>(), number(), number()).prop_map(|(process, pid, input_bytes, taken_bytes)| {
            FromAgent::Started { process, pid, input_bytes, taken_bytes }
        }),
        (process(), any::<String>())
            .prop_map(|(process, why)| FromAgent::SpawnFailed { process, failure: SpawnFailure::Other { why } }),
        (process(), any::<bool>(), number(), number()).prop_map(|(process, first, offset, time_ns)| {
            let stream = if first { Stream::Stdout } else { Stream::Stderr };
            FromAgent::Output { process, stream, offset, time_ns }
        }),
        (process(), number()).prop_map(|(process, bytes)| FromAgent::StdinCredit { process, bytes }),
        (process(), any::<u8>())
            .prop_map(|(process, code)| FromAgent::Exited { process, status: ExitStatus::Code(code) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_messages_are_a_panic_and_all_files_stay_in_their_place(
        messages in vec((from_agent(), vec(any::<u8>(), 0..20)), 1..40),
    ) {
        let mut rig = Rig::ready();
        let mut clients: Vec<_> = [false, true]
            .map(|file_operation| rig.run(ProcessSpec { stdin: true, file_operation, ..ProcessSpec::default() }))
            .into();
        for (from_agent, payload) in messages {
            if rig.says(&message(&from_agent, &payload)).is_err() {
                break;
            }
            for (client, _) in &mut clients {
                let _ = client.0.send(&FromClient::Stdin, b"input");
            }
            rig.turn().unwrap();
        }
        let logged = rig.logged();
        prop_assert!(logged.iter().all(|(process, _, bytes)| matches!(process, 1 | 2) && bytes.len() < 20));
        prop_assert_eq!(rig.files(), ["a", "log", "processes.jsonl", "log/0000000000000000.seg"]);
    }
}
