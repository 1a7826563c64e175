//! What an app file gives its container beyond the image: at the making, changed while it runs, taken away; what was given by hand stays.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, time::Duration};

use appcontainers_tests::{Host, clear_up, in_sandbox, in_sandbox_for, kill_at_each_step};
use serde_json::{Value, json};

/// Writes the app file with this of its container.
fn section(host: &Host, lines: &str) {
    let text = format!(
        "name = 'app'\nstartup = ['exec httpd -f -p 80 -h /root']\n[env]\nMODE = 'image'\n[container]\n{lines}\n"
    );
    fs::write(host.file("appc.toml"), text).unwrap();
}

/// Brings it up: what was done. Doing it again does nothing.
#[track_caller]
fn up(host: &Host) -> Value {
    let done = host.json(["up"])["done"].clone();
    let events = host.container_events();
    assert_eq!(host.json(["up"])["done"], json!([]));
    assert_eq!(host.container_events(), events);
    done
}

/// Brings it up with this of its container while it runs: it runs on.
#[track_caller]
fn changes_live(host: &Host, lines: &str) {
    let start = host.start_record("app");
    section(host, lines);
    assert_eq!(up(host), json!(["changed"]));
    assert_eq!(host.start_record("app"), start);
}

#[test]
fn volumes_are_made_mounted_and_outlive_the_container() {
    in_sandbox(|host| {
        section(host, "volumes = ['data:/srv/data', 'more:/srv/data/more:ro']\nvolume_sizes = { data = '16M' }");
        assert_eq!(up(host), json!(["created", "started"]));
        assert_eq!(host.json(["volume", "inspect", "data"])["size_bytes"], 16 << 20);
        assert!(host.json(["volume", "inspect", "more"])["size_bytes"].is_null());
        host.sh_in("app", "echo kept > /srv/data/file").succeeds();
        host.sh_in("app", "echo x > /srv/data/more/file").fails(1);
        // Other rights, and another place, while one is below the other.
        changes_live(host, "volumes = ['data:/srv/data:ro', 'more:/srv/data/more']");
        host.sh_in("app", "echo x > /srv/data/file").fails(1);
        host.sh_in("app", "echo more > /srv/data/more/file").succeeds();
        // By hand: it stays, and so does what was taken away by hand not.
        host.appc(["volume", "create", "hand"]).succeeds();
        host.appc(["volume", "attach", "app", "hand:/hand"]).succeeds();
        host.appc(["volume", "detach", "app", "more"]).succeeds();
        assert_eq!(up(host), json!(["changed"]));
        assert_eq!(host.sh_in("app", "cat /srv/data/more/file").succeeds(), "more");
        changes_live(host, "volumes = ['data:/data']");
        assert_eq!(
            host.sh_in("app", "cat /data/file; grep -c /hand /proc/mounts; ls -A /srv/data").succeeds(),
            "kept\n1"
        );
        changes_live(host, "");
        host.sh_in("app", "test ! -e /data/file && grep /hand /proc/mounts").succeeds();
        host.appc(["down"]).succeeds();
        section(host, "volumes = ['data:/data']");
        assert_eq!(up(host), json!(["created", "started"]));
        assert_eq!(host.sh_in("app", "cat /data/file").succeeds(), "kept");
        host.appc(["down"]).succeeds();
        for volume in ["data", "more", "hand"] {
            host.appc(["volume", "rm", volume]).succeeds();
        }
        clear_up(host);
    });
}

#[test]
fn binds_begin_at_the_files_directory() {
    in_sandbox(|host| {
        fs::create_dir_all(host.file("app/site")).unwrap();
        fs::write(host.file("app/site/page"), "hello").unwrap();
        fs::write(host.file("conf"), "conf").unwrap();
        let write = |lines: &str| {
            let text = format!("name = 'app'\nstartup = ['exec sleep 1000']\n[container]\n{lines}\n");
            fs::write(host.file("app/appc.toml"), text).unwrap();
        };
        let up = || {
            let done = host.json(["up", "-f", "app/appc.toml"])["done"].clone();
            assert_eq!(host.json(["up", "-f", "app/appc.toml"])["done"], json!([]));
            done
        };
        let conf = host.file("conf").display().to_string();
        write(&format!("binds = ['site:/srv/site:ro', '{conf}:/etc/app.conf:ro']"));
        assert_eq!(up(), json!(["created", "started"]));
        assert_eq!(host.sh_in("app", "cat /srv/site/page /etc/app.conf").succeeds(), "helloconf");
        host.sh_in("app", "touch /srv/site/x").fails(1);
        write("binds = ['site:/srv/other:ro']");
        assert_eq!(up(), json!(["changed"]));
        assert_eq!(host.sh_in("app", "cat /srv/other/page; ls /srv/site; wc -c < /etc/app.conf").succeeds(), "hello0");
        write("binds = ['ghost:/srv/ghost']");
        let said = host.appc(["up", "-f", "app/appc.toml"]).fails(1);
        assert!(said.contains("ghost"), "{said}");
        write("");
        assert_eq!(up(), json!(["changed"]));
        assert_eq!(host.inspect("app")["mounts"], json!([]));
    });
}

