//! The container's end.

use std::time::{Duration, Instant};

use appcontainers_wire::{ExitStatus, agent::ToAgent};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::monitor::{Bench, on_terminal, shell, spec};

const TRAP: &str = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
const DEAF: &str = "trap '' TERM; echo ready; while :; do sleep 1; done";

fn ready(bench: &mut Bench, script: &str) -> u32 {
    let id = bench.spawn(shell(script));
    bench.until("the trap", |bench| bench.known[&id].stdout.starts_with(b"ready\n"));
    id
}

fn ended(bench: &mut Bench) -> Option<i32> {
    bench.until("the agent's end", |bench| bench.agent_has_ended());
    bench.agent.wait().unwrap().code()
}

#[test]
fn processes_get_the_grace_and_their_last_output_arrives() {
    let mut bench = Bench::start();
    let id = ready(&mut bench, TRAP);
    bench.send(&ToAgent::Shutdown { grace_ms: 60_000 }, &[]);
    assert_eq!(ended(&mut bench), Some(0));
    bench.listen_to_the_last();
    assert_eq!((bench.known[&id].text(), bench.known[&id].exit), ("ready\nbye\n", Some(ExitStatus::Code(0))));
}

#[test]
fn who_does_not_listen_is_killed_after_the_grace_and_stopped_ones_go_on_first() {
    let mut bench = Bench::start();
    let deaf = ready(&mut bench, DEAF);
    let stopped = ready(&mut bench, TRAP);
    kill(Pid::from_raw(bench.pid_here(stopped)), Signal::SIGSTOP).unwrap();
    let begin = Instant::now();
    bench.send(&ToAgent::Shutdown { grace_ms: 300 }, &[]);
    assert_eq!(ended(&mut bench), Some(0));
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
    bench.listen_to_the_last();
    assert_eq!(bench.known[&deaf].exit, Some(ExitStatus::Signal(9)));
    assert_eq!(bench.known[&stopped].exit, Some(ExitStatus::Code(0)));
}

#[test]
fn a_shell_that_somebody_types_into_does_not_need_the_grace() {
    let mut bench = Bench::start();
    let id = bench.spawn(on_terminal("PS1='prompt>' exec sh -i"));
    bench.until_printed(id, "prompt>");
    let begin = Instant::now();
    bench.send(&ToAgent::Shutdown { grace_ms: 120_000 }, &[]);
    assert_eq!(ended(&mut bench), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    bench.listen_to_the_last();
    assert_eq!(bench.known[&id].exit, Some(ExitStatus::Signal(1)));
}

#[test]
fn the_hosts_term_shuts_down_and_a_processs_does_not() {
    let mut bench = Bench::start();
    let id = ready(&mut bench, TRAP);
    bench.run(shell("kill -TERM 1; kill -INT 1; kill -USR1 1; kill -PWR 1; kill -KILL 1"));
    assert_eq!(bench.run(spec(&["true"])).exit, Some(ExitStatus::Code(0)));
    kill(Pid::from_raw(bench.agent_pid()), Signal::SIGTERM).unwrap();
    assert_eq!(ended(&mut bench), Some(0));
    bench.listen_to_the_last();
    assert_eq!(bench.known[&id].exit, Some(ExitStatus::Code(0)));
}

#[test]
fn nothing_is_started_any_more() {
    let mut bench = Bench::start();
    ready(&mut bench, DEAF);
    bench.send(&ToAgent::Shutdown { grace_ms: 60_000 }, &[]);
    let failure = bench.run(spec(&["true"])).failure.clone().unwrap();
    assert!(failure.to_string().contains("shutting down"), "{failure}");
    // A second word hastens.
    bench.send(&ToAgent::Shutdown { grace_ms: 0 }, &[]);
    assert_eq!(ended(&mut bench), Some(0));
}

#[test]
fn without_a_monitor_the_end_comes_soon_all_the_same() {
    let mut bench = Bench::start();
    ready(&mut bench, TRAP);
    bench.unbind();
    let begin = Instant::now();
    kill(Pid::from_raw(bench.agent_pid()), Signal::SIGTERM).unwrap();
    assert_eq!(bench.agent.wait().unwrap().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[test]
fn output_is_waited_for_while_it_is_acknowledged() {
    let mut bench = Bench::start();
    bench.acknowledge = false;
    let id = bench.spawn(shell("trap '' TERM; head -c 1000000 /dev/zero; head -c 900000 /dev/zero >&2; echo ready"));
    bench.until("the exit", |bench| bench.known[&id].exit.is_some());
    bench.send(&ToAgent::Shutdown { grace_ms: 0 }, &[]);
    bench.listen(Duration::from_millis(200));
    assert!(!bench.agent_has_ended());
    bench.acknowledge = true;
    bench.acknowledge_all();
    assert_eq!(ended(&mut bench), Some(0));
    assert_eq!(bench.known[&id].stderr.len(), 900_000);
}
