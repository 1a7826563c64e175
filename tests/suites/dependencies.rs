//! Containers that are started after each other.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use appcontainers_tests::{Host, in_sandbox};
use serde_json::Value;

/// The containers in the order in which they were started.
fn started(host: &Host) -> Vec<String> {
    let lines = host.appc(["events", "--json"]).succeeds();
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let starts = events.filter(|event| event["kind"] == "start");
    starts.map(|event| event["container"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn several_containers_are_started_in_the_order_of_what_they_need() {
    in_sandbox(|host| {
        for (name, after) in [("a", "b,c"), ("b", "d"), ("c", "d"), ("d", "none")] {
            host.appc(["provision", "--name", name, "--after", after]).succeeds();
        }
        host.appc(["start", "a", "b", "c", "d"]).succeeds();
        let order = started(host);
        assert_eq!((order.first().unwrap().as_str(), order.last().unwrap().as_str()), ("d", "a"), "{order:?}");
        assert_eq!(order.len(), 4);
        // What runs already is as good.
        host.appc(["stop", "a"]).succeeds();
        host.appc(["start", "a", "d"]).succeeds();
        host.appc(["stop", "--all"]).succeeds();
        let why = host.appc(["start", "b"]).fails(1);
        assert!(why.contains("after d, which does not run; start both: appc start d b"), "{why}");
        host.appc(["start", "d"]).succeeds();
        host.appc(["start", "b"]).succeeds();
    });
}

#[test]
fn a_container_waits_for_the_health_of_another_and_not_for_ever() {
    in_sandbox(|host| {
        let quick = ["--health-interval", "100ms", "--health-start-period", "0", "--health-cmd", "test -e /root/ok"];
        host.appc(["provision", "--name", "db"].into_iter().chain(quick)).succeeds();
        host.appc(["provision", "--name", "web", "--after", "db:healthy"]).succeeds();
        host.appc(["provision", "--name", "shop", "--after", "web"]).succeeds();
        let why = host.appc(["start", "shop", "web", "db", "--timeout", "1"]).fails(1);
        assert!(why.contains("db was not healthy within 1 s"), "{why}");
        assert!(why.contains("after web, which was not started"), "{why}");
        assert_eq!(["db", "web", "shop"].map(|name| host.status(name)), ["running", "stopped", "stopped"]);
        host.appc(["stop", "db"]).succeeds();
        host.add_startup_command("db", "sleep 1; touch /root/ok");
        host.appc(["start", "shop", "web", "db"]).succeeds();
        assert_eq!(started(host)[1..], ["db", "web", "shop"]);
        host.appc(["set", "db", "--no-health"]).succeeds();
        host.appc(["stop", "web"]).succeeds();
        assert!(host.appc(["start", "web"]).fails(1).contains("which has no health check"));
    });
}

#[test]
fn a_circle_is_refused_by_name_and_holds_up_nobody_else() {
    in_sandbox(|host| {
        host.appc(["provision", "--name", "a", "--after", "b", "--autostart"]).succeeds();
        host.appc(["provision", "--name", "b", "--autostart"]).succeeds();
        host.appc(["provision", "--name", "c", "--autostart"]).succeeds();
        let why = host.appc(["set", "b", "--after", "a"]).fails(1);
        assert!(why.contains("in a circle: b -> a -> b"), "{why}");
        assert!(host.appc(["set", "c", "--after", "c"]).fails(1).contains("c -> c"));
        assert_eq!(host.inspect("b")["life"]["after"], Value::Array(Vec::new()));
        // By hand it can be made all the same.
        let path = host.paths().container(&"b".parse().unwrap()).join("container.json");
        let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        record["settings"] = serde_json::json!({"life": {"after": ["a"]}});
        std::fs::write(&path, record.to_string()).unwrap();
        let why = host.appc(["start", "a", "b", "c"]).fails(1);
        assert!(why.contains("a -> b -> a"), "{why}");
        assert_eq!(["a", "b", "c"].map(|name| host.status(name)), ["stopped", "stopped", "running"]);
        host.appc(["stop", "c"]).succeeds();
        assert!(host.appc(["start", "--autostart"]).fails(1).contains("a -> b -> a"));
        assert_eq!(host.status("c"), "running");
        host.appc(["set", "a", "--after", "gone"]).succeeds();
        assert!(host.appc(["start", "a"]).fails(1).contains("gone, which does not exist"));
    });
}