#[test]
fn a_disk_becomes_larger_and_stays_over_another_image() {
    in_sandbox(|host| {
        section(host, "");
        assert_eq!(up(host), json!(["created", "started"]));
        section(host, "disk = '32M'");
        let said = host.appc(["up"]).fails(1);
        assert!(said.contains("stop it first: appc stop app"), "{said}");
        host.sh_in("app", "echo mine > /root/mine").succeeds();
        host.appc(["stop", "app"]).succeeds();
        assert_eq!(up(host), json!(["changed", "started"]));
        assert_eq!(host.inspect("app")["disk"], 32 << 20);
        assert_eq!(host.sh_in("app", "cat /root/mine").succeeds(), "mine");
        // Larger by hand is not made smaller.
        host.appc(["stop", "app"]).succeeds();
        host.appc(["set", "app", "disk=48M"]).succeeds();
        assert_eq!(up(host), json!(["started"]));
        let text = fs::read_to_string(host.file("appc.toml")).unwrap().replace("'image'", "'other'");
        fs::write(host.file("appc.toml"), text).unwrap();
        assert_eq!(up(host), json!(["replaced", "started"]));
        assert_eq!(host.inspect("app")["disk"], 48 << 20);
        host.appc(["down"]).succeeds();
        section(host, "disk = '24M'");
        assert_eq!(up(host), json!(["created", "started"]));
        assert_eq!(host.inspect("app")["disk"], 24 << 20);
    });
}

#[test]
fn secrets_are_given_and_taken_and_never_made() {
    in_sandbox(|host| {
        section(host, "secrets = ['db']");
        let said = host.appc(["up"]).fails(1);
        assert!(said.contains("there is no secret db") && said.contains("appc secret create db"), "{said}");
        assert_eq!(host.containers(), [""; 0]);
        for name in ["db", "other", "hand"] {
            fs::write(host.file("value"), format!("value of {name}")).unwrap();
            host.appc(["secret", "create", name, "value"]).succeeds();
        }
        assert_eq!(up(host), json!(["created", "started"]));
        assert_eq!(host.sh_in("app", "cat /run/secrets/db").succeeds(), "value of db");
        host.appc(["secret", "grant", "app", "hand"]).succeeds();
        changes_live(host, "secrets = ['db:/etc/db:0440', 'other']");
        assert_eq!(host.sh_in("app", "cat /etc/db; stat -c %a /etc/db").succeeds(), "value of db440");
        let names = "hand\nother";
        assert_eq!(host.sh_in("app", "ls /run/secrets").succeeds(), names);
        host.appc(["secret", "revoke", "app", "other"]).succeeds();
        assert_eq!(up(host), json!(["changed"]));
        assert_eq!(host.sh_in("app", "ls /run/secrets").succeeds(), names);
        changes_live(host, "");
        assert_eq!(host.sh_in("app", "ls /run/secrets; wc -c < /etc/db").succeeds(), "hand\n0");
    });
}

#[test]
fn variables_restart_it_and_outlive_another_image() {
    in_sandbox(|host| {
        section(host, "env = { MODE = 'file', LOG = 'debug' }");
        assert_eq!(up(host), json!(["created", "started"]));
        let variables = || host.sh_in("app", "echo $MODE $LOG $LEVEL").succeeds();
        assert_eq!(variables(), "file debug");
        host.sh_in("app", "echo mine > /root/mine").succeeds();
        let start = host.start_record("app");
        section(host, "env = { LOG = 'info', LEVEL = '3' }");
        assert_eq!(up(host), json!(["changed", "started"]));
        assert_ne!(host.start_record("app"), start);
        assert_eq!(variables(), "image info 3");
        assert_eq!(host.sh_in("app", "cat /root/mine").succeeds(), "mine");
        let text = fs::read_to_string(host.file("appc.toml")).unwrap().replace("'image'", "'other'");
        fs::write(host.file("appc.toml"), text).unwrap();
        assert_eq!(up(host), json!(["replaced", "started"]));
        assert_eq!(variables(), "other info 3");
        section(host, "");
        assert_ne!(up(host), json!([]));
        assert_eq!(variables(), "image");
    });
}

