//! `appc snapshot` and `restore`: a container is again what it was, wholly, or as it is.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use appcontainers_tests::{Host, LIMIT, eventually, in_sandbox, in_sandbox_for};
use serde_json::{Value, json};

/// A test of dozens of starts.
const LONG: Duration = Duration::from_secs(400);

fn snapshots(host: &Host, name: &str) -> Vec<String> {
    let all = host.json(["snapshots", name]);
    all.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_restored_container_is_what_it_was_to_the_last_attribute() {
    in_sandbox(|host| {
        host.provision("web");
        host.write_everything("web");
        let before = host.written("web");
        assert_eq!(host.appc(["snapshot", "web", "full"]).succeeds(), "full");
        assert_eq!(host.written("web"), before, "a snapshot changes nothing");
        host.sh_in("web", "chmod 700 /srv/a/b/c; rm -r /srv/*; echo other > /srv/other; echo > /etc/passwd").succeeds();
        let sealed = fs::read_dir(host.paths().container(&"web".parse().unwrap())).unwrap().count();
        host.appc(["restore", "web", "full"]).succeeds();
        assert_eq!(host.written("web"), before);
        assert_eq!(host.sh_in("web", "cat /srv/a/b/two; ls /etc/network; ls -d /etc/passwd").text(), "one\nx");
        assert_eq!(host.status("web"), "stopped");
        // Nothing is left beside, and it can be done again.
        assert_eq!(fs::read_dir(host.paths().container(&"web".parse().unwrap())).unwrap().count(), sealed);
        host.appc(["restore", "web", "full"]).succeeds();
        assert_eq!(host.written("web"), before);
        assert_eq!(host.appc(["doctor"]).code, 0);
    });
}

#[test]
fn a_running_container_is_stopped_restored_and_started() {
    in_sandbox(|host| {
        host.provision("web");
        host.add_startup_command("web", "while :; do sleep 1; done");
        host.appc(["start", "web"]).succeeds();
        host.sh_in("web", "echo before > /root/file").succeeds();
        let before = host.inspect("web");
        host.appc(["snapshot", "web", "a"]).succeeds();
        assert_eq!(host.status("web"), "running");
        let init = host.recorded_pid("web", "init");
        host.sh_in("web", "echo after > /root/file; echo > /root/late").succeeds();
        host.appc(["restore", "web", "a", "--time", "0"]).succeeds();
        assert_ne!(host.recorded_pid("web", "init"), init);
        assert_eq!(host.inspect("web"), before, "address, MAC, ids and all else");
        assert_eq!(
            host.appc(["-c", "web", "exec", "--", "sh", "-c", "cat /root/file; ls /root"]).succeeds(),
            "before\nfile"
        );
        let kinds = host.json(["snapshots", "web"]);
        assert_eq!(kinds[0]["automatic"], json!(false));
        let events = host.appc(["events", "--json"]).succeeds();
        let of_web: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for kind in ["snapshot", "restore"] {
            let event = of_web.iter().find(|event| event["kind"] == kind).unwrap_or_else(|| panic!("{kind}: {events}"));
            assert_eq!((&event["container"], &event["details"]["snapshot"]), (&json!("web"), &json!("a")));
        }
    });
}

#[test]
fn the_configuration_goes_back_and_what_is_the_containers_own_stays() {
    in_sandbox(|host| {
        host.provision("web");
        host.provision("client");
        host.add_startup_command("web", "sleep 1000");
        host.appc(["autostart", "web", "on"]).succeeds();
        host.appc(["snapshot", "web", "a"]).succeeds();
        let config = host.inspect("web")["config"].clone();
        host.add_startup_command("web", "sleep 2000");
        host.appc(["autostart", "web", "off"]).succeeds();
        host.appc(["allow", "client", "web:80"]).succeeds();
        host.appc(["rename", "web", "shop"]).succeeds();
        let now = host.inspect("shop");
        host.appc(["restore", "shop", "a"]).succeeds();
        let restored = host.inspect("shop");
        assert_eq!((&restored["config"], &restored["autostart"]), (&config, &json!(true)));
        for key in ["name", "hostname", "ip", "mac", "id_range", "network", "created"] {
            assert_eq!(restored[key], now[key], "{key}");
        }
        assert_eq!(host.in_container("shop", ["hostname"]).succeeds(), "shop");
    });
}

#[test]
fn a_snapshot_of_a_container_that_writes_all_the_time_is_of_one_moment() {
    in_sandbox_for(LONG, |host| {
        host.start("web");
        // `b` is never ahead of `a`, `a` never more than one ahead of `b`; in between come names that sort elsewhere.
        let writer = host.spawn_in(
            "web",
            "cd /root; mkdir d; n=0; while :; do n=$((n+1)); echo $n > z.new; mv z.new z-first; echo $n > d/$((n % 50)); \
             echo $n > a.new; mv a.new a-second; done",
        );
        eventually("it writes", || (host.sh_in("web", "test -e /root/a-second").code == 0).then_some(()));
        let mut last = 0;
        for n in 0..5 {
            let name = format!("s{n}");
            host.appc(["snapshot", "web", &name]).succeeds();
            let root = host.paths().container_snapshots(&"web".parse().unwrap()).join(&name).join("upper/root");
            let number = |file: &str| fs::read_to_string(root.join(file)).unwrap().trim().parse::<u64>().unwrap();
            let (first, second) = (number("z-first"), number("a-second"));
            assert!(first == second || first == second + 1, "{first} and {second}");
            assert!(second > last, "it went on after the snapshot before");
            last = second;
            let known = |wait: u64| {
                eventually("it goes on", || {
                    let text = host.appc(["-c", "web", "exec", "--", "cat", "/root/a-second"]).text();
                    text.trim().parse::<u64>().is_ok_and(|now| now > wait).then_some(())
                })
            };
            known(last);
        }
        host.appc(["-c", "web", "kill", &writer]).succeeds();
    });
}

#[test]
fn snapshots_are_listed_kept_renamed_and_removed_with_their_container() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh_in("web", "head -c 300000 /dev/urandom > /root/noise").succeeds();
        assert_eq!(host.json(["snapshots", "web"]), json!([]));
        host.appc(["snapshot", "web", "mine"]).succeeds();
        let mut made = Vec::new();
        for _ in 0..5 {
            made.push(host.appc(["snapshot", "web", "--keep", "3"]).succeeds());
        }
        let mut left = vec!["mine".to_owned()];
        left.extend_from_slice(&made[2..]);
        assert_eq!(snapshots(host, "web"), left, "what was given a name stays");
        let mine = host.json(["snapshot", "ls", "web"])[0].clone();
        assert!((300_000..1_000_000).contains(&mine["size_bytes"].as_u64().unwrap()), "{mine}");
        assert!(mine["created"].is_string() && mine["files"].as_u64().unwrap() > 2, "{mine}");
        let part = |host: &Host| {
            let parts = host.json(["df"])["parts"].clone();
            parts.as_array().unwrap().iter().find(|part| part["kind"] == "snapshots").unwrap().clone()
        };
        assert_eq!(part(host)["count"], 4);
        assert!(part(host)["size_bytes"].as_u64().unwrap() > 4 * 300_000);
        host.appc(["rename", "web", "shop"]).succeeds();
        assert_eq!(snapshots(host, "shop"), left);
        host.appc(["snapshot", "rm", "shop", &made[4]]).succeeds();
        host.appc(["snapshot", "rm", "shop", &made[4]]).refuses(1, &["shop", &made[4]]);
        assert_eq!(snapshots(host, "shop").len(), 3);
        host.sh_in("shop", "rm /root/noise").succeeds();
        host.appc(["restore", "shop", "mine"]).succeeds();
        assert_eq!(host.sh_in("shop", "wc -c < /root/noise").succeeds(), "300000");
        host.appc(["rm", "shop"]).succeeds();
        assert_eq!(part(host)["count"], 0);
        assert_eq!(fs::read_dir(host.paths().containers()).unwrap().count(), 0);
        // Another one of that name has none.
        host.provision("shop");
        assert_eq!(host.json(["snapshots", "shop"]), json!([]));
    });
}

