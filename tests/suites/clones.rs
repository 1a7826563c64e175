//! `appc clone`: another container with the same files, and what is its own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use appcontainers_tests::{eventually, in_sandbox};
use serde_json::{Value, json};

#[test]
fn a_clone_has_the_same_files_among_ids_of_its_own() {
    in_sandbox(|host| {
        host.provision("web");
        host.write_everything("web");
        let before = host.written("web");
        assert_eq!(host.appc(["clone", "web", "trial"]).succeeds(), "trial");
        assert_eq!(host.written("trial"), before);
        assert_eq!(host.written("web"), before);
        let [web, trial] = ["web", "trial"].map(|name| host.inspect(name));
        for own in ["ip", "mac", "id_range"] {
            assert_ne!(web[own], trial[own], "{own}");
        }
        for same in ["image", "base", "layers", "config", "overlay", "privileged", "init"] {
            assert_eq!(web[same], trial[same], "{same}");
        }
        assert_eq!(host.sh_in("trial", "hostname; cat /srv/a/b/two; ls /etc/network").succeeds(), "trial\none\nx");
        // They share nothing.
        host.sh_in("trial", "echo trial > /srv/a/one").succeeds();
        assert_eq!(host.in_container("web", ["cat", "/srv/a/one"]).succeeds(), "one");
        host.appc(["rm", "web"]).succeeds();
        assert_eq!(host.in_container("trial", ["cat", "/srv/a/b/two"]).succeeds(), "trial");
    });
}

#[test]
fn a_clone_of_a_running_container_is_of_one_moment_and_stands_still() {
    in_sandbox(|host| {
        host.start("web");
        host.spawn_in("web", "cd /root; while :; do n=$((n+1)); echo $n > z; echo $n > a; done");
        eventually("it writes", || (host.sh_in("web", "test -s /root/a").code == 0).then_some(()));
        let init = host.recorded_pid("web", "init");
        for name in ["one", "two"] {
            host.appc(["clone", "web", name]).succeeds();
            assert_eq!((host.status(name), host.recorded_pid("web", "init")), ("stopped".to_owned(), init));
            let files = host.sh_in(name, "cat /root/z; echo -; cat /root/a").succeeds();
            let number = |text: &str| text.trim().parse::<i64>().ok();
            let (z, a) = files.split_once('-').unwrap();
            // A file that was just opened to be written is empty.
            if let (Some(z), Some(a)) = (number(z), number(a)) {
                assert!(z == a || z == a + 1, "{files}");
            }
        }
    });
}

#[test]
fn a_clone_of_a_snapshot_is_what_the_container_was() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh_in("web", "echo then > /root/file").succeeds();
        host.add_startup_command("web", "sleep 1000");
        host.appc(["snapshot", "web", "then"]).succeeds();
        let config = host.inspect("web")["config"].clone();
        host.sh_in("web", "echo now > /root/file").succeeds();
        host.add_startup_command("web", "sleep 2000");
        host.appc(["clone", "web", "old", "--snapshot", "then"]).succeeds();
        assert_eq!(host.in_container("old", ["cat", "/root/file"]).succeeds(), "then");
        assert_eq!(host.inspect("old")["config"], config);
        assert_eq!(host.json(["snapshots", "old"]), json!([]), "a clone has none of its own yet");
        let events = host.appc(["events", "--json"]).succeeds();
        let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of_old: Vec<_> = events.iter().filter(|event| event["container"] == "old").collect();
        assert_eq!((&of_old[0]["kind"], &of_old[1]["kind"]), (&json!("create"), &json!("clone")));
        assert_eq!(of_old[1]["details"], json!({"of": "web", "snapshot": "then"}));
    });
}

