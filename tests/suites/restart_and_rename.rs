//! What a container keeps over a restart and under another name, and what it takes on the disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, io::Write, os::unix::fs::MetadataExt, path::Path, time::Instant};

use appcontainers_tests::{Host, LIMIT, Running, eventually, in_sandbox};
use serde_json::json;

fn status(host: &Host, name: &str) -> String {
    host.inspect(name)["status"].as_str().unwrap().to_owned()
}

fn add_startup_command(host: &Host, name: &str, line: &str) {
    host.appc(["-c", name, "startup-command", "add", line]).succeeds();
}

/// `app.aimg`, from which ephemeral containers are made.
fn image(host: &Host) {
    host.provision("maker");
    host.sh_in("maker", "echo from the image > /root/file").succeeds();
    host.appc(["-c", "maker", "save-image", "app.aimg"]).succeeds();
    host.appc(["rm", "maker"]).succeeds();
}

fn ephemeral(host: &Host, name: &str) {
    host.appc(["load-image", "app.aimg", "--ephemeral", "--name", name]).succeeds();
}

/// The address and the MAC of the container's interface, as seen from inside.
fn seen_inside(host: &Host, name: &str) -> (String, String) {
    let ip = host.sh_in(name, "ip -4 addr show dev eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'").succeeds();
    (ip, host.in_container(name, ["cat", "/sys/class/net/eth0/address"]).succeeds())
}

#[test]
fn a_restart_keeps_address_mac_ids_and_files() {
    in_sandbox(|host| {
        host.provision("other");
        host.start("web");
        host.sh_in("web", "echo kept > /root/file; sleep 1000 &").succeeds();
        let before = host.inspect("web");
        host.appc(["rm", "other"]).succeeds();
        host.appc(["restart", "web"]).succeeds();
        let after = host.inspect("web");
        for key in ["ip", "mac", "id_range", "hostname", "status"] {
            assert_eq!(before[key], after[key], "{key}");
        }
        let (ip, mac) = seen_inside(host, "web");
        assert_eq!((json!(ip), json!(mac)), (after["ip"].clone(), after["mac"].clone()));
        assert_eq!(host.in_container("web", ["cat", "/root/file"]).succeeds(), "kept");
        assert!(!host.in_container("web", ["ps"]).succeeds().contains("sleep 1000"));
        // Of one that is stopped it is a start.
        host.appc(["stop", "web"]).succeeds();
        host.appc(["restart", "web"]).succeeds();
        assert_eq!(status(host, "web"), "running");
    });
}

#[test]
fn an_ephemeral_container_outlives_a_restart_and_no_stop() {
    in_sandbox(|host| {
        image(host);
        ephemeral(host, "guest");
        host.appc(["start", "guest"]).succeeds();
        host.sh_in("guest", "echo new > /root/new").succeeds();
        let before = host.inspect("guest");
        for _ in 0..2 {
            host.appc(["restart", "guest"]).succeeds();
            assert_eq!(host.in_container("guest", ["cat", "/root/new"]).succeeds(), "new");
        }
        assert_eq!(host.inspect("guest"), before);
        host.appc(["stop", "guest"]).succeeds();
        assert!(host.containers().is_empty());
    });
}

#[test]
fn a_renamed_container_keeps_files_reservation_and_its_place_in_the_session() {
    in_sandbox(|host| {
        host.provision("other");
        host.provision("web");
        add_startup_command(host, "web", "echo started > /root/started");
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

fn start(host: &Host, arguments: &[&str]) -> Running {
    let mut command = host.command("appc");
    command.args(arguments);
    host.start_command(command, LIMIT)
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
        for moment in 0..24 {
            start(host, &["rename", name, other]).kill_after(usual * moment / 20);
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

#[test]
fn a_start_keeps_a_container_that_a_command_holds() {
    in_sandbox(|host| {
        host.provision("web");
        add_startup_command(host, "web", "echo started > /root/started");
        let mut running = host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", "echo ready; read line; echo bye"]);
        running.read_until("ready\n");
        host.in_container("web", ["ls", "/root/started"]).fails(1);
        host.appc(["start", "web"]).succeeds();
        host.appc(["start", "web"]).refuses(1, &["web", "already"]);
        running.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        assert_eq!(running.wait().succeeds(), "bye");
        assert_eq!(status(host, "web"), "running");
        eventually("the startup command", || {
            (host.in_container("web", ["cat", "/root/started"]).text() == "started").then_some(())
        });
        assert_eq!(status(host, "web"), "running");
    });
}

/// The size of one kind of thing, and how much of it nothing needs.
fn usage(host: &Host, kind: &str) -> (u64, u64, u64) {
    let parts = host.json(["df"])["parts"].clone();
    let part = parts.as_array().unwrap().iter().find(|part| part["kind"] == kind).unwrap().clone();
    let number = |key: &str| part[key].as_u64().unwrap();
    (number("count"), number("size_bytes"), number("reclaimable_bytes"))
}

#[test]
fn df_and_gc_count_what_is_on_the_disk() {
    in_sandbox(|host| {
        image(host);
        host.start("web");
        host.sh_in("web", "head -c 3000000 /dev/urandom > /root/noise").succeeds();
        let layers: Vec<_> = fs::read_dir(host.paths().layers())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().size())
            .collect();
        // The layer of the image that was saved has no name in the store.
        let unnamed = host.json(["gc", "--dry-run"]);
        let unnamed = unnamed.as_array().unwrap().iter().find(|item| item["kind"] == "layer").unwrap();
        let unnamed = unnamed["bytes"].as_u64().unwrap();
        assert_eq!(usage(host, "layers"), (layers.len() as u64, layers.iter().sum(), unnamed));
        assert!(layers.contains(&unnamed));
        let (count, size, _) = usage(host, "overlays");
        assert_eq!(count, 1);
        assert!((3_000_000..4_000_000).contains(&size), "{size}");
        assert_eq!(usage(host, "logs").0, 1);
        // A dry run drops nothing, gc what the dry run said, and after it there is nothing.
        let said = host.json(["gc", "--dry-run"]);
        assert_eq!(usage(host, "layers").0, layers.len() as u64);
        assert_eq!(host.json(["gc"]), said);
        assert_eq!(usage(host, "layers"), (1, layers.iter().sum::<u64>() - unnamed, 0));
        assert_eq!(host.json(["gc"]), json!([]));
        assert_eq!(host.appc(["gc"]).succeeds(), "");
        // A container's layers are no garbage, running or stopped.
        assert_eq!(host.sh_in("web", "wc -c < /root/noise").succeeds(), "3000000");
    });
}
