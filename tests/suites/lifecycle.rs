//! A container's life: start, stop, restart, rename, remove, and what the listings say of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use appcontainers_tests::{Archive, Host, LIMIT, Running, eventually, in_sandbox};
use serde_json::{Value, json};

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

#[test]
fn a_container_starts_and_stops_again_and_again_and_keeps_its_files() {
    in_sandbox(|host| {
        host.provision("web");
        for round in 0..3 {
            assert_eq!(status(host, "web"), "stopped");
            host.appc(["start", "web"]).succeeds();
            assert_eq!(status(host, "web"), "running");
            host.appc(["start", "web"]).refuses(1, &["web", "already"]);
            host.sh_in("web", "echo >> /root/rounds").succeeds();
            host.appc(["stop", "web"]).succeeds();
            // One that is stopped stays so.
            host.appc(["stop", "web"]).succeeds();
            assert_eq!(host.sh_in("web", "wc -l < /root/rounds").succeeds(), (round + 1).to_string());
        }
    });
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
fn an_ephemeral_container_is_gone_after_its_first_stop() {
    in_sandbox(|host| {
        image(host);
        ephemeral(host, "guest");
        assert_eq!(host.inspect("guest")["overlay"], "tmp");
        assert_eq!(status(host, "guest"), "stopped");
        host.appc(["start", "guest"]).succeeds();
        host.sh_in("guest", "echo new > /root/new").succeeds();
        host.appc(["stop", "guest"]).succeeds();
        assert!(host.containers().is_empty());
        assert_eq!(entries(&host.paths().tmp_overlays()), [""; 0]);
        host.appc(["start", "guest"]).refuses(1, &["guest"]);
        // The name is free, and what was written is gone.
        ephemeral(host, "guest");
        assert_eq!(host.sh_in("guest", "cat file; ls").succeeds(), "from the image\nfile");
        assert!(host.containers().is_empty(), "a command starts the container and, at its end, stops it");
    });
}

fn entries(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
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
fn rm_refuses_a_running_container_unless_forced_and_frees_what_it_held() {
    in_sandbox(|host| {
        host.start("web");
        host.appc(["rm", "web"]).refuses(1, &["web", "running", "appc stop"]);
        assert_eq!(host.in_container("web", ["echo", "here"]).succeeds(), "here");
        host.appc(["rm", "-f", "web"]).succeeds();
        assert!(host.containers().is_empty());
        assert_eq!(entries(&host.paths().raw_overlays()), [""; 0]);
        assert_eq!(entries(&host.paths().containers()), [""; 0]);
        // It needs a name, also where a current container is known.
        host.provision("web");
        assert_eq!(host.sh_in("web", "ls /root").succeeds(), "");
        host.appc(["rm"]).fails(2);
        host.appc(["rm", "-f"]).fails(2);
        assert_eq!(host.containers(), ["web"]);
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
fn startup_commands_run_at_every_start_in_their_order() {
    in_sandbox(|host| {
        host.provision("web");
        add_startup_command(host, "web", "echo one >> /root/log; exec sleep 1000");
        add_startup_command(host, "web", "echo unwanted >> /root/log");
        host.appc(["-c", "web", "add-startup-command", "sh", "-c", "echo \"two words\" >> /root/log"]).succeeds();
        let listed = host.json(["-c", "web", "startup-command", "ls"]);
        assert_eq!(listed[0], json!({ "index": 1, "command": "echo one >> /root/log; exec sleep 1000" }));
        assert_eq!(listed[2]["command"], "sh -c 'echo \"two words\" >> /root/log'");
        host.appc(["-c", "web", "startup-command", "rm", "4"]).refuses(1, &["4", "web"]);
        host.appc(["-c", "web", "startup-command", "rm", "0"]).fails(2);
        host.appc(["-c", "web", "startup-command", "rm", "2"]).succeeds();
        let text = host.appc(["-c", "web", "startup-command", "ls"]).succeeds();
        let numbers: Vec<_> = text.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(numbers, ["1", "2"]);
        for round in 1..=2 {
            host.appc(["start", "web"]).succeeds();
            // They run beside each other: `start` does not wait for their ends.
            eventually("all have run", || {
                let log = host.in_container("web", ["sort", "/root/log"]).text();
                (log == [vec!["one"; round], vec!["two words"; round]].concat().join("\n")).then_some(())
            });
            assert!(host.in_container("web", ["ps"]).succeeds().contains("sleep 1000"));
            host.appc(["stop", "web", "--timeout", "1"]).succeeds();
        }
        host.appc(["-c", "web", "startup-command", "add", ""]).refuses(1, &["startup command"]);
        host.appc(["-c", "web", "startup-command", "add", "echo a\nb"]).refuses(1, &["startup command"]);
    });
}

#[test]
fn what_startup_commands_say_is_in_the_containers_log() {
    in_sandbox(|host| {
        host.provision("web");
        add_startup_command(host, "web", "echo hello from $(hostname); echo trouble >&2");
        host.appc(["start", "web"]).succeeds();
        let log = host.paths().container_log(&"web".parse().unwrap());
        eventually("both lines are logged", || {
            let files = fs::read_dir(&log).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
            let text = String::from_utf8_lossy(&files.collect::<Vec<_>>().concat()).into_owned();
            (text.contains("hello from web\n") && text.contains("trouble\n")).then_some(())
        });
    });
}

#[test]
fn a_startup_command_that_fails_leaves_the_container_running() {
    in_sandbox(|host| {
        host.provision("web");
        add_startup_command(host, "web", "exit 3");
        add_startup_command(host, "web", "/no/such/program");
        host.appc(["start", "web"]).succeeds();
        assert_eq!(host.in_container("web", ["echo", "here"]).succeeds(), "here");
    });
}

#[test]
fn stop_asks_first_and_kills_what_does_not_listen() {
    in_sandbox(|host| {
        host.provision("web");
        add_startup_command(
            host,
            "web",
            "trap 'echo asked > /root/asked; exit' TERM; while :; do sleep 1000 & wait; done",
        );
        add_startup_command(host, "web", "trap '' TERM; echo deaf > /root/deaf; while :; do sleep 1000; done");
        host.appc(["start", "web"]).succeeds();
        eventually("both are there", || {
            let started = host.in_container("web", ["cat", "/root/deaf"]).text();
            let processes = host.in_container("web", ["ps"]).text();
            (started == "deaf" && processes.matches("sleep 1000").count() >= 2).then_some(())
        });
        let begin = Instant::now();
        host.appc(["stop", "web", "--timeout", "1"]).succeeds();
        assert!(begin.elapsed() >= Duration::from_secs(1), "what does not listen has its time");
        assert_eq!(status(host, "web"), "stopped");
        assert_eq!(host.in_container("web", ["cat", "/root/asked"]).succeeds(), "asked");
        host.appc(["stop", "web", "--timeout", "soon"]).fails(2);
        host.appc(["stop", "web", "--timeout", "-1"]).fails(2);
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

#[test]
fn a_name_that_no_container_has_is_said_with_what_to_do() {
    in_sandbox(|host| {
        Archive::new().file("file", b"").write(host.file("app.tar"));
        for set_up in [false, true] {
            if set_up {
                host.appc(["setup"]).succeeds();
            }
            for (code, command) in [
                (1, &["start", "ghost"][..]),
                (1, &["stop", "ghost"]),
                (1, &["restart", "ghost"]),
                (1, &["rm", "ghost"]),
                (1, &["rm", "-f", "ghost"]),
                (1, &["rename", "ghost", "new"]),
                (1, &["inspect", "ghost"]),
                (1, &["diff", "ghost"]),
                (1, &["-c", "ghost", "save-image", "x.aimg"]),
                (1, &["-c", "ghost", "load-archive", "app.tar"]),
                (1, &["-c", "ghost", "startup-command", "ls"]),
                (1, &["-c", "ghost", "startup-command", "add", "true"]),
                (125, &["-c", "ghost", "run", "--", "true"]),
            ] {
                host.appc(command).refuses(code, &["ghost", "appc ls"]);
            }
            assert!(!host.file("x.aimg").exists());
        }
        // And without any name.
        for command in [&["start"][..], &["stop"], &["inspect"], &["diff"], &["save-image", "x.aimg"]] {
            host.appc(command).refuses(1, &["no container", "-c NAME", "appc provision"]);
        }
    });
}

#[test]
fn every_listing_is_json_when_it_is_asked_for() {
    in_sandbox(|host| {
        image(host);
        let announced = host.json(["provision", "--name", "web"]);
        assert_eq!(announced, json!({ "name": "web" }));
        let loaded = host.json(["load-image", "app.aimg", "--name", "loaded"]);
        assert_eq!(loaded, json!({ "name": "loaded" }));
        add_startup_command(host, "web", "true");
        host.sh_in("web", "echo > /root/new; rm /bin/ls").succeeds();
        for (command, is_array) in [
            (&["ls"][..], true),
            (&["inspect", "web"], false),
            (&["diff", "web"], true),
            (&["-c", "web", "startup-command", "ls"], true),
            (&["base", "ls"], true),
            (&["image", "ls"], true),
            (&["image", "inspect", "app.aimg"], false),
            (&["image", "inspect", "busybox"], false),
            (&["doctor"], true),
            (&["gc", "--dry-run"], true),
            (&["gc"], true),
            (&["setup"], true),
        ] {
            let value = host.json(command);
            assert!(if is_array { value.is_array() } else { value.is_object() }, "{command:?}: {value}");
        }
        assert!(host.json(["df"])["parts"].is_array());
        assert_eq!(host.json(["ls"])[1], host.inspect("web"));
        // The option may stand after the command too.
        let after: Value = serde_json::from_str(&host.appc(["ls", "--json"]).succeeds()).unwrap();
        assert_eq!(after, host.json(["ls"]));
    });
}

#[test]
fn ls_is_a_table_with_a_line_for_each_container() {
    in_sandbox(|host| {
        assert_eq!(host.json(["ls"]), json!([]));
        host.start("web");
        host.provision("api");
        let text = host.appc(["ls"]).succeeds();
        let rows: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let ip = |name: &str| host.inspect(name)["ip"].as_str().unwrap().to_owned();
        assert_eq!(rows[0], ["NAME", "STATUS", "ADDRESS", "IMAGE", "CREATED"]);
        assert_eq!(rows[1][..4], ["api", "stopped", &ip("api"), "busybox"]);
        assert_eq!(rows[2][..4], ["web", "running", &ip("web"), "busybox"]);
        assert_eq!(rows.len(), 3);
        let inspected = host.appc(["inspect", "web"]).succeeds();
        assert!(inspected.contains(&ip("web")) && inspected.contains("running"), "{inspected}");
    });
}

#[test]
fn diff_says_what_was_added_modified_and_deleted() {
    in_sandbox(|host| {
        host.provision("web");
        assert_eq!(host.appc(["diff", "web"]).succeeds(), "");
        host.sh_in("web", "mkdir -p /srv/app; echo > /srv/app/file; echo x >> /etc/passwd; rm /etc/group").succeeds();
        host.sh_in("web", "ln -s file /srv/app/link; echo > /tmp/x; rm /tmp/x; touch /run/only-now").succeeds();
        let text = host.appc(["diff", "web"]).succeeds();
        let lines: Vec<_> = text.lines().collect();
        for line in ["A /srv/app/file", "A /srv/app/link", "M /etc/passwd", "D /etc/group"] {
            assert!(lines.contains(&line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("/tmp/x") && !text.contains("/run/") && !text.contains("/dev/"), "{text}");
        // And of one that runs.
        host.appc(["start", "web"]).succeeds();
        host.sh_in("web", "echo > /srv/late").succeeds();
        let now = host.appc(["diff", "web"]).succeeds();
        assert!(now.lines().any(|line| line == "A /srv/late"), "{now}");
        for file in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
            assert!(!now.contains(file), "{file} is shown by a mount and is no change\n{now}");
        }
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