#[test]
fn a_clone_gets_files_of_the_skeleton_of_its_own() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        let skeleton = host.paths().skeletons().join("user/provision/etc/who.tera");
        fs::create_dir_all(skeleton.parent().unwrap()).unwrap();
        fs::write(skeleton, "{{ reservation.name }} {{ reservation.ip }}").unwrap();
        host.provision("web");
        host.appc(["clone", "web", "trial"]).succeeds();
        for name in ["web", "trial"] {
            let ip = host.inspect(name)["ip"].as_str().unwrap().to_owned();
            assert_eq!(host.in_container(name, ["cat", "/etc/who"]).succeeds(), format!("{name} {ip}"));
        }
    });
}

#[test]
fn a_clone_may_connect_where_its_original_may_and_has_none_of_its_other_rules() {
    in_sandbox(|host| {
        for name in ["web", "client", "db"] {
            host.provision(name);
        }
        host.appc(["set", "web", "--egress", "none"]).succeeds();
        host.appc(["allow", "client", "web:80"]).succeeds();
        host.appc(["link", "web", "store", "db:5432"]).succeeds();
        host.appc(["publish", "8080", "web:80"]).succeeds();
        host.appc(["autostart", "web", "on"]).succeeds();
        host.appc(["clone", "web", "trial"]).succeeds();
        let trial = host.inspect("trial");
        assert_eq!(trial["network"]["egress"], host.inspect("web")["network"]["egress"]);
        for rules in ["allow", "links", "publish"] {
            assert_eq!(trial["network"][rules], json!([]), "{rules}");
        }
        assert_eq!((&trial["autostart"], &trial["hostname"]), (&json!(false), &json!("trial")));
        assert_ne!(host.inspect("web")["network"]["publish"], json!([]));
        host.appc(["start", "trial"]).succeeds();
    });
}

#[test]
fn a_clone_that_can_not_be_is_refused_before_anything_is_made() {
    in_sandbox(|host| {
        host.provision("web");
        host.provision("other");
        host.sh_in("other", "echo mine > /root/file").succeeds();
        let before = host.json(["ls"]);
        host.appc(["clone", "web", "other"]).refuses(1, &["other", "taken"]);
        host.appc(["clone", "web", "web"]).refuses(1, &["web", "taken"]);
        host.appc(["clone", "web", "A/b"]).fails(2);
        host.appc(["clone", "nosuch", "new"]).refuses(1, &["nosuch"]);
        host.appc(["clone", "web", "new", "--snapshot", "nosuch"]).refuses(1, &["web", "nosuch"]);
        assert_eq!(host.json(["ls"]), before);
        assert_eq!(host.in_container("other", ["cat", "/root/file"]).succeeds(), "mine");
        assert_eq!(
            host.json(["gc", "--dry-run"]).as_array().unwrap().iter().filter(|one| one["kind"] == "container").count(),
            0
        );
        // Two at once of one name: one is made.
        let both = [(); 2].map(|()| host.spawn("appc", ["clone", "web", "new"]));
        let mut codes = both.map(|one| one.wait().code);
        codes.sort_unstable();
        assert_eq!(codes, [0, 1]);
        host.in_container("new", ["true"]).succeeds();
    });
}

#[test]
fn an_ephemeral_containers_clone_is_ephemeral() {
    in_sandbox(|host| {
        host.app_image(|maker| drop(host.sh_in(maker, "echo image > /root/file").succeeds()));
        host.ephemeral("guest");
        host.appc(["start", "guest"]).succeeds();
        host.sh_in("guest", "echo mine > /root/file").succeeds();
        host.appc(["clone", "guest", "twin"]).succeeds();
        assert_eq!(host.inspect("twin")["overlay"], "tmp");
        host.appc(["start", "twin"]).succeeds();
        assert_eq!(host.in_container("twin", ["cat", "/root/file"]).succeeds(), "mine");
        for name in ["guest", "twin"] {
            host.appc(["stop", name, "--timeout", "0"]).succeeds();
        }
        eventually("both are gone", || host.containers().is_empty().then_some(()));
    });
}
