//! A container that is paused stands still until somebody has it go on or stops it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use appcontainers_tests::{Host, eventually, in_sandbox, kill_at_each_step};
use rustix::process::{Signal, kill_process};

/// Counts into a file that can be seen from the host while nothing in the container can be asked.
const COUNT: &str = "i=0; while :; do i=$((i + 1)); echo $i > /root/count; done";

fn counting(host: &Host, name: &str) {
    host.start(name);
    host.spawn_in(name, COUNT);
    eventually("it counts", || (count(host, name) > 0).then_some(()));
}

fn count(host: &Host, name: &str) -> u64 {
    let file = host.paths().root().join("overlays/raw").join(name).join("upper/root/count");
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// What the kernel says of its cgroup.
fn is_frozen(host: &Host, name: &str) -> bool {
    let files = host.cgroup_files(name, "payload/cgroup.events");
    files.iter().any(|file| fs::read_to_string(file).unwrap().lines().any(|line| line == "frozen 1"))
}

#[track_caller]
fn assert_still(host: &Host, name: &str) {
    assert!(is_frozen(host, name));
    assert_eq!(host.status(name), "paused");
    let before = fs::metadata(host.paths().root().join("overlays/raw").join(name).join("upper/root/count"));
    host.appc(["ls"]).succeeds();
    let after = fs::metadata(host.paths().root().join("overlays/raw").join(name).join("upper/root/count"));
    assert_eq!(before.unwrap().modified().unwrap(), after.unwrap().modified().unwrap());
}

#[track_caller]
fn assert_moving(host: &Host, name: &str) {
    assert_eq!(host.status(name), "running");
    let before = count(host, name);
    eventually("it counts on", || (count(host, name) > before).then_some(()));
}

#[test]
fn it_stands_still_until_it_is_to_go_on() {
    in_sandbox(|host| {
        counting(host, "web");
        counting(host, "api");
        host.appc(["pause", "web", "api"]).succeeds();
        assert_still(host, "web");
        assert_still(host, "api");
        // Twice is once, and one of them may go on alone.
        host.appc(["pause", "web"]).succeeds();
        host.appc(["unpause", "web"]).succeeds();
        assert_moving(host, "web");
        assert_still(host, "api");
        host.appc(["unpause", "web"]).succeeds();
        host.appc(["-c", "api", "unpause"]).succeeds();
        assert_moving(host, "api");
        let events = host.appc(["events"]).succeeds();
        let kinds: Vec<_> = events.lines().filter_map(|line| line.split(' ').nth(3)).collect();
        assert!(kinds.contains(&"pause") && kinds.contains(&"unpause"), "{events}");
    });
}

#[test]
fn what_needs_its_processes_is_refused_and_says_what_to_do() {
    in_sandbox(|host| {
        counting(host, "web");
        fs::write(host.file("file"), "x").unwrap();
        host.appc(["pause", "web"]).succeeds();
        let words: [(&[&str], i32); 8] = [
            (&["-c", "web", "run", "--", "true"], 125),
            (&["-c", "web", "exec", "--", "true"], 125),
            (&["-c", "web", "spawn", "--", "true"], 125),
            (&["-c", "web", "kill", "1"], 1),
            (&["-c", "web", "put", "file", "/root/"], 1),
            (&["-c", "web", "fetch", "/root", "."], 1),
            (&["-c", "web", "tail", "/root/count"], 1),
            (&["start", "web"], 1),
        ];
        for (words, code) in words {
            host.appc(words).refuses(code, &["container web is paused", "appc unpause web"]);
        }
        // What only looks does not need them.
        host.appc(["-c", "web", "ps"]).succeeds();
        host.appc(["-c", "web", "logs"]).succeeds();
        host.appc(["stats", "web"]).succeeds();
        host.appc(["set", "web", "pids=100"]).succeeds();
        assert_eq!(host.inspect("web")["limits"]["actual"]["pids"], 100);
        assert_still(host, "web");
        host.appc(["unpause", "web"]).succeeds();
        assert_moving(host, "web");
    });
}

#[test]
fn a_stop_or_a_removal_ends_it_and_the_pause() {
    in_sandbox(|host| {
        counting(host, "web");
        host.appc(["pause", "web"]).succeeds();
        host.appc(["stop", "web"]).succeeds();
        assert_eq!(host.status("web"), "stopped");
        host.appc(["start", "web"]).succeeds();
        assert_eq!(host.status("web"), "running");
        host.in_container("web", ["true"]).succeeds();
        host.appc(["pause", "web"]).succeeds();
        host.appc(["restart", "web", "--timeout", "0"]).succeeds();
        assert_eq!(host.status("web"), "running");
        host.appc(["pause", "web"]).succeeds();
        host.appc(["rm", "web"]).refuses(1, &["appc rm -f web"]);
        host.appc(["rm", "-f", "web"]).succeeds();
        assert!(host.containers().is_empty());
    });
}

#[test]
fn only_what_runs_can_be_paused() {
    in_sandbox(|host| {
        host.provision("web");
        for verb in ["pause", "unpause"] {
            host.appc([verb, "web"]).refuses(1, &["web", "is not running"]);
            host.appc([verb, "ghost"]).refuses(1, &["ghost", "appc ls"]);
        }
    });
}

#[test]
fn saving_a_paused_container_leaves_it_paused_and_another_moving() {
    in_sandbox(|host| {
        counting(host, "web");
        host.appc(["-c", "web", "save-image", "moving.aimg"]).succeeds();
        assert_moving(host, "web");
        host.appc(["pause", "web"]).succeeds();
        host.appc(["-c", "web", "save-image", "paused.aimg"]).succeeds();
        assert_still(host, "web");
        host.appc(["unpause", "web"]).succeeds();
        assert_moving(host, "web");
    });
}

#[test]
fn a_pause_outlives_the_monitor() {
    in_sandbox(|host| {
        counting(host, "web");
        let process = host.spawn_in("web", "trap 'echo bye; exit 3' TERM; while :; do sleep 0.1; done");
        host.appc(["pause", "web"]).succeeds();
        for _ in 0..2 {
            kill_process(host.monitor("web").unwrap(), Signal::KILL).unwrap();
            eventually("the monitor is dead", || host.monitor("web").is_none().then_some(()));
            // The next command has another one adopt it, which can't hear its agent.
            host.appc(["-c", "web", "ps"]).succeeds();
            assert_still(host, "web");
            host.appc(["-c", "web", "exec", "--", "true"]).refuses(125, &["paused"]);
        }
        host.appc(["unpause", "web"]).succeeds();
        assert_moving(host, "web");
        host.appc(["-c", "web", "kill", &process]).succeeds();
        host.appc(["-c", "web", "wait", &process]).fails(3);
        assert_eq!(host.appc(["-c", "web", "logs", "--process", &process]).succeeds(), "bye");
        // And one that is adopted and never goes on can be stopped.
        host.appc(["pause", "web"]).succeeds();
        kill_process(host.monitor("web").unwrap(), Signal::KILL).unwrap();
        host.appc(["stop", "web"]).succeeds();
        assert_eq!(host.status("web"), "stopped");
    });
}

#[test]
fn killed_while_it_pauses_it_is_paused_or_not() {
    in_sandbox(|host| {
        counting(host, "web");
        for verb in ["pause", "unpause"] {
            kill_at_each_step(
                host,
                2,
                &[verb, "web"],
                |_| {
                    let other = if verb == "pause" { "unpause" } else { "pause" };
                    host.appc([other, "web"]).succeeds();
                },
                |_, _| {
                    let status = host.status("web");
                    eventually("the kernel says the same", || {
                        let status = host.status("web");
                        (is_frozen(host, "web") == (status == "paused")).then_some(())
                    });
                    assert!(["paused", "running"].contains(&status.as_str()), "{status}");
                },
            );
        }
        host.appc(["unpause", "web"]).succeeds();
        assert_moving(host, "web");
    });
}
