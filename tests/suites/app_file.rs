//! `appc up` and `appc down`: an app file's container, made, brought up to date and taken away.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use appcontainers::AppFile;
use appcontainers_tests::{Host, clear_up, in_sandbox, in_sandbox_for, kill_at_each_step};
use serde_json::{Value, json};

/// A program that answers at a port.
const WEB: &str = r#"
name = "web"
startup = ["exec httpd -f -p 80 -h /srv"]

[[files]]
from = "index.html"
to = "/srv/"

[container]
publish = ["8080:80"]
wait = { port = 80, http = "/index.html" }
"#;

fn web(host: &Host) {
    fs::write(host.file("appc.toml"), WEB).unwrap();
    fs::write(host.file("index.html"), "one").unwrap();
}

/// Brings it up: what was done.
#[track_caller]
fn up(host: &Host) -> Value {
    host.json(["up"])["done"].clone()
}

#[track_caller]
fn page(host: &Host) -> String {
    let ip = host.inspect("web")["ip"].as_str().unwrap().to_owned();
    host.sh(&format!("curl -s http://{ip}/index.html")).succeeds()
}

fn change(host: &Host, from: &str, to: &str) {
    let text = fs::read_to_string(host.file("appc.toml")).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(host.file("appc.toml"), text.replace(from, to)).unwrap();
}

#[test]
fn up_makes_what_is_missing_and_changes_what_has_changed() {
    in_sandbox(|host| {
        web(host);
        let done = host.json(["up"]);
        assert_eq!((&done["name"], &done["done"]), (&json!("web"), &json!(["created", "started"])));
        assert_eq!(page(host), "one");
        let before = host.inspect("web");
        // Nothing has changed: nothing is done, not even noted.
        let events = host.container_events();
        assert_eq!(up(host), json!([]));
        assert_eq!(host.container_events(), events);
        let said = host.appc(["up"]);
        assert!(String::from_utf8_lossy(&said.stderr).contains("container web: up already, nothing has changed"));
        assert_eq!(said.succeeds(), "web");
        // Rules are changed while it runs.
        let start = host.start_record("web");
        change(host, "publish = [\"8080:80\"]", "publish = [\"8081:80\"]\negress = \"none\"\nautostart = true");
        assert_eq!(up(host), json!(["changed"]));
        assert_eq!(host.start_record("web"), start);
        let now = host.inspect("web");
        assert_eq!(now["autostart"], true);
        let text = now.to_string();
        assert!(text.contains("8081") && !text.contains("8080") && text.contains("\"egress\":\"none\""), "{text}");
        // An image that has changed takes the place of the old one; the container stays.
        host.sh_in("web", "touch /root/written").succeeds();
        fs::write(host.file("index.html"), "two").unwrap();
        assert_eq!(up(host), json!(["replaced", "started"]));
        assert_eq!(page(host), "two");
        host.sh_in("web", "test ! -e /root/written").succeeds();
        let now = host.inspect("web");
        for key in ["name", "ip", "mac", "created"] {
            assert_eq!(now[key], before[key], "{key}");
        }
        assert!(now.to_string().contains("8081"));
        // What was stopped is started.
        host.appc(["stop", "web"]).succeeds();
        assert_eq!(up(host), json!(["started"]));
        // What the file does not name any more goes, what was given by hand stays.
        host.appc(["publish", "9000", "web:80"]).succeeds();
        change(host, "publish = [\"8081:80\"]\negress = \"none\"", "");
        assert_eq!(up(host), json!(["changed"]));
        let text = host.inspect("web").to_string();
        assert!(text.contains("9000") && !text.contains("8081") && text.contains("\"egress\":\"all\""), "{text}");
        assert_eq!(up(host), json!([]));
        let limit = |host: &Host| host.json(["inspect", "web"])["limits"]["asked"].to_string();
        change(host, "[container]", "[container]\nlimits = ['pids=300']");
        assert_eq!(up(host), json!(["changed"]));
        host.appc(["set", "web", "nofile=500"]).succeeds();
        assert!(limit(host).contains("300") && limit(host).contains("500"), "{}", limit(host));
        assert_eq!(up(host), json!([]));
        change(host, "limits = ['pids=300']", "");
        assert_eq!(up(host), json!(["changed"]));
        assert!(!limit(host).contains("300") && limit(host).contains("500"), "{}", limit(host));
        // And what somebody took away comes back.
        change(host, "[container]", "[container]\npublish = ['7000:80']");
        assert_eq!(up(host), json!(["changed"]));
        host.appc(["unpublish", "7000", "web"]).succeeds();
        assert_eq!(up(host), json!(["changed"]));
        assert!(host.inspect("web").to_string().contains("7000"));
        host.appc(["down"]).succeeds();
        assert_eq!(host.containers(), [""; 0]);
        let said = host.appc(["down"]);
        assert!(String::from_utf8_lossy(&said.stderr).contains("nothing is up"));
        said.succeeds();
        clear_up(host);
    });
}

