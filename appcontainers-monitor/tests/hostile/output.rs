//! Output that is nobody's, is not where it says, or is more than was allowed.

use appcontainers_wire::{
    ExitStatus, ProcessId, ProcessSpec, Stream,
    agent::{CHUNK_BYTES, FromAgent, OUTPUT_WINDOW_BYTES, ToAgent},
};

use crate::rig::{Client, Rig, message, output, started};

/// Two processes, each of which has printed a little.
fn two() -> (Rig, [(Client, u32); 2]) {
    let mut rig = Rig::ready();
    let both = [(); 2].map(|()| rig.run(ProcessSpec::default()));
    for (_, process) in &both {
        rig.says(&[message(&started(*process), b""), message(&output(*process, 0), b"hello")].concat()).unwrap();
    }
    (rig, both)
}

#[track_caller]
fn assert_untouched(rig: &Rig, [(_, one), (_, other)]: &[(Client, u32); 2]) {
    assert_eq!(rig.logged(), [(*one, 0, b"hello".to_vec()), (*other, 0, b"hello".to_vec())]);
    assert_eq!(rig.files(), ["a", "log", "processes.jsonl", "log/0000000000000000.seg"]);
}

#[test]
fn output_of_a_process_that_was_never_started_is_refused() {
    for nobody in [0, 3, 4, u32::MAX] {
        let (mut rig, both) = two();
        let error = rig.refuses(&message(&output(nobody, 0), b"forged"));
        assert!(error.contains(&format!("process {nobody}, which was never started")), "{error}");
        assert_untouched(&rig, &both);
    }
}

#[test]
fn output_with_a_hole_before_it_is_refused() {
    for offset in [6, 1 << 40, u64::MAX - 6, u64::MAX - 5, u64::MAX] {
        let (mut rig, both) = two();
        let error = rig.refuses(&message(&output(both[0].1, offset), b"forged"));
        assert!(error.contains("process 1"), "{error}");
        assert_untouched(&rig, &both);
    }
}

#[test]
fn output_that_comes_again_is_there_once() {
    let (mut rig, both) = two();
    let process = both[1].1;
    let again = [(0, &b"hello"[..]), (0, b"HE"), (5, b""), (1, b"ello"), (4, b"o you")];
    rig.says(&again.map(|(offset, bytes)| message(&output(process, offset), bytes)).concat()).unwrap();
    assert_eq!(rig.logged()[1..], [(process, 0, b"hello".to_vec()), (process, 5, b" you".to_vec())]);
}

#[test]
fn an_agent_that_does_not_wait_for_acknowledgements_is_refused() {
    let mut rig = Rig::ready();
    let (_client, process) = rig.run(ProcessSpec::default());
    rig.says(&message(&started(process), b"")).unwrap();
    let chunk = vec![b'x'; CHUNK_BYTES];
    let mut window = Vec::new();
    for at in (0..OUTPUT_WINDOW_BYTES).step_by(CHUNK_BYTES) {
        window.extend(message(&output(process, at), &chunk));
    }
    // As much as it is allowed, and once that is acknowledged as much again: but the client reads nothing.
    let mut error = String::new();
    for round in 0..100 {
        let mut window = Vec::new();
        for at in (0..OUTPUT_WINDOW_BYTES).step_by(CHUNK_BYTES) {
            window.extend(message(&output(process, round * OUTPUT_WINDOW_BYTES + at), &chunk));
        }
        if let Err(refused) = rig.says(&window) {
            error = refused.to_string();
            break;
        }
    }
    assert!(error.contains("more of process 1 than it was allowed to"), "{error}");
    let printed: usize = rig.logged().iter().map(|(_, _, bytes)| bytes.len()).sum();
    assert!(printed < 20 * 1024 * 1024, "{printed} bytes were taken that nobody reads");
}

#[test]
fn a_file_operations_output_has_its_window_too() {
    let mut rig = Rig::ready();
    let (mut client, process) = rig.run(ProcessSpec { file_operation: true, ..ProcessSpec::default() });
    rig.says(&message(&started(process), b"")).unwrap();
    let chunk = vec![b'x'; CHUNK_BYTES];
    let mut sent = 0;
    let error = loop {
        match rig.says(&message(&output(process, sent), &chunk)) {
            Ok(()) => sent += chunk.len() as u64,
            Err(error) => break error.to_string(),
        }
        // It takes what it is sent, and passes nothing on.
        client.news();
        assert!(sent <= 2 * OUTPUT_WINDOW_BYTES);
    };
    assert!(error.contains("more of process 1 than it was allowed to"), "{error}");
    assert_eq!(rig.logged(), []);
}

#[test]
fn what_a_forgotten_process_prints_is_its_own() {
    let (mut rig, both) = two();
    // More end than are remembered.
    for _ in 0..1100 {
        let (client, process) = rig.run(ProcessSpec::default());
        let exited = FromAgent::Exited { process: ProcessId(process), status: ExitStatus::Code(0) };
        rig.says(&[message(&started(process), b""), message(&exited, b"")].concat()).unwrap();
        drop((client, rig.told()));
    }
    let forgotten = 3;
    rig.says(&message(&output(forgotten, u64::MAX - 100), b"late")).unwrap();
    let (mut refused, mut taken) = (0, 0);
    for offset in [u64::MAX - 96, 0, u64::MAX - 4] {
        match rig.says(&message(&output(forgotten, offset), b"late")) {
            Ok(()) => taken += 1,
            Err(error) => {
                assert!(error.to_string().contains("process 3"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && taken > 0, "{refused} {taken}");
    assert!(rig.logged().iter().all(|(process, _, bytes)| *process == forgotten || bytes == b"hello"));
    for (_, process) in &both {
        rig.says(&message(&output(*process, 5), b"!")).unwrap();
    }
    let last: Vec<_> = rig.logged().into_iter().rev().take(2).collect();
    assert_eq!(last, [(both[1].1, 5, b"!".to_vec()), (both[0].1, 5, b"!".to_vec())]);
}

#[test]
fn welcome_says_where_each_stream_is_and_nothing_of_others() {
    let (mut rig, both) = two();
    rig.told();
    rig.says(&message(&crate::rig::hello(), b"")).unwrap();
    let told = rig.told();
    let [ToAgent::Welcome { streams, .. }] = &told[..] else { panic!("{told:?}") };
    let expected = both.map(|(_, process)| (ProcessId(process), Stream::Stdout, 5));
    assert_eq!(streams.iter().map(|at| (at.process, at.stream, at.offset)).collect::<Vec<_>>(), expected);
}
