//! `appc setup`, its undoing, and what `appc doctor` says before, between and after.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use appcontainers_tests::{Host, in_sandbox};

fn verdict(host: &Host, check: &str) -> String {
    let checks = host.appc(["--json", "doctor"]).text();
    let checks: serde_json::Value = serde_json::from_str(&checks).unwrap();
    let found = checks.as_array().unwrap().iter().find(|one| one["name"] == check);
    found.unwrap_or_else(|| panic!("no check {check}"))["verdict"].as_str().unwrap().to_owned()
}

fn ruleset(host: &Host) -> String {
    host.run("nft", ["list", "ruleset"]).succeeds()
}

#[test]
fn setup_twice_changes_nothing_the_second_time_and_undo_takes_all_back() {
    in_sandbox(|host| {
        let accounts = ["/etc/subuid", "/etc/subgid"];
        fs::write(accounts[0], "ann:100000:65536\n").unwrap();
        fs::write(accounts[1], "").unwrap();
        let before: Vec<_> = accounts.map(|path| fs::read(path).unwrap()).into();
        // A new namespace has what the host has.
        let forwarding = "/proc/sys/net/ipv4/ip_forward";
        fs::write(forwarding, "0\n").unwrap();
        assert_eq!(verdict(host, "directories"), "unfit");
        let said = host.appc(["setup"]).succeeds();
        assert!(said.contains("/etc/subuid") && said.contains("bridge"), "{said}");
        assert_eq!(host.appc(["setup"]).succeeds(), "");
        for check in ["directories", "subordinate-ids", "reservations", "network", "id-mapped-layers", "leftovers"] {
            assert_eq!(verdict(host, check), "fit", "{check}");
        }
        assert!(fs::read_to_string(accounts[0]).unwrap().starts_with("ann:100000:65536\nroot:"));
        host.appc(["setup", "--undo"]).succeeds();
        assert_eq!(accounts.map(|path| fs::read(path).unwrap()).to_vec(), before);
        assert_eq!(ruleset(host), "");
        assert_eq!(fs::read_to_string(forwarding).unwrap(), "0\n");
        assert!(!host.paths().root().exists());
    });
}

#[test]
fn undo_is_refused_while_there_is_a_container() {
    in_sandbox(|host| {
        host.provision("web");
        let rules = ruleset(host);
        host.appc(["setup", "--undo"]).refuses(1, &["web", "appc rm"]);
        assert_eq!(ruleset(host), rules);
    });
}

#[test]
fn a_subnet_that_the_host_reaches_already_is_refused_with_the_route() {
    in_sandbox(|host| {
        host.sh("ip link add up0 type bridge; ip addr add 10.99.3.1/24 dev up0; ip link set up0 up").succeeds();
        host.appc(["setup", "--subnet", "10.99.0.0/16"]).refuses(1, &["10.99.0.0/16", "10.99.3."]);
        assert_eq!(ruleset(host), "");
        host.appc(["setup", "--subnet", "10.98.0.0/16"]).succeeds();
        host.provision("web");
        assert!(host.inspect("web")["ip"].as_str().unwrap().starts_with("10.98."));
        host.sh("ip link delete up0").succeeds();
    });
}

#[test]
fn the_users_skeleton_stands_in_for_ours_and_a_broken_one_is_named() {
    in_sandbox(|host| {
        host.provision("web");
        let user = host.paths().skeletons().join("user/start/etc");
        fs::create_dir_all(&user).unwrap();
        fs::write(user.join("motd.tera"), "I am {{ reservation.ip }}\n").unwrap();
        let ip = host.inspect("web")["ip"].as_str().unwrap().to_owned();
        assert_eq!(host.in_container("web", ["cat", "/etc/motd"]).succeeds(), format!("I am {ip}"));
        assert_eq!(host.in_container("web", ["cat", "/etc/hostname"]).succeeds(), "web");
        fs::write(user.join("motd.tera"), "\n{{ reservation.nonsense }}").unwrap();
        host.appc(["-c", "web", "start"]).refuses(1, &["motd.tera", "line 2"]);
        fs::remove_file(user.join("motd.tera")).unwrap();
        host.in_container("web", ["true"]).succeeds();
    });
}

#[test]
fn resources_of_a_newer_appc_are_refused_and_left_alone() {
    in_sandbox(|host| {
        host.provision("web");
        let path = host.paths().resources();
        let good = fs::read(&path).unwrap();
        fs::write(&path, r#"{"version":99}"#).unwrap();
        host.appc(["provision"]).refuses(1, &["resources.json", "99"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"version":99}"#);
        fs::write(&path, good).unwrap();
        host.in_container("web", ["true"]).succeeds();
    });
}
