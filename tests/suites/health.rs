//! Health checks: what they find, what follows, and that one that hangs or floods harms nobody.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, time::Duration};

use appcontainers_tests::{Host, allowed, eventually, in_sandbox};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn provision(host: &Host, name: &str, options: &[&str]) {
    let quick = ["--health-interval", "100ms", "--health-start-period", "0"];
    let words = ["provision", "--name", name].into_iter().chain(options.iter().copied()).chain(quick);
    host.appc(words).succeeds();
}

fn health(host: &Host, name: &str) -> Value {
    host.inspect(name)["life"]["health"].clone()
}

fn becomes(host: &Host, name: &str, status: &str) {
    eventually(&format!("{name} is {status}"), || (health(host, name)["status"] == status).then_some(()));
}

fn events(host: &Host, name: &str, kind: &str) -> Vec<Value> {
    let lines = host.appc(["-c", name, "events", "--json"]).succeeds();
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["kind"] == kind).collect()
}

fn changes(host: &Host, name: &str) -> Vec<String> {
    events(host, name, "health").iter().map(|event| event["details"]["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_command_says_how_healthy_it_is_and_only_changes_are_told() {
    in_sandbox(|host| {
        provision(host, "web", &["--health-cmd", "echo looked >> /root/looks; cat /root/ok", "--health-retries", "2"]);
        assert!(health(host, "web")["status"].is_null(), "it does not run");
        host.appc(["start", "web"]).succeeds();
        becomes(host, "web", "unhealthy");
        assert!(host.appc(["ls"]).succeeds().contains("running (unhealthy)"));
        let found = health(host, "web");
        assert!(found["said"].as_str().unwrap().contains("No such file"), "{found}");
        host.sh_in("web", "touch /root/ok").succeeds();
        host.appc(["wait", "--healthy", "web"]).succeeds();
        let looks = || host.sh_in("web", "wc -l < /root/looks").succeeds().parse::<u32>().unwrap();
        let before = looks();
        eventually("it is looked again and again", || (looks() >= before + 5).then_some(()));
        assert_eq!(changes(host, "web"), ["unhealthy", "healthy"]);
        // A check is nobody's process, and what it prints nobody's output.
        assert!(!host.appc(["-c", "web", "logs"]).succeeds().contains("No such file"));
        let processes = host.json(["-c", "web", "ps", "-a"]);
        let looked = |one: &Value| one["command"].to_string().contains("looked");
        assert!(!processes.as_array().unwrap().iter().any(looked), "{processes}");
        assert!(events(host, "web", "process-start").iter().all(|event| event["details"].is_null()));
        host.appc(["set", "web", "--no-health"]).succeeds();
        assert!(health(host, "web").is_null());
        host.appc(["wait", "--healthy", "web"]).fails(1);
    });
}

#[test]
fn a_port_says_how_healthy_it_is_over_tcp_and_http() {
    in_sandbox(|host| {
        provision(host, "web", &["--health-tcp", "80", "--health-retries", "1"]);
        host.appc(["start", "web"]).succeeds();
        becomes(host, "web", "unhealthy");
        host.appc(["wait", "--healthy", "web", "--timeout", "0"]).fails(124);
        host.sh_in("web", "mkdir /www; echo yes > /www/health").succeeds();
        host.appc(["-c", "web", "spawn", "--name", "server", "--", "httpd", "-f", "-p", "80", "-h", "/www"]).succeeds();
        becomes(host, "web", "healthy");
        host.appc(["set", "web", "--health-http", "80/health"]).succeeds();
        becomes(host, "web", "healthy");
        host.appc(["set", "web", "--health-http", "80/absent"]).succeeds();
        becomes(host, "web", "unhealthy");
        assert!(health(host, "web")["said"].as_str().unwrap().contains("404"));
        // It may move while it runs.
        host.appc(["set", "web", "--health-tcp", "80"]).succeeds();
        becomes(host, "web", "healthy");
        let ip = host.inspect("web")["ip"].as_str().unwrap().to_owned();
        let (network, _) = ip.rsplit_once('.').unwrap();
        let before = changes(host, "web");
        for last in 90..99 {
            host.appc(["set", "web", "--ip", &format!("{network}.{last}")]).succeeds();
        }
        becomes(host, "web", "healthy");
        host.appc(["-c", "web", "kill", "server", "-s", "KILL"]).succeeds();
        becomes(host, "web", "unhealthy");
        assert_eq!(changes(host, "web").len(), before.len() + 1, "moving was taken for bad health");
    });
}

#[test]
fn a_command_that_hangs_is_killed_and_one_that_floods_too() {
    in_sandbox(|host| {
        provision(
            host,
            "web",
            &["--health-cmd", "echo begun; exec sleep 12345", "--health-timeout", "300ms", "--health-retries", "1"],
        );
        host.appc(["start", "web"]).succeeds();
        becomes(host, "web", "unhealthy");
        assert!(health(host, "web")["said"].as_str().unwrap().contains("too long and was killed: begun"));
        host.appc(["set", "web", "--health-cmd", "true"]).succeeds();
        becomes(host, "web", "healthy");
        eventually("what hung is gone", || (host.run("pgrep", ["-f", "sleep 12345"]).code == 1).then_some(()));
        host.appc(["set", "web", "--health-cmd", "yes flooded", "--health-timeout", "60s"]).succeeds();
        becomes(host, "web", "unhealthy");
        let said = health(host, "web")["said"].as_str().unwrap().to_owned();
        assert!(said.contains("printed more than"), "{said}");
        assert!(!host.appc(["-c", "web", "logs"]).succeeds().contains("flooded"));
        host.appc(["set", "web", "--health-cmd", "exec sleep 0"]).succeeds();
        becomes(host, "web", "healthy");
        eventually("what flooded is gone", || (host.run("pgrep", ["-f", "yes flooded"]).code == 1).then_some(()));
    });
}

#[test]
fn an_unhealthy_container_is_stopped_or_started_again_as_it_was_asked() {
    in_sandbox(|host| {
        let options = ["--health-cmd", "test ! -e /root/sick", "--health-retries", "1"];
        for (name, what) in [("web", "restart"), ("db", "stop")] {
            provision(host, name, &[&options[..], &["--health-on-failure", what]].concat());
            host.appc(["set", name, "--on-fail", "echo $APPC_FAILURE > /root/why; rm -f /root/sick"]).succeeds();
            host.appc(["start", name]).succeeds();
            host.appc(["wait", "--healthy", name]).succeeds();
            host.appc(["-c", name, "exec", "--", "touch", "/root/sick"]).succeeds();
        }
        eventually("it is started again", || (host.inspect("web")["life"]["restarts"] == 1).then_some(()));
        host.appc(["wait", "--healthy", "web"]).succeeds();
        assert!(host.sh_in("web", "cat /root/why").succeeds().contains("unhealthy: its command ended with code 1"));
        eventually("it is stopped", || (host.status("db") == "stopped").then_some(()));
        let life = eventually("its end is known", || {
            let life = host.inspect("db")["life"].clone();
            life["last_failure"].is_string().then_some(life)
        });
        assert_eq!((&life["restarts"], &life["next_restart"]), (&0.into(), &Value::Null), "{life}");
        assert!(life["last_failure"].as_str().unwrap().starts_with("unhealthy: "), "{life}");
    });
}

#[test]
fn another_monitor_goes_on_with_the_checks_of_one_that_was_killed() {
    in_sandbox(|host| {
        provision(host, "web", &["--health-cmd", "sleep 0.05; test ! -e /root/sick", "--health-retries", "2"]);
        host.appc(["start", "web"]).succeeds();
        host.appc(["wait", "--healthy", "web"]).succeeds();
        for round in 0..5 {
            host.kill_monitor("web");
            // Any command has another one adopt the container.
            host.appc(["-c", "web", "exec", "--", "touch", "/root/sick"]).succeeds();
            becomes(host, "web", "unhealthy");
            host.kill_monitor("web");
            host.appc(["-c", "web", "exec", "--", "rm", "/root/sick"]).succeeds();
            becomes(host, "web", "healthy");
            assert_eq!(changes(host, "web").len(), 1 + 2 * (round + 1), "what was known is told again");
        }
    });
}

#[test]
fn checks_stand_still_with_the_container() {
    in_sandbox(|host| {
        let timeout = allowed(Duration::from_millis(200));
        let still = timeout * 10;
        let timeout = format!("{}ms", timeout.as_millis());
        provision(
            host,
            "web",
            &["--health-cmd", "date >> /root/looks", "--health-retries", "1", "--health-timeout", &timeout],
        );
        host.appc(["start", "web"]).succeeds();
        host.appc(["wait", "--healthy", "web"]).succeeds();
        let freeze = &host.cgroup_files("web", "payload/cgroup.freeze")[0];
        fs::write(freeze, "1").unwrap();
        // Several times as long as a try may take.
        std::thread::sleep(still);
        assert_eq!(health(host, "web")["status"], "healthy");
        fs::write(freeze, "0").unwrap();
        let looks = || host.sh_in("web", "wc -l < /root/looks").succeeds().parse::<u32>().unwrap();
        let before = looks();
        eventually("they go on", || (looks() > before + 1).then_some(()));
        assert_eq!(changes(host, "web"), ["healthy"]);
    });
}

#[test]
fn a_start_waits_for_health_and_says_why_it_did_not_come() {
    in_sandbox(|host| {
        provision(host, "web", &["--health-cmd", "test -e /root/ok"]);
        host.add_startup_command("web", "sleep 1; touch /root/ok");
        host.appc(["start", "web", "--wait", "healthy"]).succeeds();
        assert_eq!(health(host, "web")["status"], "healthy");
        host.appc(["stop", "web"]).succeeds();
        host.appc(["wait", "--healthy", "web"]).fails(1);
        // One that ends meanwhile is not waited for.
        provision(host, "db", &["--health-cmd", "false"]);
        host.appc(["start", "db"]).succeeds();
        let init: Pid = host.recorded_pid("db", "init").unwrap();
        let waiting = host.spawn("appc", ["wait", "--healthy", "db", "--timeout", "1000"]);
        kill_process(init, Signal::KILL).unwrap();
        let why = waiting.wait().fails(1);
        assert!(why.contains("stopped before it was healthy"), "{why}");
    });
}
