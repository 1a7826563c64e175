//! Containers that end and that nobody asked to: they are started again as their policy says, and the host stays quiet.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path, time::Duration};

use appcontainers_tests::{Host, clear_up, eventually, in_sandbox, in_sandbox_for, kill_at_each_step};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A test that lives through several back-offs.
const LONG: Duration = Duration::from_secs(240);

fn provision(host: &Host, name: &str, options: &[&str]) {
    let words = ["provision", "--name", name].into_iter().chain(options.iter().copied());
    host.appc(words).succeeds();
}

/// Kills the container's process 1, as a fault of its own would.
fn kill_init(host: &Host, name: &str) {
    let pid = host.recorded_pid(name, "init").unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    is_gone(pid);
}

/// Waits until a process that was killed has ended.
fn is_gone(pid: Pid) {
    let place = format!("/proc/{}", pid.as_raw_nonzero());
    eventually("it is gone", || (!Path::new(&place).join("exe").exists()).then_some(()));
}

/// LXC's monitor of a container.
fn lxc_monitor(host: &Host, name: &str) -> Pid {
    let init = host.recorded_pid(name, "init").unwrap();
    let status = fs::read_to_string(format!("/proc/{init}/status", init = init.as_raw_nonzero())).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    Pid::from_raw(parent.parse().unwrap()).unwrap()
}

fn events(host: &Host, name: &str, kind: &str) -> Vec<Value> {
    let lines = host.appc(["-c", name, "events", "--json"]).succeeds();
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["kind"] == kind).collect()
}

fn waits_for_restart(host: &Host, name: &str) -> Option<()> {
    let life = host.inspect(name)["life"].clone();
    (!life["next_restart"].is_null()).then_some(())
}

fn runs_again(host: &Host, name: &str, restarts: u64) {
    eventually("it runs again", || {
        let details = host.inspect(name);
        (details["status"] == "running" && details["life"]["restarts"] == restarts).then_some(())
    });
    // The start has come to its end.
    host.appc(["-c", name, "exec", "--", "true"]).succeeds();
}

/// Who waits to start a container again.
fn waiter(host: &Host, name: &str) -> Option<Pid> {
    let state = fs::read(host.paths().container(&name.parse().unwrap()).join("life.json")).ok()?;
    let state: Value = serde_json::from_slice(&state).ok()?;
    Pid::from_raw(state["next"]["waiter"]["pid"].as_i64()?.try_into().ok()?)
}

#[test]
fn a_container_whose_init_dies_is_started_again_with_its_startup_commands() {
    in_sandbox(|host| {
        provision(host, "web", &["--restart", "on-failure"]);
        host.add_startup_command("web", "echo started >> /root/starts; exec sleep 1000");
        host.appc(["start", "web"]).succeeds();
        eventually("its startup command runs", || {
            (host.sh_in("web", "cat /root/starts").text() == "started").then_some(())
        });
        kill_init(host, "web");
        runs_again(host, "web", 1);
        eventually("its startup command runs again", || {
            (host.sh_in("web", "cat /root/starts").text() == "started\nstarted").then_some(())
        });
        let life = host.inspect("web")["life"].clone();
        assert!(life["last_failure"].as_str().unwrap().contains("process 1 ended"), "{life}");
        assert!(life["next_restart"].is_null(), "{life}");
        let restarts = events(host, "web", "restart");
        assert_eq!(restarts.len(), 1);
        assert_eq!(restarts[0]["details"]["restarts"], 1);
        assert_eq!(events(host, "web", "fail").len(), 1);
        // What somebody asks for is no failure.
        host.appc(["stop", "web"]).succeeds();
        assert_eq!(host.status("web"), "stopped");
        assert!(host.inspect("web")["life"]["next_restart"].is_null());
        assert_eq!(events(host, "web", "fail").len(), 1);
    });
}

#[test]
fn a_container_without_a_policy_stays_where_it_fell() {
    in_sandbox(|host| {
        host.start("web");
        kill_init(host, "web");
        eventually("it is cleared up", || (!events(host, "web", "die").is_empty()).then_some(()));
        assert_eq!(host.status("web"), "stopped");
        assert!(events(host, "web", "restart").is_empty());
    });
}