#[test]
fn what_can_not_be_is_refused_before_anything_is_done() {
    in_sandbox(|host| {
        host.start("web");
        host.appc(["snapshot", "web", "a"]).succeeds();
        let init = host.recorded_pid("web", "init");
        host.appc(["snapshot", "web", "a"]).refuses(1, &["web", "a", "appc snapshot rm"]);
        for bad in ["../a", ".new", "A", "", "a/b", "x y"] {
            host.appc(["snapshot", "web", bad]).fails(2);
            host.appc(["restore", "web", bad]).fails(2);
            host.appc(["snapshot", "rm", "web", bad]).fails(2);
        }
        host.appc(["snapshot", "web", "--keep", "0"]).fails(2);
        host.appc(["restore", "web", "nosuch"]).refuses(1, &["web", "nosuch", "appc snapshots web"]);
        host.appc(["snapshot", "nosuch"]).refuses(1, &["nosuch"]);
        host.appc(["snapshots", "nosuch"]).refuses(1, &["nosuch"]);
        assert_eq!(host.recorded_pid("web", "init"), init, "it was not stopped for that");
        assert_eq!(snapshots(host, "web"), ["a"]);
    });
}

#[test]
fn a_snapshot_that_somebody_was_at_is_not_restored() {
    in_sandbox(|host| {
        host.start("web");
        host.sh_in("web", "mkdir /srv/d; for n in 1 2 3; do echo $n > /srv/d/$n; done").succeeds();
        for name in ["gone", "changed", "unreadable", "fine"] {
            host.appc(["snapshot", "web", name]).succeeds();
        }
        let at = |name: &str| host.paths().container_snapshots(&"web".parse().unwrap()).join(name);
        fs::remove_file(at("gone").join("upper/srv/d/2")).unwrap();
        fs::write(at("changed").join("upper/srv/d/2"), "other").unwrap();
        fs::write(at("unreadable").join("snapshot.json"), "{").unwrap();
        host.sh_in("web", "echo now > /srv/now").succeeds();
        for name in ["gone", "changed"] {
            host.appc(["restore", "web", name]).refuses(1, &["web", name, "not as it was made"]);
            assert_eq!(host.status("web"), "running", "as it did before");
            assert_eq!(host.sh_in("web", "cat /srv/now /srv/d/2").succeeds(), "now\n2");
            host.appc(["clone", "web", "other", "--snapshot", name]).refuses(1, &[name, "not as it was made"]);
        }
        let init = host.recorded_pid("web", "init");
        host.appc(["restore", "web", "unreadable"]).refuses(1, &["snapshot.json", "appc snapshot rm"]);
        assert_eq!(host.recorded_pid("web", "init"), init);
        // One that can't be read hides no other, and can be removed.
        assert_eq!(snapshots(host, "web"), ["gone", "changed", "fine"]);
        host.appc(["snapshot", "rm", "web", "unreadable"]).succeeds();
        assert!(!at("unreadable").exists());
        assert_eq!(host.containers(), ["web"]);
        host.appc(["doctor"]).succeeds();
    });
}

