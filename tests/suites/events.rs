//! The journal of events: numbered, gapless, in order, and followed without polling.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    thread,
    time::Duration,
};

use appcontainers_tests::{Host, LIMIT, allowed, eventually, in_sandbox};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What `appc events --json` and more arguments print.
fn events(host: &Host, arguments: &[&str]) -> Vec<Value> {
    let text = host.appc([&["events", "--json"], arguments].concat()).succeeds();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(events: &[Value]) -> Vec<String> {
    let kind = |event: &Value| format!("{} {}", event["container"].as_str().unwrap(), event["kind"].as_str().unwrap());
    events.iter().map(kind).collect()
}

#[track_caller]
fn assert_gapless(events: &[Value]) {
    let numbers: Vec<_> = events.iter().map(|event| event["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
}

/// The journal's file that begins with event `first`.
fn segment(host: &Host, first: u64) -> PathBuf {
    host.paths().events().join(format!("{first:020}.jsonl"))
}

#[test]
fn a_containers_life_is_told_in_order() {
    in_sandbox(|host| {
        assert_eq!(host.appc(["events"]).succeeds(), "");
        host.start("web");
        host.provision("api");
        host.appc(["stop", "web"]).succeeds();
        host.appc(["rename", "web", "shop"]).succeeds();
        host.appc(["rm", "shop"]).succeeds();
        let all = events(host, &[]);
        let expected = ["web create", "web start", "api create", "web die", "web rename", "shop remove"];
        assert_eq!(kinds(&all), expected);
        assert_gapless(&all);
        assert_eq!(all[0]["details"], json!({"image": "busybox"}));
        assert_eq!(all[4]["details"], json!({"to": "shop"}));
        // From a number, from a time, of one container, also one that is gone; and as text.
        assert_eq!(kinds(&events(host, &["--since", "4"])), expected[4..]);
        assert_eq!(kinds(&events(host, &["--since", all[2]["time"].as_str().unwrap()])), expected[2..]);
        let of_web = ["web create", "web start", "web die", "web rename"];
        assert_eq!(kinds(&events(host, &["-c", "web"])), of_web);
        assert_eq!(events(host, &["--since", "6"]), [] as [Value; 0]);
        host.appc(["events", "--since", "7"]).refuses(1, &["no event 7", "the last one is 6"]);
        let text = host.appc(["events", "--since", "4"]).succeeds();
        let words: Vec<Vec<_>> = text.lines().map(|line| line.split(' ').collect()).collect();
        assert_eq!((words[0][0], &words[0][2..]), ("5", &["web", "rename", "to=shop"][..]));
        assert_eq!((words[1][0], &words[1][2..]), ("6", &["shop", "remove"][..]));
    });
}

#[test]
fn two_hundred_events_of_commands_at_once_have_no_hole_and_no_double() {
    in_sandbox(|host| {
        host.app_image(|_| {});
        let before = events(host, &[]).len();
        thread::scope(|scope| {
            for worker in 0..8 {
                scope.spawn(move || {
                    for round in 0..13 {
                        let name = format!("c{worker}-{round}");
                        host.ephemeral(&name);
                        host.appc(["rm", &name]).succeeds();
                    }
                });
            }
        });
        let all = events(host, &[]);
        assert_eq!(all.len(), before + 208);
        assert_gapless(&all);
        let times: Vec<_> = all.iter().map(|event| event["time"].as_str().unwrap().parse::<Time>().unwrap()).collect();
        assert!(times.is_sorted());
    });
}

/// A time that can be compared.
type Time = jiff::Timestamp;

/// The number of ppoll(2).
const PPOLL: &str = if cfg!(target_arch = "x86_64") { "271" } else { "73" };

#[test]
fn a_follower_sees_every_event_in_order_and_sleeps_in_between() {
    in_sandbox(|host| {
        host.provision("web");
        let mut follower = host.spawn("appc", ["events", "-f", "--json"]);
        let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
        let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
        let mut seen = vec![next()];
        for _ in 0..5 {
            host.appc(["start", "web"]).succeeds();
            host.appc(["stop", "-t", "0", "web"]).succeeds();
            seen.extend([next(), next()]);
        }
        assert_gapless(&seen);
        assert_eq!(seen, events(host, &[]));
        assert_eq!(kinds(&seen)[..3], ["web create", "web start", "web die"]);
        // It waits in one system call that has no timeout: ppoll(2), the third argument.
        let pid = follower.pid().as_raw_nonzero();
        eventually("it sleeps", || {
            let call = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
            let words: Vec<_> = call.split_whitespace().collect();
            (words.first() == Some(&PPOLL) && words.get(3) == Some(&"0x0")).then_some(())
        });
        follower.signal(Signal::INT);
        assert_eq!(follower.wait().code, 130);
    });
}

#[test]
fn a_follower_whose_reader_leaves_ends_without_waiting_for_an_event() {
    in_sandbox(|host| {
        host.appc(["events", "-f"]).refuses(1, &["no event journal", "appc setup"]);
        host.provision("web");
        let read = host.sh("appc events -f | head -n 1").succeeds();
        assert!(read.contains("web create"), "{read}");
        let mut follower = host.spawn("appc", ["events", "-f", "--since", "1"]);
        drop(follower.stdout.take());
        assert!(follower.wait_at_most(allowed(Duration::from_secs(10))));
        assert_eq!(follower.wait().code, 0);
    });
}

#[test]
fn a_torn_tail_is_not_shown_and_its_number_is_given_again() {
    in_sandbox(|host| {
        host.provision("web");
        let torn = r#"{"number":2,"time":"2026-01-02T03:04:05Z","container":"web","ki"#;
        let journal = segment(host, 1);
        let whole = fs::read_to_string(&journal).unwrap();
        fs::write(&journal, whole.clone() + torn).unwrap();
        assert_eq!(kinds(&events(host, &[])), ["web create"]);
        host.appc(["rm", "web"]).succeeds();
        let all = events(host, &[]);
        assert_eq!(kinds(&all), ["web create", "web remove"]);
        assert_gapless(&all);
        assert!(fs::read_to_string(&journal).unwrap().starts_with(&whole));
    });
}

#[test]
fn a_command_killed_at_any_step_of_its_event_leaves_a_whole_journal() {
    in_sandbox(|host| {
        let mut told = 0;
        for call in ["openat", "pread64", "write", "close"] {
            host.provision("web");
            let mut command = host.command("strace");
            let inject = format!("inject={call}:signal=KILL");
            command.args(["-o", "/dev/null", "-P", segment(host, 1).to_str().unwrap(), "-e", &inject]);
            command.args(["appc", "rm", "web"]);
            assert_eq!(host.start_command(command, LIMIT).wait().code, 137, "{call}");
            let all = events(host, &[]);
            assert_gapless(&all);
            // strace kills before the call is made.
            let removed = if call == "close" { 1 } else { 0 };
            assert_eq!(all.len(), told + 1 + removed, "{call}");
            told = all.len();
        }
        assert_eq!(host.containers(), [] as [&str; 0]);
    });
}

#[test]
fn a_full_journal_goes_on_in_another_file_and_what_is_gone_is_said_to_be() {
    in_sandbox(|host| {
        host.provision("web");
        // Filled up as if by a hundred thousand starts.
        let line = |number: u64| {
            format!(r#"{{"number":{number},"time":"2026-01-02T03:04:05Z","container":"web","kind":"start"}}"#) + "\n"
        };
        let mut text = fs::read_to_string(segment(host, 1)).unwrap();
        let mut last = 1;
        while text.len() < 4 * 1024 * 1024 - 80 {
            last += 1;
            text += &line(last);
        }
        fs::write(segment(host, 1), text).unwrap();
        let since = (last - 2).to_string();
        let mut follower = host.spawn("appc", ["events", "-f", "--json", "--since", &since]);
        host.appc(["rm", "web"]).succeeds();
        assert!(segment(host, last + 1).exists());
        let followed = String::from_utf8(follower.read_until("\"remove\"}\n")).unwrap();
        let numbers: Vec<u64> = followed
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["number"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, [last - 1, last, last + 1]);
        drop(follower);
        let all = events(host, &[]);
        assert_eq!(all.len() as u64, last + 1);
        assert_gapless(&all);
        // The oldest file goes when there are too many.
        fs::remove_file(segment(host, 1)).unwrap();
        assert_eq!(kinds(&events(host, &[])), ["web remove"]);
        assert_eq!(kinds(&events(host, &["--since", &last.to_string()])), ["web remove"]);
        let (first, gone) = (last + 1, last - 2);
        host.appc(["events", "--since", &gone.to_string()])
            .refuses(1, &[&format!("event {} is gone", gone + 1), &format!("begins with event {first}")]);
    });
}

/// A limit as a host's administrator sets it: in the container's own cgroup, of either version.
#[test]
fn that_there_was_no_memory_left_is_told() {
    in_sandbox(|host| {
        host.start("web");
        let limits = ["memory.max", "memory.limit_in_bytes"];
        let limits = limits.into_iter().flat_map(|file| host.cgroup_files("web", &format!("payload/{file}")));
        assert_eq!(limits.map(|limit| fs::write(limit, "20000000").unwrap()).count(), 1);
        assert_eq!(host.in_container("web", ["tail", "/dev/zero"]).code, 128 + 9);
        assert_eq!(host.in_container("web", ["sh", "-c", "tail /dev/zero; true"]).code, 0);
        host.in_container("web", ["false"]).fails(1);
        let told = eventually("both are told", || {
            let told = events(host, &[]).into_iter().filter(|event| event["kind"] == "oom").collect::<Vec<_>>();
            (told.len() == 2).then_some(told)
        });
        assert_eq!(told.iter().map(|event| &event["details"]["kills"]).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(told.iter().map(|event| &event["details"]["command"]).collect::<Vec<_>>(), ["tail", "tail"]);
        assert_eq!(told[0]["container"], "web");
    });
}
