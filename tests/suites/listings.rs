//! What `ls`, `inspect`, `diff`, `df` and `gc` say, as text and as JSON, and what is said where there is nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, os::unix::fs::MetadataExt};

use appcontainers_tests::{Archive, Host, in_sandbox};
use serde_json::{Value, json};

/// `app.aimg`, from which ephemeral containers are made.
fn image(host: &Host) {
    host.app_image(|maker| drop(host.sh_in(maker, "echo from the image > /root/file").succeeds()));
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
        host.add_startup_command("web", "true");
        host.sh_in("web", "echo > /root/new; rm /bin/ls").succeeds();
        for (command, is_array) in [
            (&["ls"][..], true),
            (&["inspect", "web"], false),
            (&["diff", "web"], true),
            (&["stats"], true),
            (&["top", "--once"], true),
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