#[test]
fn a_snapshot_from_before_another_image_is_whole() {
    in_sandbox(|host| {
        web(host);
        host.appc(["up"]).succeeds();
        host.sh_in("web", "echo mine > /srv/mine").succeeds();
        host.appc(["snapshot", "web", "before"]).succeeds();
        fs::write(host.file("index.html"), "two").unwrap();
        assert_eq!(up(host), json!(["replaced", "started"]));
        assert_eq!(page(host), "two");
        // Nothing but the snapshot has the old image's layer now.
        host.appc(["gc", "--build-cache"]).succeeds();
        host.appc(["restore", "web", "before"]).succeeds();
        host.appc(["wait-port", "web:80"]).succeeds();
        assert_eq!(page(host), "one");
        assert_eq!(host.sh_in("web", "cat /srv/mine").succeeds(), "mine");
        assert_eq!(up(host), json!(["replaced", "started"]));
        assert_eq!(page(host), "two");
    });
}

#[test]
fn links_and_rules_of_others_are_kept_as_the_file_says() {
    in_sandbox(|host| {
        host.start("db");
        host.start("cache");
        let text = "name = 'app'\nstartup = ['exec sleep 1000']\n[container]\nallow = ['db:80']\nlinks = { sql = 'db:5432' }\n";
        fs::write(host.file("appc.toml"), text).unwrap();
        assert_eq!(up(host), json!(["created", "started"]));
        host.sh_in("app", "grep sql /etc/hosts").succeeds();
        change(host, "links = { sql = 'db:5432' }", "links = { mem = 'cache:11211', sql = 'cache:5432' }");
        assert_eq!(up(host), json!(["changed"]));
        let links = host.json(["links"]).to_string();
        assert!(links.contains("mem") && !links.contains("\"provider\":\"db\""), "{links}");
        change(host, "links = { mem = 'cache:11211', sql = 'cache:5432' }", "");
        change(host, "allow = ['db:80']", "");
        assert_eq!(up(host), json!(["changed"]));
        assert_eq!(host.json(["links"]), json!([]));
        assert_eq!(up(host), json!([]));
        change(host, "[container]", "[container]\nlinks = { x = 'ghost:1' }");
        host.appc(["up"]).fails(1);
    });
}

#[test]
fn a_container_of_somebody_else_is_left_alone() {
    in_sandbox(|host| {
        web(host);
        host.provision("web");
        for command in ["up", "down"] {
            let said = host.appc([command]).fails(1);
            assert!(said.contains("there is a container web that `appc up` has not made from appc.toml"), "{said}");
        }
        assert_eq!(host.containers(), ["web"]);
        change(host, "[container]", "[container]\nname = 'other'");
        assert_eq!(up(host), json!(["created", "started"]));
        // The same file by another name is the same file.
        host.appc(["up", "-f", host.file("appc.toml").to_str().unwrap()]).succeeds();
        assert_eq!(host.containers(), ["other", "web"]);
        // What can't be changed any more is said.
        change(host, "name = 'other'", "name = 'other'\nprivileged = true");
        host.appc(["up"]).fails(1);
        let said = host.appc(["up"]).fails(1);
        assert!(said.contains("container.privileged can't be changed any more: `appc down` first"), "{said}");
        host.appc(["down"]).succeeds();
        assert_eq!(host.containers(), ["web"]);
    });
}

