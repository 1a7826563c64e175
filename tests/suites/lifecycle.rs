//! Start, stop, restart, remove, and what listings say meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use appcontainers_tests::{Archive, Host, LIMIT, Running, eventually, in_sandbox};
use rustix::process::Signal;

fn status(host: &Host, name: &str) -> String {
    host.inspect(name)["status"].as_str().unwrap().to_owned()
}

fn spawn(host: &Host, words: &[&str]) -> Running {
    let mut command = host.command("appc");
    command.args(words);
    host.start_command(command, LIMIT)
}

fn save(host: &Host, name: &str, file: &str) {
    host.appc(["-c", name, "save-image", file]).succeeds();
}

#[test]
fn start_and_stop_and_start_again() {
    in_sandbox(|host| {
        host.provision("web");
        for _ in 0..3 {
            host.appc(["start", "web"]).succeeds();
            assert_eq!(status(host, "web"), "running");
            host.sh_in("web", "echo x >> file").succeeds();
            host.appc(["stop", "web"]).succeeds();
            assert_eq!(status(host, "web"), "stopped");
        }
        assert_eq!(host.in_container("web", ["wc", "-l", "file"]).succeeds(), "3 file");
        // Stopped is what was asked for.
        host.appc(["stop", "web"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        host.appc(["start", "web"]).refuses(1, &["web", "already running"]);
        assert_eq!(status(host, "web"), "running");
    });
}

#[test]
fn words_that_mean_no_container_are_refused_by_all() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        for command in ["start", "stop", "restart", "rm", "inspect", "diff"] {
            host.appc([command, "nosuch"]).refuses(1, &["nosuch"]);
        }
        host.appc(["rm"]).fails(2);
        assert_eq!(host.appc(["--json", "ls"]).succeeds(), "[]");
    });
}

#[test]
fn startup_commands_run_at_each_start_in_their_order() {
    in_sandbox(|host| {
        host.provision("web");
        let add = |line: &str| host.appc(["-c", "web", "add-startup-command", line]).succeeds();
        add("echo one $HOME >> /root/log");
        add("exec sleep 1234");
        host.appc(["-c", "web", "startup-command", "add", "sh", "-c", "echo 'three words' > /root/words"]).succeeds();
        let listed = host.json(["-c", "web", "startup-command", "ls"]);
        assert_eq!(listed.as_array().unwrap().len(), 3);
        assert_eq!(listed[1]["command"], "exec sleep 1234");
        host.appc(["start", "web"]).succeeds();
        eventually("startup commands", || {
            let ps = host.sh_in("web", "ps; cat log words").text();
            (ps.contains("sleep 1234") && ps.contains("one /root") && ps.contains("three words")).then_some(())
        });
        host.appc(["restart", "web"]).succeeds();
        eventually("startup commands once more", || (host.sh_in("web", "wc -l < log").text() == "2").then_some(()));
        host.appc(["stop", "web"]).succeeds();
        host.appc(["-c", "web", "startup-command", "rm", "1"]).succeeds();
        host.appc(["-c", "web", "startup-command", "rm", "9"]).refuses(1, &["9"]);
        host.appc(["start", "web"]).succeeds();
        assert_eq!(host.sh_in("web", "wc -l < log").succeeds(), "2");
        host.appc(["-c", "web", "startup-command", "add", "a\u{1}b"]).refuses(1, &["control character"]);
    });
}

