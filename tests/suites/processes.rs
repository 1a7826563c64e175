//! Many processes in a container, in the background, and those who watch them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{io::Read as _, thread, time::Duration};

use appcontainers_tests::{Host, eventually, in_sandbox, in_sandbox_for, numbers, tries};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

#[track_caller]
fn listed(host: &Host, process: &str) -> Value {
    let all = host.json(["-c", "web", "ps", "-a"]);
    let found = all.as_array().unwrap().iter().find(|one| one["process"].as_u64() == process.parse().ok());
    found.unwrap_or_else(|| panic!("process {process} is not in {all}")).clone()
}

#[test]
fn how_a_process_ended_stays_known_also_when_its_container_has_stopped() {
    in_sandbox(|host| {
        host.start("web");
        let [seven, slept, lives] =
            ["exit 7", "kill -USR1 $$", "exec sleep 1000"].map(|line| host.spawn_in("web", line));
        host.appc(["-c", "web", "wait", &seven]).fails(7);
        host.appc(["-c", "web", "wait", &slept]).fails(128 + 10);
        host.appc(["-c", "web", "wait", "--timeout", "0", &lives]).refuses(125, &["has not ended"]);
        assert_eq!(listed(host, &lives)["state"], "running");
        assert_eq!(host.json(["-c", "web", "ps"]).as_array().unwrap().len(), 1);
        host.appc(["-c", "web", "kill", &lives]).succeeds();
        host.appc(["-c", "web", "wait", &lives]).fails(128 + 15);
        host.appc(["-c", "web", "kill", &lives]).refuses(1, &["has ended"]);
        let lost = host.spawn_in("web", "exec sleep 1000");
        host.appc(["stop", "web"]).succeeds();
        host.appc(["-c", "web", "wait", &seven]).fails(7);
        // The agent says how it ended before it ends itself.
        host.appc(["-c", "web", "wait", &lost]).fails(128 + 15);
        assert_eq!(listed(host, &slept)["signal"], 10);
        host.appc(["start", "web"]).succeeds();
        let next = host.spawn_in("web", "true");
        assert!(next.parse::<u32>().unwrap() > lost.parse().unwrap(), "a number was given twice");
        host.appc(["-c", "web", "wait", "99"]).refuses(125, &["no process 99", "ps -a"]);
    });
}

#[test]
fn what_can_not_be_started_says_so_as_a_shell_does() {
    in_sandbox(|host| {
        host.start("web");
        host.appc(["-c", "web", "spawn", "--", "nosuch"]).refuses(127, &["nosuch", "not found"]);
        host.appc(["-c", "web", "spawn", "--", "/etc/passwd"]).refuses(126, &["/etc/passwd"]);
        host.appc(["stop", "web"]).succeeds();
        host.appc(["-c", "web", "spawn", "--", "true"]).refuses(125, &["web is not running", "appc start web"]);
        host.appc(["-c", "web", "kill", "1"]).refuses(1, &["web is not running"]);
    });
}

#[test]
fn processes_are_peers_and_one_ending_ends_no_other() {
    in_sandbox(|host| {
        host.start("web");
        let others = ["exec sleep 1000", "exec sleep 1001"].map(|line| host.spawn_in("web", line));
        // It forks, and leaves: whose parent has gone is reaped by PID 1.
        let forks = host.spawn_in("web", "for i in 1 2 3 4 5; do (sleep 0.05; true) & done; exit 3");
        host.appc(["-c", "web", "wait", &forks]).fails(3);
        for other in &others {
            assert_eq!(listed(host, other)["state"], "running");
        }
        eventually("no zombie is left", || {
            let processes = host.sh_in("web", "ps -o pid,stat,args").succeeds();
            (!processes.contains(" Z ") && !processes.contains("sleep 0.05")).then_some(())
        });
        let namespaces = |pid: &Value| {
            let line = format!("for n in pid net mnt uts ipc; do readlink /proc/{pid}/ns/$n; done");
            host.sh_in("web", &line).succeeds()
        };
        let [one, other] = others.each_ref().map(|process| namespaces(&listed(host, process)["pid"]));
        assert_eq!(one, other);
        assert!(one.lines().count() == 5, "{one}");
    });
}