#[test]
fn a_full_disk_leaves_nothing_half() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh_in("web", "head -c 3000000 /dev/urandom > /root/noise; echo mine > /root/file").succeeds();
        let directory = host.paths().container(&"web".parse().unwrap());
        let has_no_half = |at: &Path| {
            let names = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.starts_with('.') || name == "next").collect::<Vec<_>>()
        };
        {
            let _disk = host.small_disk(&directory.join("snapshots"), "1m");
            host.appc(["snapshot", "web", "a"]).refuses(1, &["web", "noise", "No space left"]);
            assert_eq!(snapshots(host, "web"), [""; 0]);
            assert!(has_no_half(&directory.join("snapshots")).is_empty());
        }
        host.appc(["snapshot", "web", "a"]).succeeds();
        host.sh_in("web", "echo other > /root/file").succeeds();
        let overlay = host.paths().raw_overlays().join("web");
        {
            // Where the copy would be made: of 4 MB, the half is taken.
            let kept = host.file("kept");
            fs::create_dir(&kept).unwrap();
            host.sh(&format!("cp -a {}/. kept/", overlay.display())).succeeds();
            let _disk = host.small_disk(&overlay, "4m");
            host.sh(&format!("cp -a kept/. {}/", overlay.display())).succeeds();
            host.appc(["restore", "web", "a"]).refuses(1, &["web", "noise", "No space left"]);
            assert!(has_no_half(&overlay).is_empty());
            assert_eq!(host.sh_in("web", "cat /root/file; wc -c < /root/noise").succeeds(), "other\n3000000");
        }
        {
            let _disk = host.small_disk(&host.paths().raw_overlays(), "1m");
            host.appc(["clone", "web", "second", "--snapshot", "a"]).refuses(1, &["web", "noise", "No space left"]);
            assert_eq!(fs::read_dir(host.paths().raw_overlays()).unwrap().count(), 0);
        }
        assert_eq!(host.containers(), ["web"]);
        host.appc(["restore", "web", "a"]).succeeds();
        assert_eq!(host.in_container("web", ["cat", "/root/file"]).succeeds(), "mine");
    });
}