#[test]
fn a_startup_command_that_fails_is_no_reason_not_to_run() {
    in_sandbox(|host| {
        host.provision("web");
        host.appc(["-c", "web", "startup-command", "add", "nosuchprogram"]).succeeds();
        host.appc(["-c", "web", "startup-command", "add", "exit 3"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        host.in_container("web", ["true"]).succeeds();
        assert_eq!(status(host, "web"), "running");
    });
}

#[test]
fn of_many_starts_at_once_one_wins() {
    in_sandbox(|host| {
        host.provision("web");
        for _ in 0..3 {
            let starts: Vec<_> = (0..6).map(|_| spawn(host, &["start", "web"])).collect();
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
        let running: Vec<_> = (0..25).map(|n| spawn(host, words[n % words.len()])).collect();
        for running in running {
            let done = running.wait();
            assert!(done.code <= 3 || done.code == 125 || done.code > 128, "{}", done.transcript());
        }
        host.appc(["stop", "web", "--timeout", "1"]).succeeds();
        assert_eq!(status(host, "web"), "stopped");
        host.in_container("web", ["true"]).succeeds();
    });
}

#[test]
fn stopping_asks_first_and_kills_after_the_timeout() {
    in_sandbox(|host| {
        host.provision("web");
        let add = |line: &str| host.appc(["-c", "web", "startup-command", "add", line]).succeeds();
        add("trap 'echo asked > /root/asked; exit 0' TERM; touch /root/ready1; while :; do sleep 1000 & wait; done");
        add("trap '' TERM; touch /root/ready2; while :; do sleep 1000; done");
        host.appc(["start", "web"]).succeeds();
        eventually("both run", || (host.sh_in("web", "ls ready1 ready2").code == 0).then_some(()));
        let before = std::time::Instant::now();
        host.appc(["stop", "web", "--timeout", "1"]).succeeds();
        assert!(before.elapsed().as_millis() >= 1000, "it was not given its second");
        assert_eq!(status(host, "web"), "stopped");
        assert_eq!(host.in_container("web", ["cat", "/root/asked"]).succeeds(), "asked");
        host.appc(["start", "web"]).succeeds();
        host.appc(["stop", "web", "--timeout", "0"]).succeeds();
        assert_eq!(status(host, "web"), "stopped");
    });
}

#[test]
fn a_container_that_runs_is_removed_only_by_force() {
    in_sandbox(|host| {
        host.start("web");
        host.appc(["rm", "web"]).refuses(1, &["web", "running"]);
        host.in_container("web", ["true"]).succeeds();
        host.appc(["rm", "-f", "web"]).succeeds();
        assert!(host.containers().is_empty());
        host.appc(["rm", "-f", "web"]).refuses(1, &["web"]);
        assert!(!host.paths().raw_overlays().join("web").exists());
        // All of it is free again.
        host.provision("web");
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

fn shop(host: &Host) {
    Archive::new().program("shop", "#!/bin/sh\necho open\n").write(host.file("shop.tar"));
    host.provision("maker");
    host.appc(["-c", "maker", "load-archive", "shop.tar"]).succeeds();
    save(host, "maker", "shop.aimg");
}

#[test]
fn an_ephemeral_container_is_gone_after_its_first_stop() {
    in_sandbox(|host| {
        shop(host);
        assert_eq!(host.appc(["load-image", "shop.aimg", "--ephemeral", "--name", "guest"]).succeeds(), "guest");
        assert_eq!(host.inspect("guest")["overlay"], "tmp");
        host.appc(["-c", "guest", "add-startup-command", "./shop > said"]).succeeds();
        host.appc(["start", "guest"]).succeeds();
        eventually("the startup command", || {
            (host.in_container("guest", ["cat", "said"]).text() == "open").then_some(())
        });
        host.appc(["restart", "guest"]).succeeds();
        assert_eq!(host.in_container("guest", ["ls", "said"]).succeeds(), "said", "a restart is no stop");
        host.appc(["stop", "guest"]).succeeds();
        assert_eq!(host.containers(), ["maker"]);
        host.appc(["start", "guest"]).refuses(1, &["guest"]);
        assert_eq!(fs::read_dir(host.paths().tmp_overlays()).unwrap().count(), 0);
        // Its name and address are free.
        assert_eq!(host.appc(["load-image", "shop.aimg", "--ephemeral", "--name", "guest"]).succeeds(), "guest");
        assert_eq!(host.in_container("guest", ["./shop"]).succeeds(), "open");
        eventually("it goes with its last command", || (host.containers() == ["maker"]).then_some(()));
    });
}

#[test]
fn an_ephemeral_container_that_never_ran_is_removed_by_name() {
    in_sandbox(|host| {
        shop(host);
        host.appc(["load-image", "shop.aimg", "--ephemeral", "--name", "guest"]).succeeds();
        assert_eq!(status(host, "guest"), "stopped");
        host.appc(["rm", "guest"]).succeeds();
        assert_eq!(host.containers(), ["maker"]);
    });
}

#[test]
fn an_ephemeral_container_that_dies_by_itself_is_gone_too() {
    in_sandbox(|host| {
        shop(host);
        host.appc(["load-image", "shop.aimg", "--ephemeral", "--name", "guest"]).succeeds();
        host.appc(["start", "guest"]).succeeds();
        let record =
            fs::read_to_string(host.paths().container_run(&"guest".parse().unwrap()).join("start.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let find = |value: &serde_json::Value| value["init"]["pid"].as_i64();
        let pid =
            find(&record).or_else(|| record.as_object().unwrap().values().find_map(find)).expect("the init's pid");
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
        eventually("it is gone", || (host.containers() == ["maker"]).then_some(()));
        eventually("its overlay is gone", || {
            (fs::read_dir(host.paths().tmp_overlays()).unwrap().count() == 0).then_some(())
        });
    });
}

#[test]
fn diff_lists_what_was_added_changed_and_deleted() {
    in_sandbox(|host| {
        host.provision("web");
        assert_eq!(host.appc(["diff", "web"]).succeeds(), "");
        host.sh_in("web", "echo x > /root/new; echo y >> /etc/passwd; rm /bin/vi; mkdir /srv2; touch /srv2/a")
            .succeeds();
        let said = host.appc(["diff", "web"]).succeeds();
        let lines: Vec<_> = said.lines().collect();
        for wanted in ["A /root/new", "M /etc/passwd", "D /bin/vi", "A /srv2", "A /srv2/a"] {
            assert!(lines.contains(&wanted), "{wanted} is missing: {said}");
        }
        assert!(!said.contains("hosts") && !said.contains(".appc") && !said.contains("/proc"), "{said}");
        let listed = host.json(["diff", "web"]);
        assert_eq!(listed.as_array().unwrap().len(), lines.len());
    });
}

#[test]
fn listings_and_their_json_agree() {
    in_sandbox(|host| {
        shop(host);
        host.start("web");
        let table = host.appc(["ls"]).succeeds();
        let listing = host.json(["ls"]);
        for one in listing.as_array().unwrap() {
            let line = table.lines().find(|line| line.starts_with(one["name"].as_str().unwrap())).unwrap();
            assert!(
                line.contains(one["status"].as_str().unwrap()) && line.contains(one["ip"].as_str().unwrap()),
                "{line}"
            );
        }
        assert_eq!(host.inspect("web"), *listing.as_array().unwrap().iter().find(|one| one["name"] == "web").unwrap());
        for words in [&["base", "ls"][..], &["image", "ls"], &["gc", "--dry-run"], &["base", "recipes"], &["doctor"]] {
            assert!(host.json(words).is_array(), "{words:?}");
        }
        let usage = host.json(["df"])["parts"].clone();
        let layers = usage.as_array().unwrap().iter().find(|part| part["kind"] == "layers").unwrap();
        assert_eq!(layers["count"], 2);
        assert!(layers["size_bytes"].as_u64().unwrap() > 100_000);
    });
}

#[test]
fn output_of_startup_commands_is_kept() {
    in_sandbox(|host| {
        host.provision("web");
        host.appc(["-c", "web", "startup-command", "add", "echo said at start"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        eventually("its output in the log", || {
            let logs = host.sh(&format!("cat {}/*", host.paths().container_log(&"web".parse().unwrap()).display()));
            String::from_utf8_lossy(&logs.stdout).contains("said at start").then_some(())
        });
    });
}
