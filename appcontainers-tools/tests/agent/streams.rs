//! Bytes: output, input, and how much of them may be under way.

use appcontainers_wire::{
    ExitStatus, ProcessId, Stream,
    agent::{CHUNK_BYTES, OUTPUT_WINDOW_BYTES, StreamOffset, ToAgent},
};

use crate::monitor::{Bench, shell, spec};

#[test]
fn fifty_megabytes_come_byte_for_byte() {
    let mut bench = Bench::start();
    let known = bench.run(shell("seq 1 7000000"));
    let mut expected = String::with_capacity(60_000_000);
    for number in 1..=7_000_000 {
        expected.push_str(&number.to_string());
        expected.push('\n');
    }
    assert!(known.stdout == expected.as_bytes(), "{} bytes differ from {}", known.stdout.len(), expected.len());
    assert_eq!(known.exit, Some(ExitStatus::Code(0)));
    assert!(known.times.is_sorted());
}

#[test]
fn without_acknowledgement_the_window_fills_and_the_process_waits() {
    let mut bench = Bench::start();
    bench.acknowledge = false;
    let id = bench.spawn(shell("head -c 5000000 /dev/zero; echo done >&2"));
    let window = OUTPUT_WINDOW_BYTES as usize;
    bench.until("a full window", |bench| bench.known[&id].stdout.len() == window);
    // A command that starts and ends meanwhile: the agent is not stuck, and nothing more came.
    bench.acknowledge = true;
    bench.run(spec(&["true"]));
    assert_eq!((bench.known[&id].stdout.len(), bench.known[&id].exit), (window, None));
    let process = ProcessId(id);
    bench.send(&ToAgent::Ack(StreamOffset { process, stream: Stream::Stdout, offset: window as u64 }), &[]);
    bench.until("the rest", |bench| bench.known[&id].exit.is_some());
    assert_eq!((bench.known[&id].stdout.len(), bench.known[&id].stderr.as_slice()), (5_000_000, &b"done\n"[..]));
}

#[test]
fn input_goes_through_with_credit_for_all_of_it() {
    let mut bench = Bench::start();
    let mut cat = spec(&["cat"]);
    cat.stdin = true;
    let id = bench.spawn(cat);
    let chunks: Vec<Vec<u8>> = (0..80_u8).map(|number| vec![number; CHUNK_BYTES - usize::from(number)]).collect();
    let window = 1024 * 1024;
    let mut sent = 0;
    for chunk in &chunks {
        bench.until("credit", |bench| sent + chunk.len() as u64 <= bench.known[&id].credit + window);
        bench.send(&ToAgent::Stdin { process: ProcessId(id) }, chunk);
        sent += chunk.len() as u64;
    }
    bench.send(&ToAgent::StdinClose { process: ProcessId(id) }, &[]);
    bench.until("the end", |bench| bench.known[&id].exit.is_some());
    assert!(bench.known[&id].stdout == chunks.concat());
    assert_eq!(bench.known[&id].credit, sent);
}

#[test]
fn input_that_nobody_reads_is_credited_and_harms_nobody() {
    let mut bench = Bench::start();
    let mut early = shell("exec <&-; echo closed; read line < /dev/stderr");
    early.stdin = true;
    let id = bench.spawn(early);
    bench.until("the close", |bench| bench.known[&id].stdout == b"closed\n");
    for _ in 0..10 {
        bench.send(&ToAgent::Stdin { process: ProcessId(id) }, &[b'x'; CHUNK_BYTES]);
    }
    bench.until("credit", |bench| bench.known[&id].credit == 10 * CHUNK_BYTES as u64);
    bench.send(&ToAgent::Signal { process: ProcessId(id), signal: 9 }, &[]);
    bench.until("the end", |bench| bench.known[&id].exit.is_some());
    bench.send(&ToAgent::StdinClose { process: ProcessId(id) }, &[]);
    bench.send(&ToAgent::StdinClose { process: ProcessId(99) }, &[]);
    assert_eq!(bench.run(spec(&["true"])).exit, Some(ExitStatus::Code(0)));
}

#[test]
fn without_input_there_is_dev_null() {
    let mut bench = Bench::start();
    let known = bench.run(shell("readlink /proc/self/fd/0; cat"));
    assert_eq!((known.text(), known.exit), ("/dev/null\n", Some(ExitStatus::Code(0))));
}

#[test]
fn a_child_that_holds_the_pipe_neither_delays_the_exit_nor_loses_its_output() {
    let mut bench = Bench::start();
    // It writes on without end, so that the pipe is never empty.
    let id = bench.spawn(shell("yes & echo $! >&2; head -c 3000000 /dev/zero; exit 4"));
    bench.until("the exit", |bench| bench.known[&id].exit.is_some());
    let known = &bench.known[&id];
    assert_eq!(known.exit, Some(ExitStatus::Code(4)));
    let (stdout, _) = known.at_exit.unwrap();
    assert_eq!(known.stdout[..stdout].iter().filter(|byte| **byte == 0).count(), 3_000_000);
    let more = stdout + 10_000_000;
    bench.until("more of the child's", |bench| bench.known[&id].stdout.len() > more);
    let child = String::from_utf8(bench.known[&id].stderr.clone()).unwrap();
    bench.run(shell(&format!("kill {child}")));
    assert!(bench.known[&id].stdout[stdout..].iter().all(|byte| b"y\n".contains(byte)));
}

#[test]
fn a_process_that_writes_byte_by_byte_is_not_held_up() {
    let mut bench = Bench::start();
    let known = bench.run(spec(&["dd", "if=/dev/zero", "bs=1", "count=200000", "status=none"]));
    assert_eq!((known.stdout.len(), known.exit), (200_000, Some(ExitStatus::Code(0))));
}
