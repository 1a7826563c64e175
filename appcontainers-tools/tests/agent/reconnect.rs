//! The monitor dies and another comes: nothing is lost, nothing comes twice.

use appcontainers_wire::ExitStatus;

use crate::monitor::{Bench, shell};

#[test]
fn twenty_dead_monitors_lose_and_double_no_byte() {
    let mut bench = Bench::start();
    let id = bench.spawn(shell("seq 1 3000000; echo end >&2; exit 7"));
    let expected: String = (1..=3_000_000).map(|number| format!("{number}\n")).collect();
    for round in 1..=20 {
        let enough = round * expected.len() / 25;
        bench.until("some output", |bench| bench.known[&id].stdout.len() >= enough);
        // What is in the socket's queue now is lost.
        bench.unbind();
        bench.bind();
        bench.hurry();
        bench.until("the next hello", |bench| bench.hellos == round + 1);
    }
    bench.until("the end", |bench| bench.known[&id].exit.is_some());
    assert!(bench.known[&id].stdout == expected.as_bytes());
    assert_eq!(bench.known[&id].stderr, b"end\n");
    assert_eq!(bench.known[&id].exit, Some(ExitStatus::Code(7)));
}

#[test]
fn what_happens_while_no_monitor_is_there_is_told_to_the_next_one() {
    let mut bench = Bench::start();
    let go = bench.directory.path().join("go").to_str().unwrap().to_owned();
    let script = format!("until [ -e {go} ]; do sleep 0.01; done; echo late; touch {go}.done; exit 5");
    let id = bench.spawn(shell(&script));
    bench.until("the start", |bench| bench.known[&id].pid.is_some());
    bench.unbind();
    std::fs::write(&go, "").unwrap();
    while !std::path::Path::new(&format!("{go}.done")).exists() {
        std::thread::yield_now();
    }
    bench.bind();
    bench.hurry();
    bench.until("the exit", |bench| bench.known[&id].exit.is_some());
    assert_eq!((bench.known[&id].text(), bench.known[&id].exit), ("late\n", Some(ExitStatus::Code(5))));
}

#[test]
fn an_end_that_was_not_noted_is_told_again_and_a_noted_one_is_not() {
    let mut bench = Bench::start();
    let noted = bench.spawn(shell("exit 1"));
    bench.until("the exit", |bench| bench.known[&noted].exit.is_some());
    bench.acknowledge = false;
    let lost = bench.spawn(shell("echo text; exit 2"));
    bench.until("the exit", |bench| bench.known[&lost].exit.is_some());
    bench.acknowledge = true;
    for id in [noted, lost] {
        let known = bench.known.get_mut(&id).unwrap();
        (known.exit, known.pid) = (None, None);
    }
    bench.known.get_mut(&lost).unwrap().stdout.clear();
    bench.unbind();
    bench.bind();
    bench.hurry();
    bench.until("the exit again", |bench| bench.known[&lost].exit.is_some());
    assert_eq!((bench.known[&lost].text(), bench.known[&lost].exit), ("text\n", Some(ExitStatus::Code(2))));
    assert!(bench.known[&lost].pid.is_some());
    // Its answer comes after all that the hello brought.
    bench.run(shell("true"));
    assert_eq!(bench.known[&noted].exit, None);
}

#[test]
fn without_a_word_of_the_new_monitor_the_agent_finds_it_by_itself() {
    let mut bench = Bench::start();
    bench.unbind();
    bench.bind();
    bench.until("the hello", |bench| bench.hellos == 2);
    assert_eq!(bench.run(shell("exit 3")).exit, Some(ExitStatus::Code(3)));
}

#[test]
fn reconnecting_while_the_connection_stands_breaks_nothing() {
    let mut bench = Bench::start();
    let id = bench.spawn(shell("seq 1 500000"));
    for part in 1..20 {
        bench.until("some output", |bench| bench.known[&id].stdout.len() > part * 100_000);
        bench.hurry();
    }
    bench.until("the end", |bench| bench.known[&id].exit.is_some());
    assert_eq!((bench.known[&id].text().lines().count(), bench.hellos), (500_000, 1));
}
