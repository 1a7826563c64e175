//! What the host's boot and shutdown do: containers that are marked come back, all are stopped cleanly.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use appcontainers_tests::{Host, eventually, in_sandbox};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What of a container has to be the same after a reboot.
fn identity(host: &Host, name: &str) -> Value {
    let details = host.inspect(name);
    ["name", "ip", "mac", "id_range", "hostname"].iter().map(|field| details[field].clone()).collect()
}

/// Ends everything as a power cut does, empties `/run`, and makes this another boot of the host's.
fn reboot(host: &Host, running: &[&str]) {
    for name in running {
        let pid = |which: &str| host.recorded_pid(name, which).unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", pid("init"))).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
        // LXC's monitor, which takes the init with it, would clear up after that.
        for pid in [pid("monitor"), Pid::from_raw(parent.parse().unwrap()).unwrap()] {
            kill_process(pid, Signal::KILL).unwrap();
        }
        let root = format!("/proc/{}/root/proc", pid("init"));
        eventually("it is gone", || (!Path::new(&root).exists()).then_some(()));
    }
    eventually("LXC's monitors are gone", || (host.run("pgrep", ["-f", "lxc monitor"]).code == 1).then_some(()));
    let (layers, tag) = (host.paths().layer_mounts(), host.paths().tag());
    host.sh(&format!("umount -l {}/* && nft flush ruleset && ip link del appc-{tag}", layers.display())).succeeds();
    host.remove_cgroups();
    for entry in fs::read_dir(host.paths().run()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    // The kernel's own id of this boot can't be changed: what was made in it was made in another.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for name in running {
        let path = host.paths().root().join("containers").join(name).join("container.json");
        let record = fs::read_to_string(&path).unwrap();
        fs::write(path, record.replace(boot.trim(), "11111111-2222-3333-4444-555555555555")).unwrap();
    }
}

#[test]
fn a_marked_container_comes_back_after_a_reboot_as_it_was_and_others_are_stopped() {
    in_sandbox(|host| {
        host.appc(["provision", "--name", "web", "--autostart"]).succeeds();
        for name in ["db", "other", "unmarked"] {
            host.provision(name);
        }
        host.appc(["autostart", "db", "on"]).succeeds();
        host.appc(["autostart", "unmarked", "on"]).succeeds();
        host.appc(["-c", "unmarked", "autostart", "off"]).succeeds();
        host.appc(["-c", "web", "startup-command", "add", "echo started >> /root/starts"]).succeeds();
        host.appc(["-c", "other", "save-image", "app.aimg"]).succeeds();
        host.appc(["load-image", "app.aimg", "--name", "guest", "--ephemeral"]).succeeds();
        let running = ["web", "db", "other", "guest"];
        for name in running {
            host.appc(["start", name]).succeeds();
        }
        let before = ["web", "db", "other", "unmarked"].map(|name| identity(host, name));

        reboot(host, &running);
        host.appc(["start", "--autostart"]).succeeds();

        assert_eq!(host.containers(), ["db", "other", "unmarked", "web"], "an ephemeral container is gone");
        assert_eq!(["web", "db", "other", "unmarked"].map(|name| identity(host, name)), before);
        assert_eq!(["web", "db"].map(|name| host.status(name)), ["running", "running"]);
        assert_eq!(["other", "unmarked"].map(|name| host.status(name)), ["stopped", "stopped"]);
        assert_eq!(host.sh_in("web", "cat /root/starts").succeeds(), "started\nstarted");
        assert_eq!(host.appc(["gc"]).succeeds(), "", "something stale was left");
        // What runs is left alone by a second call.
        host.appc(["start", "--autostart"]).succeeds();
        assert_eq!(host.sh_in("web", "cat /root/starts").succeeds(), "started\nstarted");
    });
}

#[test]
fn a_marked_container_that_cannot_start_holds_up_no_other() {
    in_sandbox(|host| {
        for name in ["a", "b", "c"] {
            host.appc(["provision", "--name", name, "--autostart"]).succeeds();
        }
        host.appc(["-c", "b", "startup-command", "add", "true"]).succeeds();
        host.sh_in("b", "rm /bin/sh").succeeds();
        let said = host.appc(["start", "--autostart"]).fails(1);
        assert!(said.contains("cannot start b: ") && said.contains("1 of 3 containers"), "{said}");
        assert_eq!(["a", "b", "c"].map(|name| host.status(name)), ["running", "stopped", "running"]);
    });
}

#[test]
fn all_that_run_are_stopped_at_once() {
    in_sandbox(|host| {
        for name in ["a", "b", "c", "d"] {
            host.start(name);
            host.appc(["-c", name, "spawn", "--", "sh", "-c", "trap '' TERM; sleep 600 & wait; sleep 600"]).succeeds();
        }
        host.provision("stopped");
        const TIMEOUT: Duration = Duration::from_secs(3);
        let begin = Instant::now();
        host.appc(["stop", "--all", "--timeout", "3"]).succeeds();
        assert!(begin.elapsed() < 2 * TIMEOUT, "one after the other");
        for name in ["a", "b", "c", "d", "stopped"] {
            assert_eq!(host.status(name), "stopped");
        }
        host.appc(["stop", "--all"]).succeeds();
    });
}

#[test]
fn what_cannot_be_marked_is_refused() {
    in_sandbox(|host| {
        host.provision("web");
        host.appc(["-c", "web", "save-image", "app.aimg"]).succeeds();
        host.appc(["load-image", "app.aimg", "--name", "guest", "--ephemeral"]).succeeds();
        host.appc(["autostart", "guest", "on"]).refuses(1, &["guest", "ephemeral"]);
        let said = host.appc(["autostart", "web", "yes"]).fails(2);
        assert!(said.contains("use on or off"), "{said}");
        let said = host.appc(["start", "web", "--autostart"]).fails(2);
        assert!(said.contains("cannot be used with"), "{said}");
        host.appc(["stop", "web", "--all"]).fails(2);
    });
}

#[test]
fn many_that_are_stopped_and_started_at_once_are_off_the_network_and_on_it_again() {
    in_sandbox(|host| {
        let names: Vec<_> = (0..12).map(|number| format!("c{number}")).collect();
        for name in &names {
            host.appc(["provision", "--name", name, "--autostart"]).succeeds();
        }
        let addresses: Vec<_> =
            names.iter().map(|name| host.inspect(name)["ip"].as_str().unwrap().to_owned()).collect();
        let in_table = || {
            let table = host.sh("nft list ruleset").succeeds();
            let words: Vec<_> = table.split([' ', ',', '\t', '\n']).collect();
            addresses.iter().filter(|address| words.contains(&address.as_str())).count()
        };
        for _ in 0..2 {
            host.appc(["start", "--autostart"]).succeeds();
            assert_eq!(in_table(), names.len());
            host.appc(["stop", "--all", "--timeout", "0"]).succeeds();
            assert!(names.iter().all(|name| host.status(name) == "stopped"));
            eventually("they are off the network", || (in_table() == 0).then_some(()));
            let leaving = fs::read_dir(host.paths().run().join("leaving")).unwrap();
            assert_eq!(leaving.count(), 0);
        }
    });
}
