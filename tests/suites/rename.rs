//! `appc rename`: everything follows, whatever moment it is killed at.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path, time::Instant};

use appcontainers_tests::{LIMIT, eventually, in_sandbox, tries};
use serde_json::json;

#[test]
fn a_renamed_container_keeps_files_reservation_and_its_place_in_the_session() {
    in_sandbox(|host| {
        host.provision("other");
        host.provision("web");
        host.appc(["-c", "web", "startup-command", "add", "echo started > /root/started"]).succeeds();
        host.sh_in("web", "echo kept > /root/file").succeeds();
        let mut before = host.inspect("web");
        host.appc(["rename", "web", "other"]).refuses(1, &["other", "taken"]);
        host.appc(["rename", "web", "A/b"]).fails(2);
        host.appc(["rename", "nosuch", "shop"]).refuses(1, &["nosuch"]);
        assert_eq!(host.inspect("web"), before);
        host.appc(["rename", "web", "shop"]).succeeds();
        before["name"] = json!("shop");
        before["hostname"] = json!("shop");
        assert_eq!(host.inspect("shop"), before);
        assert_eq!(host.containers(), ["other", "shop"]);
        host.appc(["inspect", "web"]).refuses(1, &["web"]);
        // It was this session's current one.
        assert_eq!(host.appc(["run", "--", "sh", "-c", "hostname; cat /root/file"]).succeeds(), "shop\nkept");
        // By that alone it can be renamed too.
        host.appc(["rename", "web"]).succeeds();
        assert_eq!(host.appc(["run", "--", "cat", "/root/file"]).succeeds(), "kept");
        host.appc(["start", "web"]).succeeds();
        host.appc(["rename", "web", "late"]).refuses(1, &["web", "running"]);
        eventually("the startup command", || {
            (host.in_container("web", ["cat", "/root/started"]).text() == "started").then_some(())
        });
        // The old name is free.
        host.provision("shop");
    });
}

#[test]
fn a_chosen_host_name_stays_when_the_container_is_renamed() {
    in_sandbox(|host| {
        host.appc(["provision", "--name", "web", "--hostname", "front-1"]).succeeds();
        host.appc(["rename", "web", "shop"]).succeeds();
        assert_eq!(host.in_container("shop", ["hostname"]).succeeds(), "front-1");
    });
}

#[test]
fn no_lock_stays_of_a_name_that_no_container_has() {
    in_sandbox(|host| {
        host.start("web");
        host.appc(["stop", "web"]).succeeds();
        host.appc(["rename", "web", "shop"]).succeeds();
        host.appc(["start", "web"]).refuses(1, &["web"]);
        let locks = || {
            let entries = fs::read_dir(host.paths().locks()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        // What clears up after the start that was stopped takes the old name's lock once more, and removes it.
        eventually("the new name's lock is the only one", || (locks() == ["shop.lock"]).then_some(()));
        host.appc(["rm", "shop"]).succeeds();
        assert!(locks().is_empty());
    });
}

#[test]
fn a_renaming_that_was_killed_is_completed_or_never_was() {
    in_sandbox(|host| {
        host.provision("zeta");
        host.sh_in("zeta", "echo kept > /root/file").succeeds();
        let reserved = |name: &str| {
            let details = host.inspect(name);
            ["ip", "mac", "id_range"].map(|key| details[key].clone())
        };
        let before = reserved("zeta");
        let (mut name, mut other) = ("zeta", "alpha");
        let begin = Instant::now();
        host.appc(["rename", name, other]).succeeds();
        let usual = begin.elapsed();
        std::mem::swap(&mut name, &mut other);
        let rounds = tries(24);
        for moment in (0..24).step_by((24 / rounds) as usize) {
            let mut command = host.command("appc");
            command.args(["rename", name, other]);
            host.start_command(command, LIMIT).kill_after(usual * moment / 20);
            match moment % 4 {
                0 => drop(host.appc(["gc"]).succeeds()),
                1 => drop(host.appc(["inspect", other])),
                2 => drop(host.appc(["inspect", name])),
                _ => {}
            }
            let there = host.containers();
            assert!(there == [name] || there == [other], "{there:?}");
            if there == [other] {
                std::mem::swap(&mut name, &mut other);
            }
            assert_eq!(reserved(name), before);
            assert_eq!(host.in_container(name, ["cat", "/root/file"]).succeeds(), "kept");
            assert_eq!(host.appc(["run", "--", "hostname"]).succeeds(), name, "the current container");
            host.appc(["inspect", other]).refuses(1, &[other]);
        }
    });
}

/// Every step of a renaming that can be the last one, made by hand.
#[test]
fn the_next_command_completes_a_renaming_from_each_of_its_steps() {
    in_sandbox(|host| {
        let (containers, overlays) = (host.paths().containers(), host.paths().raw_overlays());
        let back = |directory: &Path| fs::rename(directory.join("alpha"), directory.join("zeta")).unwrap();
        for next in ["gc", "inspect", "ls", "provision", "start"] {
            for done in ["record", "reservation", "overlay"] {
                host.provision("zeta");
                host.sh_in("zeta", "echo kept > /root/file").succeeds();
                let ip = host.inspect("zeta")["ip"].clone();
                if done == "record" {
                    let record = containers.join("zeta/container.json");
                    let text = fs::read_to_string(&record).unwrap();
                    fs::write(&record, text.replace("\"zeta\"", "\"alpha\"")).unwrap();
                } else {
                    host.appc(["rename", "zeta", "alpha"]).succeeds();
                    back(&containers);
                }
                if done == "reservation" {
                    back(&overlays);
                }
                match next {
                    "inspect" => drop(host.inspect("alpha")),
                    "start" => host.appc(["start", "zeta"]).refuses(1, &["zeta", "appc ls"]),
                    // The old name is another container's now.
                    "provision" => {
                        host.provision("zeta");
                        assert_eq!(host.sh_in("zeta", "ls /root").succeeds(), "");
                        host.appc(["rm", "zeta"]).succeeds();
                    }
                    command => drop(host.appc([command]).succeeds()),
                }
                assert_eq!(host.containers(), ["alpha"]);
                assert_eq!(host.inspect("alpha")["ip"], ip);
                assert_eq!(host.in_container("alpha", ["cat", "/root/file"]).succeeds(), "kept");
                host.appc(["rm", "alpha"]).succeeds();
            }
        }
    });
}