#[test]
fn its_life_is_as_the_file_says() {
    in_sandbox(|host| {
        host.start("db");
        host.start("cache");
        let life = || host.inspect("app")["life"].clone();
        section(
            host,
            "restart = 'on-failure:5'\nafter = ['db']\non_start = 'echo begun > /root/begun'\non_stop = 'true'",
        );
        assert_eq!(up(host), json!(["created", "started"]));
        assert_eq!(host.sh_in("app", "cat /root/begun").succeeds(), "begun");
        assert_eq!((&life()["restart"], &life()["after"]), (&json!("on-failure:5"), &json!(["db"])));
        assert_eq!(life()["on"], json!({ "start": "echo begun > /root/begun", "stop": "true" }));
        host.appc(["set", "app", "--after", "db,cache", "--on-fail", "true"]).succeeds();
        changes_live(host, "restart = 'always'\non_start = 'true'");
        assert_eq!((&life()["restart"], &life()["after"]), (&json!("always"), &json!(["cache"])));
        assert_eq!(life()["on"], json!({ "start": "true", "fail": "true" }));
        host.appc(["set", "app", "--restart", "no"]).succeeds();
        assert_eq!(up(host), json!(["changed"]));
        assert_eq!(life()["restart"], "always");
        changes_live(host, "");
        assert_eq!((&life()["restart"], &life()["on"]), (&json!("no"), &json!({ "fail": "true" })));
        // It is started after what runs.
        section(host, "after = ['db', 'cache']");
        assert_eq!(up(host), json!(["changed"]));
        host.appc(["stop", "app"]).succeeds();
        host.appc(["stop", "db"]).succeeds();
        let said = host.appc(["up"]).fails(1);
        assert!(said.contains("db"), "{said}");
        host.appc(["start", "db"]).succeeds();
        assert_eq!(up(host), json!(["started"]));
        section(host, "after = ['app']");
        host.appc(["up"]).fails(1);
    });
}

#[test]
fn up_waits_until_it_is_healthy() {
    in_sandbox(|host| {
        let times = "interval = '100ms'\nstart_period = '0s'\nretries = 2\n";
        let check =
            |command: &str| format!("wait = {{ timeout = 2 }}\n[container.health]\ncommand = '{command}'\n{times}");
        section(host, &check("cat /root/ok"));
        let said = host.appc(["up"]).fails(124);
        assert!(said.contains("healthy"), "{said}");
        assert_eq!(host.status("app"), "running");
        section(
            host,
            &format!("on_start = 'sleep 0.3; touch /root/ok'\n[container.health]\ncommand = 'cat /root/ok'\n{times}"),
        );
        host.sh_in("app", "touch /root/ok").succeeds();
        assert_eq!(up(host), json!(["changed"]));
        let health = || host.inspect("app")["life"]["health"].clone();
        assert_eq!((&health()["status"], &health()["check"]["retries"]), (&json!("healthy"), &json!(2)));
        host.appc(["stop", "app"]).succeeds();
        assert_eq!(up(host), json!(["started"]));
        assert_eq!(health()["status"], "healthy");
        changes_live(host, "[container.health]\nport = 80\nhttp = '/ok'\non_failure = 'stop'");
        assert_eq!((&health()["status"], &health()["check"]["on_failure"]), (&json!("healthy"), &json!("stop")));
        changes_live(host, "");
        assert!(health().is_null());
    });
}

/// What a killed `up` has given is the file's: if the file says something else by then, it is taken away.
#[test]
fn killed_while_it_gives_what_the_file_does_not_say_any_more() {
    in_sandbox_for(Duration::from_secs(600), |host| {
        host.start("db");
        fs::write(host.file("value"), "value").unwrap();
        host.appc(["secret", "create", "token", "value"]).succeeds();
        let much = "volumes = ['data:/data', 'data:/data/again']\nsecrets = ['token']\nlimits = ['pids=300']\nrestart = 'always'\n\
            after = ['db']\nlinks = { sql = 'db:5432' }\nenv = { LOG = 'debug' }\npublish = ['8080:80']";
        let little = "volumes = ['data:/other']\nlinks = { sql = 'db:80' }";
        kill_at_each_step(
            host,
            9,
            &["up"],
            |_| {
                section(host, little);
                host.appc(["up"]).succeeds();
                section(host, much);
            },
            |_, _| {
                section(host, little);
                up(host);
                let now = host.inspect("app");
                assert_eq!(now["mounts"], json!([{ "volume": "data", "path": "/other" }]));
                assert_eq!((&now["secrets"], &now["life"]["restart"]), (&json!([]), &json!("no")));
                assert_eq!((&now["life"]["after"], &now["network"]["publish"]), (&json!([]), &json!([])));
                assert_eq!(now["network"]["links"][0]["port"].to_string().replace('"', ""), "80");
                assert!(!now["limits"]["asked"].to_string().contains("300"), "{now}");
                assert_eq!(host.sh_in("app", "echo $LOG; cat /run/secrets/token 2> /dev/null || true").succeeds(), "");
            },
        );
        host.appc(["down"]).succeeds();
        clear_up(host);
    });
}