#[test]
fn nobody_waits_until_replaced_files_are_gone() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh_in("web", "mkdir old; for i in $(seq 1 100); do echo $i > old/$i; done").succeeds();
        host.appc(["snapshot", "web", "a"]).succeeds();
        let overlays = host.paths().raw_overlays();
        let overlays = || fs::read_dir(&overlays).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        host.appc(["restore", "web", "a"]).succeeds();
        eventually("the old files go", || (overlays().len() == 1).then_some(()));

        // By this program, the one that removes them does not get to it (0), or can't be started (1).
        let directory = host.file("libexec");
        fs::create_dir(&directory).unwrap();
        for code in [0, 1] {
            let monitor = host.programs().join("appc-monitor");
            let script = format!("#!/bin/sh\n[ $1 != discard ] || exit {code}\nexec {} \"$@\"\n", monitor.display());
            fs::write(directory.join("appc-monitor"), script).unwrap();
            fs::set_permissions(directory.join("appc-monitor"), fs::Permissions::from_mode(0o755)).unwrap();
            let mut restore = host.command("appc");
            restore.args(["restore", "web", "a"]).env("APPC_LIBEXEC", &directory);
            host.start_command(restore, LIMIT).wait().succeeds();
            let left = 1 - code;
            assert_eq!(overlays().len(), 1 + left, "{:?}", overlays());
            let found = host.json(["gc"]);
            assert_eq!(found.as_array().unwrap().len(), left, "{found}");
            assert!(found.as_array().unwrap().iter().all(|one| one["kind"] == "removed layer"), "{found}");
            assert_eq!(overlays().len(), 1);
        }
        assert_eq!(host.sh_in("web", "ls old | wc -l").succeeds(), "100");
    });
}

#[test]
fn an_ephemeral_containers_snapshots_go_with_it() {
    in_sandbox(|host| {
        host.app_image(|maker| drop(host.sh_in(maker, "echo image > /root/file").succeeds()));
        host.ephemeral("guest");
        host.appc(["start", "guest"]).succeeds();
        host.appc(["snapshot", "guest", "clean"]).succeeds();
        host.sh_in("guest", "echo dirty > /root/file").succeeds();
        host.appc(["restore", "guest", "clean", "--time", "0"]).succeeds();
        assert_eq!(host.status("guest"), "running");
        assert_eq!(host.in_container("guest", ["cat", "/root/file"]).succeeds(), "image");
        assert_eq!(snapshots(host, "guest"), ["clean"]);
        host.appc(["stop", "guest", "--timeout", "0"]).succeeds();
        eventually("it is gone", || host.containers().is_empty().then_some(()));
        eventually("all of it", || (fs::read_dir(host.paths().containers()).unwrap().count() == 0).then_some(()));
    });
}

#[test]
fn two_at_once_are_one_after_the_other() {
    in_sandbox(|host| {
        host.start("web");
        host.sh_in("web", "head -c 2000000 /dev/urandom > /root/noise").succeeds();
        let both = [(); 4].map(|()| host.spawn("appc", ["snapshot", "web"]));
        let names: BTreeSet<String> = both.map(|one| one.wait().succeeds()).into_iter().collect();
        assert_eq!(names.len(), 4, "{names:?}");
        let same = [(); 2].map(|()| host.spawn("appc", ["snapshot", "web", "same"]));
        let mut codes = same.map(|one| one.wait().code);
        codes.sort_unstable();
        assert_eq!(codes, [0, 1]);
        let mixed = [
            host.spawn("appc", ["restore", "web", "same", "--time", "0"]),
            host.spawn("appc", ["snapshot", "web", "late"]),
            host.spawn("appc", ["restore", "web", "same", "--time", "0"]),
        ];
        for one in mixed {
            one.wait().succeeds();
        }
        assert_eq!(snapshots(host, "web").len(), 6);
        assert_eq!(host.sh_in("web", "wc -c < /root/noise").succeeds(), "2000000");
        host.appc(["doctor"]).succeeds();
    });
}
