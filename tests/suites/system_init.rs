//! Containers whose process 1 is an init of their own, with the agent beside it: all else is as in any container.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use appcontainers_tests::{Archive, Host, eventually, in_sandbox};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

/// An init that says when it was started and when it was asked to end, and takes a moment for that. Its program is busybox's.
const INIT: &str = "#!/bin/sh
trap 'sleep 0.3; test -e /root/stay || { echo halted >> /root/said; exit 0; }' PWR USR2
echo booted >> /root/said
while :; do sleep 600 & wait $!; done
";

/// A container with that init.
fn system(host: &Host, name: &str) {
    host.appc(["provision", "--name", name, "--init", "system"]).succeeds();
    std::fs::write(host.file("init.tar"), Archive::new().program("sbin/init", INIT).finish()).unwrap();
    host.sh(&format!("appc -c {name} put - / < init.tar")).succeeds();
}

fn started(host: &Host, name: &str) {
    system(host, name);
    host.appc(["start", name]).succeeds();
    says(host, name, "booted");
}

/// Waits until its init has said this, since the container was made.
fn says(host: &Host, name: &str, all: &str) {
    let said = || host.sh_in(name, "cat /root/said").text();
    eventually("what its init says", || (said() == all).then_some(()));
}

fn is_stopped(host: &Host, name: &str) {
    eventually("it is stopped", || (host.status(name) == "stopped").then_some(()));
}

#[test]
fn its_own_init_is_process_1_and_commands_run_beside_it() {
    in_sandbox(|host| {
        started(host, "os");
        assert_eq!(host.inspect("os")["init"], "system");
        assert_eq!(host.sh_in("os", "tr '\\0' ' ' < /proc/1/cmdline").succeeds(), "/bin/sh /sbin/init ");
        assert_eq!(host.sh_in("os", "echo out; echo err >&2; exit 7").code, 7);
        // A grandchild that is left behind is reaped by the agent: no zombie is process 1's.
        host.sh_in("os", "sh -c 'sleep 0.2 &'").succeeds();
        eventually("it is reaped", || host.sh_in("os", "! ps -o stat,args | grep ^Z").code.eq(&0).then_some(()));
        let process = host.appc(["-c", "os", "spawn", "--", "sh", "-c", "echo here; exit 3"]).succeeds();
        host.appc(["-c", "os", "wait", &process]).fails(3);
        assert_eq!(host.appc(["-c", "os", "logs", "--process", &process]).succeeds(), "here");
    });
}

#[test]
fn a_stop_asks_the_init_to_end_the_system_and_files_stay() {
    in_sandbox(|host| {
        started(host, "os");
        host.appc(["-c", "os", "spawn", "--", "sleep", "600"]).succeeds();
        host.appc(["stop", "os"]).succeeds();
        assert_eq!(host.status("os"), "stopped");
        // Files of a stopped one are looked at without its init.
        assert_eq!(host.sh("appc -c os fetch /root/said - | tar -xO").succeeds(), "booted\nhalted");
        host.appc(["start", "os"]).succeeds();
        says(host, "os", "booted\nhalted\nbooted");
    });
}

#[test]
fn one_that_does_not_end_is_killed_and_one_that_ends_itself_is_stopped() {
    in_sandbox(|host| {
        started(host, "os");
        host.sh_in("os", "touch /root/stay").succeeds();
        host.appc(["stop", "os", "--timeout", "1"]).succeeds();
        assert_eq!(host.status("os"), "stopped");
        assert_eq!(host.sh("appc -c os fetch /root/said - | tar -xO").succeeds(), "booted");
        host.appc(["start", "os"]).succeeds();
        says(host, "os", "booted\nbooted");
        host.sh_in("os", "rm /root/stay").succeeds();
        // As `poweroff` in it would.
        host.sh_in("os", "kill -PWR 1").succeeds();
        is_stopped(host, "os");
        let events = host.appc(["--json", "events"]).succeeds();
        assert!(events.lines().any(|line| line.contains("\"die\"")), "{events}");
    });
}

#[test]
fn its_monitor_can_be_killed_and_another_one_finds_the_agent() {
    in_sandbox(|host| {
        started(host, "os");
        let line = "i=0; while [ $i -lt 200 ]; do i=$((i + 1)); echo $i; sleep 0.01; done";
        let process = host.appc(["-c", "os", "spawn", "--", "sh", "-c", line]).succeeds();
        kill_process(host.monitor("os").unwrap(), Signal::KILL).unwrap();
        host.appc(["-c", "os", "wait", &process]).succeeds();
        let numbers: Vec<String> = (1..=200).map(|number| number.to_string()).collect();
        assert_eq!(host.appc(["-c", "os", "logs", "--process", &process]).succeeds(), numbers.join("\n"));
        host.appc(["stop", "os"]).succeeds();
        assert_eq!(host.sh("appc -c os fetch /root/said - | tar -xO").succeeds(), "booted\nhalted");
    });
}

#[test]
fn a_container_whose_agent_is_killed_from_inside_is_ended_and_says_why() {
    in_sandbox(|host| {
        started(host, "os");
        let agent = host.sh_in("os", "grep -l '[b]eside' /proc/[0-9]*/cmdline").succeeds();
        let pid = agent.split('/').nth(2).unwrap();
        let _killed = host.sh_in("os", &format!("kill -9 {pid}"));
        is_stopped(host, "os");
        let events = host.appc(["--json", "events"]).succeeds();
        let fail = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let fail = fail.filter(|event| event["kind"] == "fail").map(|event| event.to_string()).collect::<String>();
        assert!(fail.contains("agent has ended"), "{events}");
    });
}

#[test]
fn an_image_without_an_init_is_refused_at_its_start() {
    in_sandbox(|host| {
        host.appc(["provision", "--name", "os", "--init", "system"]).succeeds();
        host.sh("appc -c os run -- true").fails(125);
        let said = host.appc(["start", "os"]).fails(1);
        assert!(said.contains("/sbin/init"), "{said}");
        assert_eq!(host.status("os"), "stopped");
    });
}

#[test]
fn a_system_may_mount_and_make_namespaces_and_an_app_may_not() {
    in_sandbox(|host| {
        started(host, "os");
        host.sh_in("os", "mount -t tmpfs none /mnt && unshare -m true && umount /mnt").succeeds();
        for denied in ["mknod /root/disk b 8 0", "echo 1 > /proc/sys/kernel/panic", "swapoff -a && swapon /root/said"] {
            assert_ne!(host.sh_in("os", denied).code, 0, "{denied}");
        }
        host.start("app");
        assert_ne!(host.sh_in("app", "mount -t tmpfs none /mnt").code, 0);
        assert_ne!(host.sh_in("app", "unshare -m true").code, 0);
    });
}

#[test]
fn what_process_1_is_does_not_come_with_an_image() {
    in_sandbox(|host| {
        system(host, "os");
        host.appc(["-c", "os", "save-image", "os.aimg"]).succeeds();
        host.appc(["load-image", "os.aimg", "--name", "app"]).succeeds();
        assert_eq!(host.inspect("app")["init"], "app");
        host.appc(["load-image", "os.aimg", "--name", "again", "--init", "system"]).succeeds();
        host.appc(["start", "again"]).succeeds();
        says(host, "again", "booted");
        let said = host.appc(["provision", "--init", "systemd"]).fails(2);
        assert!(said.contains("use app or system"), "{said}");
    });
}
