//! kill -9 at every step of `snapshot`, `restore`, `clone` and of a snapshot's removal.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, time::Duration};

use appcontainers_tests::{Host, clear_up, eventually, in_sandbox_for, kill_at_each_step};

/// A test of hundreds of commands.
const LONG: Duration = Duration::from_secs(400);

fn snapshots(host: &Host) -> Vec<String> {
    let all = host.json(["snapshots", "web"]);
    all.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// What lies in the directory of a container's snapshots.
fn on_disk(host: &Host) -> Vec<String> {
    let entries = fs::read_dir(host.paths().container_snapshots(&"web".parse().unwrap())).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Gives a container files that say which they are.
fn write(host: &Host, word: &str) {
    host.sh_in(
        "web",
        &format!("rm -rf /srv/*; mkdir -p /srv/{word}; cd /srv/{word}; for n in 1 2 3; do echo {word} > $n; done"),
    )
    .succeeds();
}

fn written(host: &Host, container: &str) -> String {
    host.sh_in(container, "cat /srv/*/* | sort | uniq -c; ls /srv")
        .text()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn killed_while_it_makes_a_snapshot_of_a_container_that_runs() {
    in_sandbox_for(LONG, |host| {
        host.start("web");
        write(host, "then");
        let (mut none, mut whole) = (0, 0);
        kill_at_each_step(
            host,
            1,
            &["snapshot", "web", "a"],
            |_| {},
            |_, done| {
                // It goes on, and does not stand still.
                assert_eq!(host.appc(["-c", "web", "exec", "--", "cat", "/srv/then/2"]).succeeds(), "then");
                clear_up(host);
                let found = snapshots(host);
                assert_eq!(on_disk(host), found);
                if found.is_empty() {
                    none += usize::from(done.code == 137);
                    return;
                }
                whole += 1;
                host.appc(["clone", "web", "copy", "--snapshot", "a"]).succeeds();
                assert_eq!(written(host, "copy"), "3 then then");
                host.appc(["rm", "copy"]).succeeds();
                host.appc(["snapshot", "rm", "web", "a"]).succeeds();
            },
        );
        assert!(none > 0 && whole > 0, "none {none}, whole {whole}");
    });
}

#[test]
fn killed_while_it_restores() {
    in_sandbox_for(LONG, |host| {
        host.provision("web");
        write(host, "then");
        host.appc(["snapshot", "web", "a"]).succeeds();
        let ip = host.inspect("web")["ip"].clone();
        let (mut old, mut restored) = (0, 0);
        kill_at_each_step(
            host,
            1,
            &["restore", "web", "a", "--time", "0"],
            |step| {
                write(host, "now");
                host.appc(["autostart", "web", "on"]).succeeds();
                if step % 2 == 1 {
                    let _ = host.appc(["start", "web"]);
                }
            },
            |_, done| {
                eventually("the start is over", || (host.status("web") != "busy").then_some(()));
                clear_up(host);
                assert_eq!(host.inspect("web")["ip"], ip);
                // Files and configuration, the one or the other.
                let autostart = host.inspect("web")["autostart"].as_bool().unwrap();
                match (written(host, "web").as_str(), autostart) {
                    ("3 now now", true) => old += usize::from(done.code == 137),
                    ("3 then then", false) => restored += 1,
                    (said, _) => panic!("{said}, autostart {autostart}"),
                }
                let overlay = fs::read_dir(host.upper("web").parent().unwrap()).unwrap();
                let mut names: Vec<_> = overlay.map(|entry| entry.unwrap().file_name()).collect();
                names.sort();
                assert_eq!(names, ["upper", "work"]);
                for name in ["restore.json", "restore.new"] {
                    assert!(!host.paths().container(&"web".parse().unwrap()).join(name).exists(), "{name}");
                }
                assert_eq!(on_disk(host), ["a"]);
                let _ = host.appc(["stop", "web", "--timeout", "0"]);
            },
        );
        assert!(old > 0 && restored > 0, "old {old}, restored {restored}");
    });
}

#[test]
fn killed_while_it_clones() {
    in_sandbox_for(LONG, |host| {
        // A network of five addresses: a reservation that is lost is missed at once.
        host.appc(["setup", "--subnet", "10.77.0.0/29"]).succeeds();
        let skeleton = host.paths().skeletons().join("user/provision/etc/who.tera");
        fs::create_dir_all(skeleton.parent().unwrap()).unwrap();
        fs::write(skeleton, "{{ reservation.name }}").unwrap();
        host.start("web");
        host.appc(["set", "web", "--egress", "none"]).succeeds();
        write(host, "then");
        kill_at_each_step(
            host,
            2,
            &["clone", "web", "copy"],
            |_| {},
            |step, done| {
                assert_eq!(host.appc(["-c", "web", "exec", "--", "cat", "/srv/then/2"]).succeeds(), "then");
                if step % 3 == 1 && done.code == 137 && !host.containers().contains(&"copy".to_owned()) {
                    // What is left of it is in nobody's way.
                    eventually("it can be made", || (host.appc(["clone", "web", "copy"]).code == 0).then_some(()));
                }
                clear_up(host);
                if host.containers().contains(&"copy".to_owned()) {
                    assert_eq!(written(host, "copy"), "3 then then");
                    assert_eq!(host.in_container("copy", ["cat", "/etc/who"]).succeeds(), "copy");
                    assert_eq!(host.inspect("copy")["network"]["egress"], host.inspect("web")["network"]["egress"]);
                    host.appc(["rm", "copy"]).succeeds();
                }
                assert_eq!(host.containers(), ["web"]);
                // The start that was to put in the skeleton's files may still be under way, and is left alone until it is over.
                eventually("nothing of it is left", || {
                    host.appc(["gc"]).succeeds();
                    (fs::read_dir(host.paths().raw_overlays()).unwrap().count() == 1).then_some(())
                });
            },
        );
        for n in 0..4 {
            host.provision(&format!("c{n}"));
        }
    });
}

#[test]
fn killed_while_it_removes_a_snapshot() {
    in_sandbox_for(LONG, |host| {
        host.provision("web");
        write(host, "then");
        kill_at_each_step(
            host,
            1,
            &["snapshot", "rm", "web", "a"],
            |_| {
                if snapshots(host).is_empty() {
                    host.appc(["snapshot", "web", "a"]).succeeds();
                }
            },
            |_, _| {
                clear_up(host);
                assert_eq!(on_disk(host), snapshots(host));
                if !snapshots(host).is_empty() {
                    host.appc(["restore", "web", "a"]).succeeds();
                    assert_eq!(written(host, "web"), "3 then then");
                }
            },
        );
    });
}
