//! Monitors that are killed or stand still: containers and their processes go on, and no byte of output is lost.
//!
//! Each test that kills at random moments prints its seed; `APPC_TEST_SEED` repeats it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::Write as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use appcontainers_tests::{
    Host, LIMIT, allowed, amount, assert_same_bytes, eventually, in_sandbox, in_sandbox_for, numbers, random, tries,
};
use rand::{Rng as _, rngs::StdRng};
use rustix::process::{Signal, kill_process};

/// How many random moments each test tries.
const ROUNDS: u32 = 20;

/// A moment of at most so many milliseconds.
fn moment(random: &mut StdRng, most_ms: u64) {
    thread::sleep(Duration::from_micros(random.random_range(0..most_ms * 1000)));
}

/// A process that ends has no command line any more while its sockets are still open: the kernel closes them next.
#[track_caller]
fn end_monitor(host: &Host, name: &str) {
    let place = format!("/proc/{}", host.kill_monitor(name).as_raw_nonzero());
    eventually("it is gone", || (!Path::new(&place).exists()).then_some(()));
}

fn count_of(host: &Host, process: &str) -> Vec<u8> {
    host.appc(["-c", "web", "logs", "--process", process]).stdout
}

#[test]
fn a_process_goes_on_and_its_log_is_whole_when_the_monitor_is_killed() {
    in_sandbox_for(Duration::from_secs(180), |host| {
        host.start("web");
        let (mut random, expected) = (random(), numbers(400_000));
        for round in 0..tries(ROUNDS) {
            let process = host.spawn_in("web", "seq 1 400000; exit 9");
            moment(&mut random, 60);
            host.kill_monitor("web");
            host.appc(["-c", "web", "wait", &process]).fails(9);
            assert_same_bytes(&format!("round {round}"), &count_of(host, &process), &expected);
        }
    });
}

#[test]
fn a_foreground_command_keeps_its_streams_when_the_monitor_is_killed() {
    in_sandbox_for(Duration::from_secs(180), |host| {
        host.start("web");
        let mut random = random();
        let input = numbers(600_000);
        fs::write(host.file("input"), &input).unwrap();
        for round in 0..tries(ROUNDS) {
            let mut command = host.command("appc");
            command.args(["-c", "web", "run", "--", "sh", "-c", "cat; echo done >&2; exit 6"]);
            command.stdin(fs::File::open(host.file("input")).unwrap());
            let running = host.start_command(command, LIMIT);
            for _ in 0..2 {
                moment(&mut random, 40);
                if let Some(pid) = host.monitor("web") {
                    kill_process(pid, Signal::KILL).unwrap();
                }
            }
            let done = running.wait();
            assert_eq!((done.code, done.stderr.as_slice()), (6, &b"done\n"[..]), "{}", done.transcript());
            assert_same_bytes(&format!("round {round}"), &done.stdout, &input);
        }
    });
}

#[test]
fn a_command_runs_once_also_if_the_monitor_dies_before_it_answers() {
    in_sandbox_for(Duration::from_secs(180), |host| {
        host.start("web");
        let mut random = random();
        for round in 1..=tries(ROUNDS) {
            let mut command = host.command("appc");
            command.args(["-c", "web", "run", "--", "sh", "-c", "echo x >> /root/runs"]);
            let running = host.start_command(command, LIMIT);
            moment(&mut random, 8);
            if let Some(pid) = host.monitor("web") {
                kill_process(pid, Signal::KILL).unwrap();
            }
            running.wait().succeeds();
            assert_eq!(host.sh_in("web", "wc -l < /root/runs").succeeds(), round.to_string());
        }
    });
}

#[test]
fn the_next_command_finds_a_monitor_within_fifty_milliseconds() {
    in_sandbox(|host| {
        host.start("web");
        let best = (0..10)
            .map(|_| {
                end_monitor(host, "web");
                let begin = Instant::now();
                host.appc(["-c", "web", "ps"]).succeeds();
                assert!(host.monitor("web").is_some(), "nobody has adopted it");
                begin.elapsed()
            })
            .min()
            .unwrap();
        eprintln!("the quickest adoption of ten, with the command around it: {best:?}");
        assert!(best < allowed(Duration::from_millis(50)), "{best:?}");
    });
}

