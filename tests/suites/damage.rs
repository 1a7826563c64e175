//! A container whose record is damaged: it hides no other, loses nothing, and can be removed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use appcontainers_tests::{Host, eventually, in_sandbox};
use serde_json::{Value, json};

/// Writes something else where the record of container `name` was, and gives the record.
fn damage(host: &Host, name: &str, bytes: &[u8]) -> Vec<u8> {
    let record = host.paths().container(&name.parse().unwrap()).join("container.json");
    let whole = fs::read(&record).unwrap();
    fs::write(&record, bytes).unwrap();
    whole
}

/// A container `web` of which something is in a layer that nothing else has.
fn web(host: &Host) {
    host.provision("maker");
    host.sh_in("maker", "echo from the image > /root/file").succeeds();
    host.appc(["-c", "maker", "save-image", "app.aimg"]).succeeds();
    host.appc(["rm", "maker"]).succeeds();
    host.appc(["load-image", "app.aimg", "--name", "web"]).succeeds();
    fs::remove_dir_all(host.paths().user_images()).unwrap();
    fs::create_dir(host.paths().user_images()).unwrap();
}

fn containers_check(host: &Host) -> Value {
    let checks: Value = serde_json::from_slice(&host.appc(["--json", "doctor"]).stdout).unwrap();
    checks.as_array().unwrap().iter().find(|check| check["name"] == "containers").unwrap().clone()
}

#[test]
fn ls_shows_it_as_unreadable_and_the_others_as_they_are() {
    in_sandbox(|host| {
        host.provision("web");
        host.start("other");
        damage(host, "web", b"{\"version\": 1, \"name\"");
        let listed = host.appc(["ls"]);
        let said = String::from_utf8_lossy(&listed.stderr).into_owned();
        assert_eq!(said.lines().count(), 1, "{said}");
        for word in ["appc: warning: container web", "web/container.json", "backup", "appc rm -f"] {
            assert!(said.contains(word), "{word:?} is not in {said}");
        }
        let text = listed.succeeds();
        let rows: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1][..2], ["other", "running"]);
        assert_eq!(rows[2], ["web", "unreadable", "-", "-", "-"]);
        let listed = host.json(["ls"]);
        // What is in force is read from the kernel for one that is inspected.
        let mut other = host.inspect("other");
        other["limits"]["actual"] = Value::Null;
        assert_eq!(listed[0], other);
        assert_eq!((&listed[1]["name"], &listed[1]["status"]), (&json!("web"), &json!("unreadable")));
        assert!(listed[1]["error"].as_str().unwrap().contains("web/container.json"), "{listed}");
        let stats = host.json(["stats"]);
        assert_eq!((stats.as_array().unwrap().len(), &stats[0]["name"]), (1, &json!("other")));
        let check = containers_check(host);
        assert_eq!(check["verdict"], "unfit");
        assert!(check["detail"].as_str().unwrap().ends_with(": web"), "{check}");
    });
}

#[test]
fn nothing_that_it_may_have_is_dropped() {
    in_sandbox(|host| {
        web(host);
        host.provision("other");
        let whole = damage(host, "web", b"\0\0\0\0");
        let layers = || fs::read_dir(host.paths().layers()).unwrap().count();
        let before = layers();
        for (code, command) in [
            (1, &["gc"][..]),
            (1, &["gc", "--dry-run"]),
            (1, &["base", "rm", "busybox"]),
            (1, &["setup", "--undo"]),
            (1, &["inspect", "web"]),
            (1, &["start", "web"]),
            (1, &["stop", "web"]),
            (1, &["rename", "web", "new"]),
            (1, &["rm", "web"]),
            (1, &["provision", "--name", "web"]),
            (125, &["-c", "web", "run", "--", "true"]),
        ] {
            host.appc(command).refuses(code, &["web/container.json", "appc rm -f"]);
        }
        assert_eq!(layers(), before);
        assert_eq!(host.sh_in("other", "echo works").succeeds(), "works");
        host.appc(["inspect", "ghost"]).refuses(1, &["there is no container ghost"]);
        // Restored, it is as it was.
        damage(host, "web", &whole);
        assert_eq!(containers_check(host)["verdict"], "fit");
        host.appc(["gc"]).succeeds();
        assert_eq!(host.in_container("web", ["cat", "/root/file"]).succeeds(), "from the image");
    });
}

#[test]
fn rm_by_force_removes_it_running_or_not() {
    in_sandbox(|host| {
        for bytes in [&b""[..], b"{\"version\": 99}"] {
            host.provision("stopped");
            host.start("running");
            for name in ["stopped", "running"] {
                damage(host, name, bytes);
                host.appc(["rm", name]).fails(1);
                host.appc(["rm", "-f", name]).succeeds();
            }
            assert_eq!(host.json(["ls"]), json!([]));
            // LXC's monitors end in their own time, and layers stay mounted.
            eventually("nothing of them is left", || {
                let garbage = host.appc(["gc", "--dry-run"]).succeeds();
                garbage.lines().all(|line| line.starts_with("mount ")).then_some(())
            });
        }
    });
}
