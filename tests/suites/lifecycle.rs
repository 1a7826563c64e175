//! A container's life: start, stop, restart, startup commands, remove.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    time::{Duration, Instant},
};

use appcontainers_tests::{Archive, Host, LIMIT, Running, allowed, eventually, in_sandbox};
use rustix::process::{Signal, kill_process};
use serde_json::json;

/// `app.aimg`, from which ephemeral containers are made.
fn image(host: &Host) {
    host.app_image(|maker| drop(host.sh_in(maker, "echo from the image > /root/file").succeeds()));
}

#[test]
fn a_container_starts_and_stops_again_and_again_and_keeps_its_files() {
    in_sandbox(|host| {
        host.provision("web");
        for round in 0..3 {
            assert_eq!(host.status("web"), "stopped");
            host.appc(["start", "web"]).succeeds();
            assert_eq!(host.status("web"), "running");
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
        assert_eq!(host.status("web"), "running");
    });
}

#[test]
fn an_ephemeral_container_is_gone_after_its_first_stop() {
    in_sandbox(|host| {
        image(host);
        host.ephemeral("guest");
        assert_eq!(host.inspect("guest")["overlay"], "tmp");
        assert_eq!(host.status("guest"), "stopped");
        host.appc(["start", "guest"]).succeeds();
        host.sh_in("guest", "echo new > /root/new").succeeds();
        host.appc(["stop", "guest"]).succeeds();
        assert!(host.containers().is_empty());
        assert_eq!(entries(&host.paths().tmp_overlays()), [""; 0]);
        host.appc(["start", "guest"]).refuses(1, &["guest"]);
        // The name is free, and what was written is gone.
        host.ephemeral("guest");
        assert_eq!(host.sh_in("guest", "cat file; ls").succeeds(), "from the image\nfile");
        assert!(host.containers().is_empty(), "a command starts the container and, at its end, stops it");
    });
}

fn entries(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn restarts_at_once_all_end_with_a_container_that_runs() {
    in_sandbox(|host| {
        host.start("web");
        let words = [&["restart", "web", "--timeout", "0"][..], &["reboot", "web", "--fresh", "--timeout", "0"]];
        let all: Vec<_> = (0..6).map(|one| host.spawn("appc", words[one % 2].iter().copied())).collect();
        for one in all {
            one.wait().succeeds();
        }
        assert_eq!(host.status("web"), "running");
    });
}

#[test]
fn an_ephemeral_container_outlives_a_restart_and_no_stop() {
    in_sandbox(|host| {
        image(host);
        host.ephemeral("guest");
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

/// A file that every container made by `phase` (`provision`, `load`) gets.
fn skeleton(host: &Host, phase: &str, template: &str) {
    let path = host.paths().skeletons().join(format!("user/{phase}/etc/greeting.tera"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, template).unwrap();
}

#[test]
fn a_fresh_reboot_drops_what_was_written_and_keeps_all_else() {
    in_sandbox(|host| {
        image(host);
        skeleton(host, "provision", "provisioned at {{ reservation.ip }}");
        skeleton(host, "load", "loaded at {{ reservation.ip }}");
        host.provision("web");
        host.appc(["load-image", "app.aimg", "--name", "kept"]).succeeds();
        host.ephemeral("guest");
        for (name, word, of_image) in
            [("web", "provisioned", ""), ("kept", "loaded", "file"), ("guest", "loaded", "file")]
        {
            host.add_startup_command(name, "echo started > /run/started");
            let changes = host.json(["-c", name, "diff"]);
            host.appc(["start", name]).succeeds();
            let before = host.inspect(name);
            host.sh_in(name, "echo mine > /root/mine; rm -f /root/file; echo x > /etc/greeting; rm /etc/passwd")
                .succeeds();
            for _ in 0..2 {
                host.appc(["reboot", name, "--fresh"]).succeeds();
                assert_eq!(host.inspect(name), before);
                assert_eq!(host.json(["-c", name, "diff"]), changes, "{name}");
                assert_eq!(host.sh_in(name, "ls -A /root").succeeds(), of_image, "{name}");
                let greeting = format!("{word} at {}", before["ip"].as_str().unwrap());
                assert_eq!(host.in_container(name, ["cat", "/etc/greeting"]).succeeds(), greeting);
                host.in_container(name, ["test", "-s", "/etc/passwd"]).succeeds();
                let (ip, mac) = seen_inside(host, name);
                assert_eq!((json!(ip), json!(mac)), (before["ip"].clone(), before["mac"].clone()));
                eventually("its startup command has run", || {
                    (host.in_container(name, ["cat", "/run/started"]).text() == "started").then_some(())
                });
            }
            // What is written now stays where nobody asks for less.
            host.sh_in(name, "echo new > /root/new").succeeds();
            host.appc(["reboot", name]).succeeds();
            assert_eq!(host.in_container(name, ["cat", "/root/new"]).succeeds(), "new");
            let overlay = host.paths().root().join("overlays").join(before["overlay"].as_str().unwrap()).join(name);
            let mut left = entries(&overlay);
            left.sort();
            assert_eq!(left, ["upper", "work"]);
        }
        let events = host.appc(["-c", "web", "--json", "events"]).succeeds();
        assert_eq!(events.matches(r#""kind":"renew""#).count(), 2, "{events}");
        // An ephemeral container goes with its stop, as ever.
        host.appc(["stop", "guest"]).succeeds();
        assert_eq!(host.containers(), ["kept", "web"]);
        // Of one that is stopped it is a start.
        host.appc(["stop", "web"]).succeeds();
        host.appc(["reboot", "web", "--fresh", "--time", "3"]).succeeds();
        assert_eq!(host.status("web"), "running");
        assert_eq!(host.sh_in("web", "ls -A /root").succeeds(), "");
    });
}

#[test]
fn a_fresh_reboot_that_fails_leaves_the_container_as_it_was() {
    in_sandbox(|host| {
        image(host);
        host.start("web");
        host.ephemeral("guest");
        host.appc(["start", "guest"]).succeeds();
        for name in ["web", "guest"] {
            host.sh_in(name, "echo mine > /root/mine").succeeds();
        }
        let init = host.recorded_pid("web", "init");
        for phase in ["provision", "load"] {
            skeleton(host, phase, "{{ nothing.of.the.kind }}");
        }
        for name in ["web", "guest"] {
            host.appc(["reboot", name, "--fresh"]).refuses(1, &["greeting"]);
        }
        assert_eq!(host.recorded_pid("web", "init"), init, "it was stopped for nothing");
        // A file where the image has a directory: that is found only when the files are put there.
        for phase in ["provision", "load"] {
            skeleton(host, phase, "fine");
            let path = host.paths().skeletons().join(format!("user/{phase}/etc/passwd/inside"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        for name in ["web", "guest"] {
            host.appc(["reboot", name, "--fresh"]).refuses(1, &[name, "passwd"]);
            assert_eq!(host.status(name), "running");
            assert_eq!(host.in_container(name, ["cat", "/root/mine"]).succeeds(), "mine");
        }
        host.appc(["stop", "guest"]).succeeds();
        assert_eq!(host.containers(), ["web"]);
        host.appc(["reboot", "ghost", "--fresh"]).refuses(1, &["ghost"]);
    });
}

#[test]
fn an_ephemeral_container_that_never_ran_is_removed_by_name() {
    in_sandbox(|host| {
        image(host);
        host.ephemeral("guest");
        assert_eq!(host.status("guest"), "stopped");
        host.appc(["rm", "guest"]).succeeds();
        assert!(host.containers().is_empty());
    });
}

#[test]
fn an_ephemeral_container_that_dies_by_itself_is_gone_too() {
    in_sandbox(|host| {
        image(host);
        host.ephemeral("guest");
        host.appc(["start", "guest"]).succeeds();
        kill_process(host.recorded_pid("guest", "init").unwrap(), Signal::KILL).unwrap();
        eventually("it is gone", || host.containers().is_empty().then_some(()));
        eventually("its overlay is gone", || {
            (fs::read_dir(host.paths().tmp_overlays()).unwrap().count() == 0).then_some(())
        });
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
        // Its log goes with its last reader.
        eventually("its directory goes", || entries(&host.paths().containers()).is_empty().then_some(()));
        // It needs a name, also where a current container is known.
        host.provision("web");
        assert_eq!(host.sh_in("web", "ls /root").succeeds(), "");
        host.appc(["rm"]).fails(2);
        host.appc(["rm", "-f"]).fails(2);
        assert_eq!(host.containers(), ["web"]);
    });
}

#[test]
fn startup_commands_run_at_every_start_in_their_order() {
    in_sandbox(|host| {
        host.provision("web");
        host.add_startup_command("web", "echo one >> /root/log; exec sleep 1000");
        host.add_startup_command("web", "echo unwanted >> /root/log");
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
        host.add_startup_command("web", "echo hello from $(hostname); echo trouble >&2");
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
        host.add_startup_command("web", "exit 3");
        host.add_startup_command("web", "/no/such/program");
        host.appc(["start", "web"]).succeeds();
        assert_eq!(host.in_container("web", ["echo", "here"]).succeeds(), "here");
    });
}

#[test]
fn stop_asks_first_and_kills_what_does_not_listen() {
    in_sandbox(|host| {
        host.provision("web");
        host.add_startup_command(
            "web",
            "trap 'echo asked > /root/asked; exit' TERM; while :; do sleep 1000 & wait; done",
        );
        host.add_startup_command("web", "trap '' TERM; echo deaf > /root/deaf; while :; do sleep 1000; done");
        host.appc(["start", "web"]).succeeds();
        eventually("both are there", || {
            let started = host.in_container("web", ["cat", "/root/deaf"]).text();
            let processes = host.in_container("web", ["ps"]).text();
            (started == "deaf" && processes.matches("sleep 1000").count() >= 2).then_some(())
        });
        let begin = Instant::now();
        host.appc(["stop", "web", "--timeout", "1"]).succeeds();
        assert!(begin.elapsed() >= Duration::from_secs(1), "what does not listen has its time");
        assert_eq!(host.status("web"), "stopped");
        assert_eq!(host.in_container("web", ["cat", "/root/asked"]).succeeds(), "asked");
        host.appc(["stop", "web", "--timeout", "soon"]).fails(2);
        host.appc(["stop", "web", "--timeout", "-1"]).fails(2);
    });
}

#[test]
fn a_start_keeps_a_container_that_a_command_holds() {
    in_sandbox(|host| {
        host.provision("web");
        host.add_startup_command("web", "echo started > /root/started");
        let mut running = host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", "echo ready; read line; echo bye"]);
        running.read_until("ready\n");
        host.in_container("web", ["ls", "/root/started"]).fails(1);
        host.appc(["start", "web"]).succeeds();
        host.appc(["start", "web"]).refuses(1, &["web", "already"]);
        running.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        assert_eq!(running.wait().succeeds(), "bye");
        assert_eq!(host.status("web"), "running");
        eventually("the startup command", || {
            (host.in_container("web", ["cat", "/root/started"]).text() == "started").then_some(())
        });
        assert_eq!(host.status("web"), "running");
    });
}

fn start(host: &Host, arguments: &[&str]) -> Running {
    let mut command = host.command("appc");
    command.args(arguments);
    host.start_command(command, LIMIT)
}

#[test]
fn of_many_starts_at_once_one_wins() {
    in_sandbox(|host| {
        host.provision("web");
        for _ in 0..3 {
            let starts: Vec<_> = (0..6).map(|_| start(host, &["start", "web"])).collect();
            let mut won = 0;
            for start in starts {
                let done = start.wait();
                if done.code == 0 {
                    won += 1;
                } else {
                    done.refuses(1, &["web", "already running"]);
                }
            }
            assert_eq!(won, 1);
            host.in_container("web", ["true"]).succeeds();
            host.appc(["stop", "web"]).succeeds();
        }
    });
}

#[test]
fn starts_stops_and_runs_in_any_order_end_well() {
    in_sandbox(|host| {
        host.provision("web");
        let words: [&[&str]; 5] = [
            &["start", "web"],
            &["stop", "web", "--timeout", "1"],
            &["-c", "web", "run", "--", "true"],
            &["restart", "web", "--timeout", "1"],
            &["-c", "web", "run", "--", "sh", "-c", "exit 3"],
        ];
        let running: Vec<_> = (0..25).map(|n| start(host, words[n % words.len()])).collect();
        for running in running {
            let done = running.wait();
            assert!(done.code <= 3 || done.code == 125 || done.code > 128, "{}", done.transcript());
        }
        host.appc(["stop", "web", "--timeout", "1"]).succeeds();
        assert_eq!(host.status("web"), "stopped");
        host.in_container("web", ["true"]).succeeds();
    });
}

#[test]
fn a_container_can_be_removed_the_moment_a_command_in_it_has_ended() {
    in_sandbox(|host| {
        for n in 0..10 {
            let name = format!("c{n}");
            host.provision(&name);
            host.in_container(&name, ["true"]).succeeds();
            host.appc(["rm", &name]).succeeds();
        }
    });
}

#[test]
fn a_name_can_be_used_again_at_once() {
    in_sandbox(|host| {
        for n in 0..10 {
            host.provision("web");
            assert_eq!(host.sh_in("web", &format!("ls -A; echo {n} > file")).succeeds(), "");
            host.appc(["start", "web"]).succeeds();
            host.appc(["rm", "-f", "web"]).succeeds();
        }
    });
}

/// As after an update of appc: what it says to the monitor is understood by nobody.
#[test]
fn a_container_whose_monitor_is_of_another_version_is_left_alone_until_it_is_restarted() {
    in_sandbox(|host| {
        Archive::new().file("file", b"x").write(host.file("app.tar"));
        host.start("web");
        host.sh_in("web", "echo kept > /run/only-now").succeeds();
        let socket = host.paths().container_run(&"web".parse().unwrap()).join("client.sock");
        let real = socket.with_extension("real");
        fs::rename(&socket, &real).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        // Says which version it is and lets each client go that has said something.
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let ready = br#"{"type":"ready","wire":99,"init_pid":1}"#;
                let _ = client.write_all(&[&[ready.len() as u8, 0, 0, 0, 0, 0, 0, 0], &ready[..]].concat());
                let _ = client.read(&mut [0; 4096]);
            }
        });
        let begin = Instant::now();
        for (code, command) in [
            (125, &["-c", "web", "run", "--", "true"][..]),
            (1, &["start", "web"]),
            (1, &["-c", "web", "load-archive", "app.tar"]),
            (1, &["-c", "web", "save-image", "app.aimg"]),
        ] {
            host.appc(command).refuses(code, &["web", "version 99", "restart the container"]);
        }
        assert!(begin.elapsed() < allowed(Duration::from_secs(10)), "{:?}", begin.elapsed());
        assert_eq!(host.status("web"), "running");
        // It is the container that it was.
        let other = socket.with_extension("other");
        fs::rename(&socket, &other).unwrap();
        fs::rename(&real, &socket).unwrap();
        assert_eq!(host.in_container("web", ["cat", "/run/only-now"]).succeeds(), "kept");
        fs::rename(&other, &socket).unwrap();
        host.appc(["restart", "web"]).succeeds();
        assert_eq!(host.in_container("web", ["echo", "works"]).succeeds(), "works");
    });
}