#[test]
fn startup_commands_are_processes_too() {
    in_sandbox(|host| {
        host.provision("web");
        host.appc(["-c", "web", "startup-command", "add", "echo started; exec sleep 1000"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        let listed = host.json(["-c", "web", "ps"]);
        assert_eq!((&listed[0]["role"], &listed[0]["state"]), (&"startup".into(), &"running".into()));
        eventually("it has said so", || (host.appc(["-c", "web", "logs"]).text() == "started").then_some(()));
    });
}

#[test]
fn the_exit_code_comes_after_the_last_byte() {
    in_sandbox(|host| {
        host.start("web");
        for round in 0..tries(30) {
            let process = host.spawn_in("web", &format!("echo first; echo last {round}; exit 7"));
            let watched = host.appc(["-c", "web", "attach", &process]);
            assert_eq!((watched.code, watched.text()), (7, format!("first\nlast {round}")));
        }
    });
}

#[test]
fn ten_watchers_get_every_byte_and_the_exit_code() {
    in_sandbox(|host| {
        host.start("web");
        host.sh_in("web", "mkfifo /tmp/go").succeeds();
        let process = host.spawn_in("web", "read x < /tmp/go; seq 1 300000; exit 5");
        let early = [(); 5].map(|()| start_watching(host, &process));
        host.sh_in("web", "echo > /tmp/go").succeeds();
        let late = [(); 5].map(|()| start_watching(host, &process));
        let expected = numbers(300_000);
        for watcher in early.into_iter().chain(late) {
            let watched = watcher.wait();
            assert_eq!(watched.code, 5);
            assert!(watched.stdout == expected, "{} of {} bytes", watched.stdout.len(), expected.len());
        }
    });
}

fn start_watching(host: &Host, process: &str) -> appcontainers_tests::Running {
    let mut command = host.command("appc");
    command.args(["-c", "web", "attach", process]);
    host.start_command(command, appcontainers_tests::LIMIT)
}

#[test]
fn a_watcher_that_stands_still_costs_nobody_anything_and_is_told_what_it_missed() {
    in_sandbox_for(Duration::from_secs(180), |host| {
        host.start("web");
        let process =
            host.spawn_in("web", "while ! [ -e /tmp/go ]; do sleep 0.01; done; head -c 320000000 /dev/zero; exit 4");
        let mut stalled = host.spawn("appc", ["-c", "web", "attach", &process]);
        let killed = start_watching(host, &process);
        let mut stdout = stalled.stdout.take().unwrap();
        host.sh_in("web", "touch /tmp/go").succeeds();
        let mut first = [0; 2];
        stdout.read_exact(&mut first).unwrap();
        stalled.signal(Signal::STOP);
        killed.kill_after(Duration::ZERO);
        // More than the log keeps: nobody waits for the one that stands still.
        host.appc(["-c", "web", "wait", &process]).fails(4);
        stalled.signal(Signal::CONT);
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).unwrap();
        let ended = stalled.wait();
        assert_eq!(ended.code, 4);
        assert!(String::from_utf8_lossy(&ended.stderr).contains("bytes of the container's log were gone"));
        assert!(rest.len() < 320_000_000 - first.len(), "nothing was dropped");
        let size =
            host.sh(&format!("du -sm {} | cut -f1", host.paths().container_log(&"web".parse().unwrap()).display()));
        assert!(size.text().parse::<u64>().unwrap() < 300, "the log has {} MiB", size.text());
    });
}

#[test]
fn an_idle_container_wakes_neither_its_agent_nor_its_monitor() {
    in_sandbox(|host| {
        host.start("web");
        // Which prints nothing and waits, as a server without clients does.
        host.spawn_in("web", "exec sleep 1000");
        let [agent, monitor] = ["init", "monitor"].map(|which| host.recorded_pid("web", which).unwrap().to_string());
        host.run("timeout", ["10", "strace", "-f", "-o", "trace", "-p", &agent, "-p", &monitor]).fails(124);
        let trace = std::fs::read_to_string(host.file("trace")).unwrap();
        assert!(trace.lines().count() >= 4, "each has two threads at least: {trace}");
        for line in trace.lines() {
            // What each thread waited in when strace came, and nothing after it.
            assert!(line.ends_with("<detached ...>") || line.ends_with("<unfinished ...>"), "it woke up: {trace}");
        }
    });
}

#[test]
fn a_process_is_started_again_as_its_policy_says() {
    in_sandbox(|host| {
        host.start("web");
        let spawn = |restart: &str, name: &str, line: &str| {
            host.appc(["-c", "web", "spawn", "--name", name, "--restart", restart, "--", "sh", "-c", line]).succeeds()
        };
        let restarts = |name: &str| {
            let all = host.json(["-c", "web", "ps", "-a"]);
            let named = all.as_array().unwrap().iter().filter(|one| one["name"] == name);
            named.map(|one| one["restarts"].as_u64().unwrap()).max().unwrap()
        };
        spawn("always", "always", "exit 0");
        spawn("on-failure", "fails", "[ -e /tmp/second ] || { touch /tmp/second; exit 1; }");
        spawn("on-failure", "succeeds", "exit 0");
        eventually("it is started again and again", || (restarts("always") >= 3).then_some(()));
        eventually("it is started again once", || (restarts("fails") == 1).then_some(()));
        host.appc(["-c", "web", "wait", "fails"]).succeeds();
        assert_eq!(restarts("succeeds"), 0);
        host.appc(["-c", "web", "kill", "always"]).succeeds();
        eventually("it is over", || {
            let living = host.json(["-c", "web", "ps"]);
            living.as_array().unwrap().is_empty().then_some(())
        });
        spawn("no", "always", "exec sleep 1000");
        let taken = host.appc(["-c", "web", "spawn", "--name", "always", "--", "true"]);
        taken.refuses(125, &["has this name", "appc kill"]);
    });
}

#[test]
fn logs_show_what_is_asked_for() {
    in_sandbox(|host| {
        host.start("web");
        let logs = |words: &[&str]| host.appc([&["-c", "web", "logs"], words].concat()).succeeds();
        assert_eq!(logs(&[]), "");
        let one =
            host.appc(["-c", "web", "spawn", "--name", "one", "--", "sh", "-c", "seq 1 5; echo oops >&2"]).succeeds();
        host.appc(["-c", "web", "wait", &one]).succeeds();
        let between = host.sh("date -u +%Y-%m-%dT%H:%M:%S.%NZ").text();
        host.sh_in("web", "printf 'no end'").succeeds();
        assert_eq!(logs(&["--stream", "stdout"]), "1\n2\n3\n4\n5\nno end");
        let both = host.appc(["-c", "web", "logs", "--process", "one"]);
        assert_eq!((both.text().as_str(), both.stderr.as_slice()), ("1\n2\n3\n4\n5", &b"oops\n"[..]));
        assert_eq!(logs(&["--since", &between]), "no end");
        assert_eq!(logs(&["--tail", "2", "--stream", "stdout"]), "5\nno end");
        let stamped = logs(&["--timestamps", "--stream", "stdout", "--tail", "3"]);
        for (line, end) in stamped.lines().zip([" 4", " 5", " no end"]) {
            assert!(line.ends_with(end) && line.starts_with("20") && line.contains("Z "), "{line}");
        }
        let pieces = host.appc(["-c", "web", "logs", "--json", "--process", "one", "--stream", "stdout"]).succeeds();
        let pieces: Vec<Value> = pieces.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let text: String = pieces.iter().map(|piece| piece["text"].as_str().unwrap()).collect();
        assert_eq!((text.as_str(), &pieces[0]["offset"]), ("1\n2\n3\n4\n5\n", &0.into()));
        host.appc(["-c", "web", "logs", "--process", "nobody"]).refuses(1, &["no process nobody"]);

        let mut followed = host.spawn("appc", ["-c", "web", "logs", "-f", "--tail", "1"]);
        // It has begun to follow.
        followed.read_until("no end");
        host.sh_in("web", "echo followed").succeeds();
        followed.read_until("followed\n");
        host.appc(["restart", "web"]).succeeds();
        host.sh_in("web", "echo after the restart").succeeds();
        followed.read_until("after the restart\n");
        followed.signal(Signal::INT);
    });
}

#[test]
fn a_full_disk_makes_processes_wait_and_loses_nothing() {
    in_sandbox_for(Duration::from_secs(120), |host| {
        host.start("web");
        let log = host.paths().container_log(&"web".parse().unwrap());
        host.appc(["stop", "web"]).succeeds();
        let disk = host.small_disk(&log, "8M");
        host.appc(["start", "web"]).succeeds();
        let process = host.spawn_in("web", "seq 1 2000000");
        eventually("there is no room for another piece", || {
            let free = host.sh(&format!("df --output=avail {} | tail -1", log.display())).text();
            (free.trim().parse::<u64>().unwrap() < 100).then_some(())
        });
        // Nothing else stands still, and the container goes on.
        assert_eq!(listed(host, &process)["state"], "running");
        // Also where the monitor is so slow that more is on its way to it when it asks for all again: it stands still for longer than
        // it waits before it asks, and then has a moment to take some of what came.
        let monitor = host.recorded_pid("web", "monitor").unwrap();
        for round in 0..10 {
            kill_process(monitor, Signal::STOP).unwrap();
            thread::sleep(Duration::from_millis(520));
            kill_process(monitor, Signal::CONT).unwrap();
            thread::sleep(Duration::from_millis(1 + round));
        }
        host.sh(&format!("mount -o remount,size=64M {}", log.display())).succeeds();
        host.appc(["-c", "web", "wait", &process]).succeeds();
        let printed = host.appc(["-c", "web", "logs", "--process", &process]).stdout;
        assert!(printed == numbers(2_000_000), "{} bytes", printed.len());
        host.appc(["stop", "web"]).succeeds();
        drop(disk);
    });
}
