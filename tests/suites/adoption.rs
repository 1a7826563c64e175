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

use appcontainers_tests::{Host, LIMIT, allowed, eventually, in_sandbox, in_sandbox_for};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rustix::process::{Pid, Signal, kill_process};

/// How many random moments each test tries.
const ROUNDS: usize = 20;

fn random() -> StdRng {
    let given = std::env::var("APPC_TEST_SEED").ok().map(|seed| seed.parse().expect("a seed is a number"));
    let seed = given.unwrap_or_else(|| rand::rng().random());
    eprintln!("APPC_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// A moment of at most so many milliseconds.
fn moment(random: &mut StdRng, most_ms: u64) {
    thread::sleep(Duration::from_micros(random.random_range(0..most_ms * 1000)));
}

fn numbers(last: u32) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 1..=last {
        writeln!(text, "{number}").unwrap();
    }
    text
}

#[track_caller]
fn kill_monitor(host: &Host, name: &str) -> Pid {
    let pid = eventually("there is a monitor", || host.monitor(name));
    kill_process(pid, Signal::KILL).unwrap();
    pid
}

/// A process that ends has no command line any more while its sockets are still open: the kernel closes them next.
#[track_caller]
fn end_monitor(host: &Host, name: &str) {
    let place = format!("/proc/{}", kill_monitor(host, name).as_raw_nonzero());
    eventually("it is gone", || (!Path::new(&place).exists()).then_some(()));
}

fn spawn(host: &Host, line: &str) -> String {
    host.appc(["-c", "web", "spawn", "--", "sh", "-c", line]).succeeds()
}

fn count_of(host: &Host, process: &str) -> Vec<u8> {
    host.appc(["-c", "web", "logs", "--process", process]).stdout
}

#[track_caller]
fn assert_whole(printed: &[u8], expected: &[u8], round: usize) {
    let at = printed.iter().zip(expected).position(|(one, other)| one != other);
    let lengths = (printed.len(), expected.len());
    assert!(printed == expected, "round {round}: {lengths:?} bytes, the first other one at {at:?}");
}

#[test]
fn a_process_goes_on_and_its_log_is_whole_when_the_monitor_is_killed() {
    in_sandbox_for(Duration::from_secs(180), |host| {
        host.start("web");
        let (mut random, expected) = (random(), numbers(400_000));
        for round in 0..ROUNDS {
            let process = spawn(host, "seq 1 400000; exit 9");
            moment(&mut random, 60);
            kill_monitor(host, "web");
            host.appc(["-c", "web", "wait", &process]).fails(9);
            assert_whole(&count_of(host, &process), &expected, round);
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
        for round in 0..ROUNDS {
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
            assert_whole(&done.stdout, &input, round);
        }
    });
}

#[test]
fn a_command_runs_once_also_if_the_monitor_dies_before_it_answers() {
    in_sandbox_for(Duration::from_secs(180), |host| {
        host.start("web");
        let mut random = random();
        for round in 1..=ROUNDS {
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
        for round in 0..ROUNDS {
            let process = spawn(host, "seq 1 400000");
            moment(&mut random, 40);
            let pid = eventually("there is a monitor", || host.monitor("web"));
            kill_process(pid, Signal::STOP).unwrap();
            moment(&mut random, 300);
            kill_process(pid, Signal::CONT).unwrap();
            host.appc(["-c", "web", "wait", &process]).succeeds();
            assert_whole(&count_of(host, &process), &expected, round);
        }
        // And for a minute.
        let process = spawn(host, "seq 1 400000");
        let pid = eventually("there is a monitor", || host.monitor("web"));
        kill_process(pid, Signal::STOP).unwrap();
        thread::sleep(Duration::from_secs(60));
        kill_process(pid, Signal::CONT).unwrap();
        host.appc(["-c", "web", "wait", &process]).succeeds();
        assert_whole(&count_of(host, &process), &expected, ROUNDS);
    });
}

#[test]
fn a_container_that_ends_without_a_monitor_is_cleared_up_and_its_end_is_an_event() {
    in_sandbox(|host| {
        host.start("web");
        let process = spawn(host, "exec sleep 1000");
        let init = host.json(["inspect", "web"]);
        assert_eq!(init["status"], "running");
        end_monitor(host, "web");
        let init = fs::read_to_string(host.paths().container_run(&"web".parse().unwrap()).join("start.json")).unwrap();
        let init: serde_json::Value = serde_json::from_str(&init).unwrap();
        kill_process(Pid::from_raw(init["init"]["pid"].as_i64().unwrap() as i32).unwrap(), Signal::KILL).unwrap();
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
        kill_monitor(host, "web");
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
        let process = spawn(host, "while ! [ -e /tmp/go ]; do sleep 0.01; done; echo gone on; exit 8");
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
        kill_monitor(host, "web");
        running.stdin.as_mut().unwrap().write_all(b"through\n").unwrap();
        running.read_until("through\n");
        let done = running.wait();
        assert_eq!((done.code, done.text().as_str()), (0, "down"));
        eventually("it has stopped", || (host.inspect("web")["status"] == "stopped").then_some(()));
    });
}