#[test]
fn a_monitor_that_stands_still_delays_output_and_loses_none() {
    in_sandbox_for(Duration::from_secs(240), |host| {
        host.start("web");
        let (mut random, expected) = (random(), numbers(400_000));
        for round in 0..tries(ROUNDS) {
            let process = host.spawn_in("web", "seq 1 400000");
            moment(&mut random, 40);
            let pid = eventually("there is a monitor", || host.monitor("web"));
            kill_process(pid, Signal::STOP).unwrap();
            moment(&mut random, 300);
            kill_process(pid, Signal::CONT).unwrap();
            host.appc(["-c", "web", "wait", &process]).succeeds();
            assert_same_bytes(&format!("round {round}"), &count_of(host, &process), &expected);
        }
        // And for a minute; on a slow host for less.
        let process = host.spawn_in("web", "seq 1 400000");
        let pid = eventually("there is a monitor", || host.monitor("web"));
        kill_process(pid, Signal::STOP).unwrap();
        thread::sleep(Duration::from_secs(amount(60).into()));
        kill_process(pid, Signal::CONT).unwrap();
        host.appc(["-c", "web", "wait", &process]).succeeds();
        assert_same_bytes("for long", &count_of(host, &process), &expected);
    });
}

#[test]
fn a_container_that_ends_without_a_monitor_is_cleared_up_and_its_end_is_an_event() {
    in_sandbox(|host| {
        host.start("web");
        let process = host.spawn_in("web", "exec sleep 1000");
        assert_eq!(host.status("web"), "running");
        end_monitor(host, "web");
        kill_process(host.recorded_pid("web", "init").unwrap(), Signal::KILL).unwrap();
        eventually("its end is noted", || {
            let events = host.appc(["events", "--json"]).succeeds();
            events.lines().any(|line| line.contains("\"die\"") && line.contains("\"web\"")).then_some(())
        });
        assert_eq!(host.inspect("web")["status"], "stopped");
        let listed = host.json(["-c", "web", "ps", "-a"]);
        assert_eq!(listed[0]["state"], "lost");
        host.appc(["-c", "web", "wait", &process]).refuses(125, &["not known"]);
        host.appc(["start", "web"]).succeeds();
        assert_eq!(host.sh_in("web", "echo again").succeeds(), "again");
    });
}

#[test]
fn what_was_to_be_started_again_is_started_by_the_monitor_that_adopts() {
    in_sandbox(|host| {
        host.start("web");
        let words = ["-c", "web", "spawn", "--name", "s", "--restart", "always", "--", "sh", "-c", "sleep 0.3; exit 1"];
        host.appc(words).succeeds();
        host.kill_monitor("web");
        eventually("it was started again", || {
            let all = host.json(["-c", "web", "ps", "-a"]);
            all.as_array().unwrap().iter().any(|one| one["restarts"].as_u64().unwrap() > 0).then_some(())
        });
        host.appc(["-c", "web", "kill", "s"]).succeeds();
    });
}

#[test]
fn whoever_waits_or_watches_has_the_container_adopted() {
    in_sandbox(|host| {
        host.start("web");
        let process = host.spawn_in("web", "while ! [ -e /tmp/go ]; do sleep 0.01; done; echo gone on; exit 8");
        let mut watchers = ["wait", "attach"].map(|word| {
            let mut command = host.command("appc");
            command.args(["-c", "web", word, &process]);
            host.start_command(command, LIMIT)
        });
        let before = eventually("there is a monitor", || host.monitor("web"));
        kill_process(before, Signal::KILL).unwrap();
        eventually("there is another monitor", || host.monitor("web").filter(|pid| *pid != before));
        assert!(watchers.iter_mut().all(appcontainers_tests::Running::is_alive));
        host.sh_in("web", "touch /tmp/go").succeeds();
        let [waited, watched] = watchers.map(appcontainers_tests::Running::wait);
        assert_eq!((waited.code, watched.code, watched.text().as_str()), (8, 8, "gone on"));
    });
}

#[test]
fn a_container_of_one_command_stops_after_it_whoever_was_its_monitor() {
    in_sandbox(|host| {
        host.provision("web");
        let mut running = host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", "echo up; cat; echo down"]);
        running.read_until("up\n");
        host.kill_monitor("web");
        running.stdin.as_mut().unwrap().write_all(b"through\n").unwrap();
        running.read_until("through\n");
        let done = running.wait();
        assert_eq!((done.code, done.text().as_str()), (0, "down"));
        eventually("it has stopped", || (host.inspect("web")["status"] == "stopped").then_some(()));
    });
}