#[test]
fn it_is_started_again_without_its_monitor_and_without_lxcs() {
    in_sandbox(|host| {
        provision(host, "web", &["--restart", "always"]);
        host.appc(["start", "web"]).succeeds();
        // The monitor first, so that it can't have a hand in it.
        host.kill_monitor("web");
        kill_init(host, "web");
        runs_again(host, "web", 1);
        // LXC's monitor takes the container with it, and its hook.
        kill_process(lxc_monitor(host, "web"), Signal::KILL).unwrap();
        runs_again(host, "web", 2);
        // Both: then it is the next command that finds it.
        let (lxc, own) = (lxc_monitor(host, "web"), host.recorded_pid("web", "monitor").unwrap());
        kill_process(own, Signal::KILL).unwrap();
        kill_process(lxc, Signal::KILL).unwrap();
        eventually("it is seen", || (host.status("web") == "stopped").then_some(()));
        host.appc(["gc"]).succeeds();
        runs_again(host, "web", 3);
    });
}

#[test]
fn startup_commands_that_all_fail_are_a_failure_and_those_that_end_well_are_none() {
    in_sandbox(|host| {
        provision(host, "web", &["--restart", "on-failure:2"]);
        host.add_startup_command("web", "true");
        host.add_startup_command("web", "exit 3");
        host.appc(["start", "web"]).succeeds();
        eventually("both have ended", || (events(host, "web", "process-exit").len() >= 2).then_some(()));
        assert_eq!(host.status("web"), "running");
        host.appc(["stop", "web"]).succeeds();
        host.appc(["-c", "web", "startup-command", "rm", "1"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        eventually("it is given up", || {
            let given_up =
                |event: &Value| event["details"]["error"].as_str().is_some_and(|why| why.contains("in a row"));
            events(host, "web", "fail").iter().any(given_up).then_some(())
        });
        let life = host.inspect("web")["life"].clone();
        assert_eq!((&life["restarts"], &life["next_restart"]), (&2.into(), &Value::Null), "{life}");
        assert!(life["last_failure"].as_str().unwrap().contains("ended with code 3"), "{life}");
        assert_eq!(host.status("web"), "stopped");
        assert_eq!(events(host, "web", "restart").len(), 2);
        // Somebody starts it: all is counted anew.
        host.appc(["start", "web"]).succeeds();
        eventually("it is started again", || (host.inspect("web")["life"]["restarts"] == 2).then_some(()));
    });
}

#[test]
fn a_restart_loop_slows_down_and_costs_next_to_nothing() {
    in_sandbox_for(LONG, |host| {
        provision(host, "web", &["--restart", "always"]);
        host.add_startup_command("web", "exit 1");
        host.appc(["start", "web"]).succeeds();
        eventually("it has failed some times", || (events(host, "web", "restart").len() >= 6).then_some(()));
        let pauses: Vec<_> =
            events(host, "web", "restart").iter().map(|event| event["details"]["pause_ms"].as_u64().unwrap()).collect();
        assert_eq!(pauses[..6], [100, 200, 400, 800, 1600, 3200]);
        // Each restart has waited so long.
        let times: Vec<jiff::Timestamp> = events(host, "web", "restart")
            .iter()
            .map(|event| event["time"].as_str().unwrap().parse().unwrap())
            .collect();
        for (at, pair) in times.windows(2).enumerate().take(5) {
            let waited = pair[1].duration_since(pair[0]).as_millis();
            assert!(waited >= i128::from(pauses[at + 1]), "{at}: {waited} ms");
        }
        // Who waits does nothing.
        eventually("it waits", || waits_for_restart(host, "web"));
        let pid = eventually("somebody waits", || waiter(host, "web")).as_raw_nonzero();
        let used = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let fields: Vec<u64> =
                stat.rsplit_once(')')?.1.split_ascii_whitespace().filter_map(|field| field.parse().ok()).collect();
            Some(fields[10] + fields[11])
        };
        let before = used();
        std::thread::sleep(Duration::from_secs(1));
        if let (Some(before), Some(after)) = (before, used()) {
            assert!(after - before <= 1, "{} ticks in a second of waiting", after - before);
        }
    });
}

#[test]
fn a_stop_a_start_or_a_removal_ends_the_wait() {
    in_sandbox_for(LONG, |host| {
        provision(host, "web", &["--restart", "always"]);
        host.add_startup_command("web", "exit 1");
        let wait = || {
            host.appc(["start", "web"]).succeeds();
            eventually("it has failed some times", || {
                (host.inspect("web")["life"]["failures"].as_u64() >= Some(4)).then_some(())
            });
            eventually("it waits", || {
                waits_for_restart(host, "web")?;
                waiter(host, "web")
            })
        };
        let pid = wait();
        host.appc(["stop", "web"]).succeeds();
        is_gone(pid);
        assert_eq!(
            (host.status("web").as_str(), host.inspect("web")["life"]["next_restart"].is_null()),
            ("stopped", true)
        );
        let pid = wait();
        host.appc(["-c", "web", "startup-command", "rm", "1"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        is_gone(pid);
        assert_eq!((host.status("web").as_str(), &host.inspect("web")["life"]["restarts"]), ("running", &0.into()));
        host.appc(["stop", "web"]).succeeds();
        host.add_startup_command("web", "exit 1");
        let pid = wait();
        host.appc(["rm", "-f", "web"]).succeeds();
        is_gone(pid);
        assert!(host.containers().is_empty());
    });
}

#[test]
fn a_wait_that_is_killed_is_gone_on_with_by_the_next_command() {
    in_sandbox_for(LONG, |host| {
        provision(host, "web", &["--restart", "always"]);
        host.add_startup_command("web", "exit 1");
        host.appc(["start", "web"]).succeeds();
        eventually("it has failed some times", || {
            (host.inspect("web")["life"]["failures"].as_u64() >= Some(5)).then_some(())
        });
        // Who clears up after the last start takes the place of one that is dead: perhaps it is only on its way.
        eventually("doctor says that nobody waits", || {
            let pid = waiter(host, "web")?;
            let _ = kill_process(pid, Signal::KILL);
            is_gone(pid);
            host.appc(["doctor"]).succeeds().contains("nobody waits any more to start these again: web").then_some(())
        });
        let before = host.inspect("web")["life"]["restarts"].as_u64().unwrap();
        host.appc(["gc"]).succeeds();
        eventually("it is started again", || {
            (host.inspect("web")["life"]["restarts"].as_u64() > Some(before)).then_some(())
        });
        host.appc(["set", "web", "--restart", "no"]).succeeds();
        host.appc(["stop", "web"]).succeeds();
    });
}

#[test]
fn a_policy_changes_live_and_an_ephemeral_container_has_none() {
    in_sandbox(|host| {
        host.start("web");
        host.appc(["set", "web", "--restart", "always"]).succeeds();
        kill_init(host, "web");
        runs_again(host, "web", 1);
        host.appc(["set", "web", "--restart", "no"]).succeeds();
        kill_init(host, "web");
        eventually("it is cleared up", || (events(host, "web", "die").len() == 2).then_some(()));
        assert_eq!(events(host, "web", "restart").len(), 1);
        host.appc(["-c", "web", "save-image", "app.aimg"]).succeeds();
        let refused = host.appc(["load-image", "app.aimg", "--ephemeral", "--restart", "always"]).fails(1);
        assert!(refused.contains("ephemeral"), "{refused}");
        assert_eq!(host.containers(), ["web"]);
    });
}

#[test]
fn the_hosts_boot_starts_always_and_unless_stopped_but_not_what_somebody_stopped() {
    in_sandbox(|host| {
        for (name, policy) in
            [("a", "always"), ("b", "always"), ("c", "unless-stopped"), ("d", "unless-stopped"), ("e", "on-failure")]
        {
            provision(host, name, &["--restart", policy]);
            host.appc(["start", name]).succeeds();
        }
        for name in ["b", "d"] {
            host.appc(["stop", name]).succeeds();
        }
        // As the host's shutdown does.
        host.appc(["stop", "--all"]).succeeds();
        host.appc(["start", "--autostart"]).succeeds();
        let status: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| host.status(name)).into();
        assert_eq!(status, ["running", "running", "running", "stopped", "stopped"]);
    });
}

#[test]
fn scripts_run_at_the_turns_of_its_life() {
    in_sandbox(|host| {
        let to = |what: &str| format!("echo {what} $APPC_FAILURE >> /root/turns");
        let (start, fail, stop) = (to("start"), to("fail"), to("stop"));
        provision(host, "web", &["--restart", "always", "--on-start", &start, "--on-fail", &fail, "--on-stop", &stop]);
        host.add_startup_command("web", "echo command >> /root/turns; exec sleep 1000");
        host.appc(["start", "web"]).succeeds();
        let turns = || host.appc(["-c", "web", "exec", "--", "cat", "/root/turns"]).text();
        eventually("it has begun", || (turns() == "start\ncommand").then_some(()));
        kill_init(host, "web");
        runs_again(host, "web", 1);
        let again = "start\ncommand\nfail its process 1 ended, and nobody had asked for that\nstart\ncommand";
        eventually("it has begun again", || (turns() == again).then_some(()));
        host.appc(["stop", "web"]).succeeds();
        host.appc(["set", "web", "--on-start", "", "--on-stop", ""]).succeeds();
        host.appc(["start", "web"]).succeeds();
        eventually("it has begun", || (turns() == format!("{again}\nstop\ncommand")).then_some(()));
        // What they are is seen with the other processes.
        let scripts = host.json(["-c", "web", "ps", "-a"]);
        assert!(scripts.as_array().unwrap().iter().any(|one| one["role"] == "script" && one["name"] == "on-stop"));
    });
}

#[test]
fn a_start_fails_with_its_script_and_a_stop_does_not_wait_for_its_script_for_ever() {
    in_sandbox(|host| {
        provision(host, "web", &["--on-start", "exit 7", "--restart", "always"]);
        let why = host.appc(["start", "web"]).fails(1);
        assert!(why.contains("on-start ended with code 7"), "{why}");
        assert_eq!(
            (host.status("web").as_str(), host.inspect("web")["life"]["next_restart"].is_null()),
            ("stopped", true)
        );
        host.appc(["set", "web", "--on-start", "", "--on-stop", "sleep 1000"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        host.appc(["stop", "web", "--timeout", "1"]).succeeds();
        assert_eq!(host.status("web"), "stopped");
        // A startup command that fails is told to the script, and nothing else happens without a policy.
        host.appc(["set", "web", "--on-stop", "", "--restart", "no", "--on-fail", "echo $APPC_FAILURE > /root/why"])
            .succeeds();
        host.add_startup_command("web", "exit 4");
        host.appc(["start", "web"]).succeeds();
        eventually("it is told", || {
            let why = host.appc(["-c", "web", "exec", "--", "cat", "/root/why"]).text().contains("ended with code 4");
            why.then_some(())
        });
        assert_eq!(host.status("web"), "running");
    });
}

#[test]
fn killed_while_it_changes_what_is_asked_of_a_running_container() {
    in_sandbox_for(LONG, |host| {
        host.start("web");
        let words = ["set", "web", "--restart", "always", "--health-cmd", "true", "--on-fail", "true", "--after", "db"];
        let asked = || host.inspect("web")["life"].clone();
        kill_at_each_step(
            host,
            3,
            &words,
            |_| {
                host.appc(["set", "web", "--restart", "no", "--no-health", "--on-fail", "", "--after", "none"])
                    .succeeds();
            },
            |_, _| {
                // All of it, or nothing.
                let life = asked();
                let whole = [life["restart"] == "always", life["health"].is_object(), life["after"][0] == "db"];
                assert!(whole == [true; 3] || whole == [false; 3], "{life}");
                host.appc(["-c", "web", "exec", "--", "true"]).succeeds();
            },
        );
        clear_up(host);
    });
}

#[test]
fn killed_while_it_stops_a_container_that_is_to_be_started_again() {
    in_sandbox_for(LONG, |host| {
        provision(host, "web", &["--restart", "always"]);
        host.add_startup_command("web", "exit 1");
        kill_at_each_step(
            host,
            2,
            &["stop", "web"],
            |_| {
                // It may run again already, after the last round.
                host.appc(["stop", "web"]).succeeds();
                host.appc(["start", "web"]).succeeds();
                eventually("it has failed some times", || {
                    (host.inspect("web")["life"]["failures"].as_u64() >= Some(3)).then_some(())
                });
            },
            |_, _| {
                host.appc(["stop", "web"]).succeeds();
                let details = host.inspect("web");
                assert_eq!(details["status"], "stopped");
                assert!(details["life"]["next_restart"].is_null(), "{details}");
            },
        );
        clear_up(host);
    });
}