#[test]
fn what_never_becomes_ready_is_said_and_can_be_mended() {
    in_sandbox(|host| {
        web(host);
        change(host, "http = \"/index.html\"", "http = \"/missing\", timeout = 1");
        let said = host.appc(["up"]).fails(124);
        assert!(said.contains("was not ready"), "{said}");
        assert_eq!(host.status("web"), "running");
        change(host, "/missing", "/index.html");
        assert_eq!(up(host), json!(["changed"]));
        change(host, "exec httpd", "exec ghost");
        assert_ne!(host.appc(["up"]).code, 0);
        change(host, "exec ghost", "exec httpd");
        host.appc(["up"]).succeeds();
        assert_eq!(page(host), "one");
    });
}

#[test]
fn killed_while_it_brings_up_a_new_image() {
    in_sandbox_for(std::time::Duration::from_secs(600), |host| {
        web(host);
        host.appc(["up"]).succeeds();
        let ip = host.inspect("web")["ip"].clone();
        let mut number = 0;
        kill_at_each_step(
            host,
            23,
            &["up"],
            |step| {
                number += 1;
                fs::write(host.file("index.html"), format!("page {step} {number}")).unwrap();
            },
            |_, _| {
                host.appc(["up"]).succeeds();
                let wanted = fs::read_to_string(host.file("index.html")).unwrap();
                assert_eq!(page(host), wanted);
                assert_eq!(host.inspect("web")["ip"], ip);
                assert_eq!(up(host), json!([]));
            },
        );
        host.appc(["down"]).succeeds();
        clear_up(host);
    });
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a workflow runs by itself, in a shell: its `run:` steps behind the installation, in their order.
fn lines_of_workflow() -> String {
    let text = fs::read_to_string(repository().join("examples/ci/build.yml")).unwrap();
    let mut script = String::new();
    let mut is_in_run = false;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        is_in_run &= indent > 8;
        if is_in_run {
            script += &format!("{}\n", line.trim());
        } else if line.trim() == "run: |" {
            is_in_run = true;
        }
    }
    script
}

#[test]
fn the_workflow_of_the_example_builds_an_image_and_tries_it() {
    in_sandbox(|host| {
        for file in ["appc.toml", "index.html"] {
            fs::copy(repository().join("examples/ci").join(file), host.file(file)).unwrap();
        }
        let script = lines_of_workflow();
        assert_eq!(script.matches("appc ").count(), 5, "{script}");
        let said = host.run("sh", ["-e", "-c", &script]).succeeds();
        assert_eq!(said, "greeter\nready\ngreeter\n<h1>Hello</h1>");
        assert!(host.file("greeter.aimg").exists());
        assert_eq!(host.containers(), [""; 0]);
    });
}

#[test]
fn every_example_of_the_reference_is_understood_and_every_key_is_in_it() {
    let text = fs::read_to_string(repository().join("docs/appc.toml.md")).unwrap();
    let examples: Vec<&str> = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() > 4);
    for example in examples {
        AppFile::parse(example, Path::new("appc.toml")).unwrap_or_else(|error| panic!("{error}:\n{example}"));
    }
    let schema: Value = serde_json::from_str(&AppFile::schema()).unwrap();
    let parts = ["Step", "Copy", "ContainerSection", "HealthSection"].map(|part| &schema["$defs"][part]);
    for part in parts.into_iter().chain([&schema]) {
        for key in part["properties"].as_object().unwrap().keys().filter(|key| *key != "container") {
            assert!(text.contains(&format!("| `{key}` |")), "{key} is not described");
        }
    }
}

/// The schema in the documentation takes what the documentation shows, and refuses what is refused.
#[test]
fn editors_see_the_same_mistakes() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/appc.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(schema).unwrap()).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["steps"]["items"]["$ref"], "#/$defs/Step");
    for one in ["Step", "Copy", "ContainerSection", "HealthSection", "WaitFor"] {
        assert_eq!(schema["$defs"][one]["additionalProperties"], false, "{one}");
        for (key, property) in schema["$defs"][one]["properties"].as_object().unwrap() {
            let is_said = property["description"].is_string() || property["$ref"].is_string();
            assert!(is_said, "{one}.{key} says nothing");
        }
    }
}
