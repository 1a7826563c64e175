//! Volumes: files that outlive containers, with a size that holds, snapshots, and no way to lose one that is used.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf, time::Duration};

use appcontainers_tests::{Host, eventually, in_sandbox, in_sandbox_for};

use serde_json::Value;

const LONG: Duration = Duration::from_secs(400);

fn volume(host: &Host, name: &str) -> Value {
    host.json(["volume", "inspect", name])
}

fn data(host: &Host, name: &str) -> PathBuf {
    host.paths().volumes().join(name).join("data")
}

#[test]
fn a_volume_outlives_its_containers_and_is_shared_by_them() {
    in_sandbox(|host| {
        host.appc(["volume", "create", "data"]).succeeds();
        host.appc(["provision", "--name", "web", "--volume", "data:/srv/data"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        host.sh_in("web", "echo hello > /srv/data/greeting; chown 1000:1000 /srv/data/greeting").succeeds();
        host.start("reader");
        host.appc(["volume", "attach", "reader", "data:/in:ro"]).succeeds();
        // Each has ids of its own, and both see the same owners.
        assert_eq!(host.sh_in("reader", "cat /in/greeting; stat -c %u /in/greeting").succeeds(), "hello\n1000");
        host.sh_in("reader", "echo x > /in/greeting").fails(1);
        host.sh_in("web", "echo again > /srv/data/greeting").succeeds();
        assert_eq!(host.sh_in("reader", "cat /in/greeting").succeeds(), "again");
        let users = volume(host, "data")["used_by"].clone();
        assert_eq!((&users[0]["container"], &users[1]["path"]), (&"reader".into(), &"/srv/data".into()));
        host.appc(["volume", "rm", "data"]).refuses(1, &["used by container reader", "appc volume detach reader data"]);
        host.appc(["volume", "detach", "reader", "data"]).succeeds();
        assert_eq!(host.sh_in("reader", "ls -A /in").succeeds(), "");
        host.appc(["volume", "detach", "reader", "data"]).refuses(1, &["does not have volume data"]);
        host.appc(["restart", "web"]).succeeds();
        assert_eq!(host.sh_in("web", "cat /srv/data/greeting").succeeds(), "again");
        // Nothing of it is the container's.
        let changes = host.appc(["-c", "web", "diff"]).succeeds();
        assert!(!changes.contains("greeting"), "{changes}");
        host.appc(["rm", "-f", "web"]).succeeds();
        host.appc(["provision", "--name", "next", "--volume", "data:/d"]).succeeds();
        assert_eq!(host.sh_in("next", "cat /d/greeting").succeeds(), "again");
        host.appc(["stop", "next"]).succeeds();
        host.appc(["volume", "rm", "data"]).refuses(1, &["used by container next"]);
        host.appc(["rm", "next"]).succeeds();
        host.appc(["volume", "rm", "data"]).succeeds();
        host.appc(["volume", "inspect", "data"]).refuses(1, &["no volume data", "appc volume ls"]);
        assert_eq!(host.json(["volume", "ls"]), Value::Array(Vec::new()));
        let events = host.appc(["--json", "events"]).succeeds();
        assert!(events.contains("volume-attach") && events.contains("volume-detach"), "{events}");
    });
}

#[test]
fn a_size_holds_for_all_containers_together() {
    in_sandbox(|host| {
        host.appc(["volume", "create", "small", "--size", "32M"]).succeeds();
        for name in ["one", "two"] {
            host.appc(["provision", "--name", name, "--volume", "small:/data"]).succeeds();
            host.appc(["start", name]).succeeds();
        }
        // One file system, and nothing in it that a program would stumble over.
        assert_eq!(host.sh_in("one", "ls -A /data; echo here > /data/file").succeeds(), "");
        assert_eq!(host.sh_in("two", "cat /data/file").succeeds(), "here");
        let full = host.sh_in("two", "dd if=/dev/zero of=/data/much bs=1M count=64").fails(1);
        assert!(full.contains("No space left"), "{full}");
        let full = host.sh_in("one", "dd if=/dev/zero of=/data/more bs=1M count=2").fails(1);
        assert!(full.contains("No space left"), "{full}");
        let taken: u64 = host.sh("du -sB1 $APPC_ROOT/volumes/small | cut -f 1").succeeds().parse().unwrap();
        assert!((32 << 20..40 << 20).contains(&taken), "{taken}");
        let details = volume(host, "small");
        assert_eq!(details["size_bytes"], 32 << 20);
        assert!(details["used_bytes"].as_u64().unwrap() > 20 << 20, "{details}");
        host.sh_in("one", "rm /data/much; echo fits > /data/more").succeeds();
        // Over a stop, and with another command's death.
        host.appc(["stop", "one"]).succeeds();
        host.kill_monitor("two");
        host.appc(["restart", "two"]).succeeds();
        host.appc(["start", "one"]).succeeds();
        assert_eq!(host.sh_in("one", "cat /data/file /data/more").succeeds(), "here\nfits");
        host.appc(["volume", "detach", "one", "small"]).succeeds();
        host.appc(["volume", "attach", "one", "small:/again:ro"]).succeeds();
        host.sh_in("one", "cat /again/more; ! touch /again/x").succeeds();
        for (size, words) in [("1M", "16M"), ("1000000T", "")] {
            host.appc(["volume", "create", "bad", "--size", size]).refuses(1, &["not possible", words]);
        }
        // What the disk has not is said at once.
        let _disk = host.small_disk(&host.file("disk"), "20m");
        let other = host.elsewhere();
        other.appc(["setup"]).succeeds();
        host.sh(&format!("mount --bind disk {}", other.paths().volumes().display())).succeeds();
        other.appc(["volume", "create", "big", "--size", "64M"]).refuses(1, &["No space left", "big"]);
        assert_eq!(fs::read_dir(other.paths().volumes()).unwrap().count(), 0);
        host.sh(&format!("umount {}", other.paths().volumes().display())).succeeds();
        assert_eq!(volume(host, "small")["name"], "small");
    });
}

/// What a tree is: types, modes, owners, links, times, attributes, sums.
fn tree(host: &Host, directory: &str) -> String {
    let line = format!(
        "cd {directory} && find . -mindepth 1 -printf '%p %y %m %U:%G %n %s %T@ %l\\n' | grep -v ' d ' | sort; \
         find . -type d -printf '%p %m %U:%G\\n' | sort; \
         find . -type f -exec sha256sum {{}} + | sort; getfattr -Rdm - . 2>/dev/null | sort; du -sB4096 sparse | cut -f 1"
    );
    host.sh(&line).succeeds()
}

/// Files of every kind, in a directory that is the host's to see.
fn fill(host: &Host, directory: &str) {
    let line = format!(
        "cd {directory} && mkdir sub && echo one > sub/one && chown 33:44 sub/one && chmod 4751 sub/one && ln sub/one two && \
         ln -s /nowhere link && truncate -s 100M sparse && echo end >> sparse && setfattr -n user.colour -v red sub/one && \
         mkfifo pipe && chown 5 pipe && touch -d 2001-02-03 sub/one && printf x > $(printf 'b\\303d\\377') && chmod 2770 sub"
    );
    host.sh(&line).succeeds();
}

#[test]
fn a_snapshot_keeps_everything_and_a_rollback_brings_it_back() {
    // Each copy is brought to the disk, with all else that is to be written there.
    in_sandbox_for(LONG, |host| {
        host.appc(["volume", "create", "data"]).succeeds();
        let place = data(host, "data").display().to_string();
        fill(host, &place);
        let before = tree(host, &place);
        host.appc(["volume", "snapshot", "data", "first"]).succeeds();
        let kept = host.paths().volumes().join("data/snapshots/first/data").display().to_string();
        assert_eq!(tree(host, &kept), before);
        host.appc(["volume", "snapshot", "data", "first"]).refuses(1, &["snapshot first already"]);
        host.sh(&format!("cd {place} && rm -rf sub two && echo other > link2 && chmod 700 .")).succeeds();
        let second = host.appc(["volume", "snapshot", "data"]).succeeds();
        host.appc(["volume", "rollback", "data", "first"]).succeeds();
        assert_eq!(tree(host, &place), before);
        host.appc(["volume", "rollback", "data", &second]).succeeds();
        assert_eq!(fs::read_to_string(data(host, "data").join("link2")).unwrap(), "other\n");
        host.appc(["volume", "rollback", "data", "never"]).refuses(1, &["no snapshot never"]);
        let snapshots = volume(host, "data")["snapshots"].clone();
        assert_eq!((&snapshots[0]["name"], &snapshots[1]["name"]), (&"first".into(), &second.clone().into()));
        host.appc(["volume", "rm-snapshot", "data", &second]).succeeds();
        assert_eq!(volume(host, "data")["snapshots"].as_array().unwrap().len(), 1);
        host.appc(["volume", "rollback", "data", "first"]).succeeds();
        host.appc(["volume", "clone", "data", "copy"]).succeeds();
        assert_eq!(tree(host, &data(host, "copy").display().to_string()), before);
        host.appc(["volume", "clone", "data", "copy"]).refuses(1, &["a volume copy already"]);
        host.appc(["volume", "rm", "data"]).succeeds();
        assert_eq!(tree(host, &data(host, "copy").display().to_string()), before);
        assert_eq!(host.sh("ls -A $APPC_ROOT/volumes").succeeds(), "copy");
        host.appc(["volume", "rm", "copy"]).succeeds();
    });
}

#[test]
fn a_volume_with_a_size_is_snapshotted_rolled_back_and_cloned_too() {
    in_sandbox_for(LONG, |host| {
        host.appc(["volume", "create", "data", "--size", "64M"]).succeeds();
        host.appc(["provision", "--name", "web", "--volume", "data:/data"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        // Written all the time: a snapshot is of one moment. No line of `two` is ahead of `one`.
        let line = "cd /data; n=0; while :; do n=$((n+1)); echo $n > one.new; mv one.new one; echo $n > two.new; mv two.new two; done";
        host.spawn_in("web", line);
        eventually("it writes", || (host.sh_in("web", "cat /data/two").code == 0).then_some(()));
        for number in 0..3 {
            let name = format!("s{number}");
            host.appc(["volume", "snapshot", "data", &name]).succeeds();
            let kept = host.paths().volumes().join("data/snapshots").join(&name).join("data");
            let read = |file: &str| fs::read_to_string(kept.join(file)).unwrap().trim().parse::<u64>().unwrap();
            assert!(read("one") - read("two") <= 1, "{} {}", read("one"), read("two"));
        }
        let number = || host.sh_in("web", "cat /data/two").text();
        let now = number();
        eventually("it goes on", || (number() != now).then_some(()));
        host.appc(["volume", "rollback", "data", "s0"]).refuses(1, &["web runs with volume data", "appc stop web"]);
        host.appc(["volume", "clone", "data", "copy"]).succeeds();
        assert_eq!(volume(host, "copy")["size_bytes"], 64 << 20);
        host.appc(["stop", "web"]).succeeds();
        host.appc(["volume", "rollback", "data", "s0"]).succeeds();
        let kept = fs::read_to_string(host.paths().volumes().join("data/snapshots/s0/data/one")).unwrap();
        assert_eq!(host.sh_in("web", "cat /data/one").succeeds(), kept.trim());
        let full = host.sh_in("web", "dd if=/dev/zero of=/data/much bs=1M count=128").fails(1);
        assert!(full.contains("No space left"), "{full}");
    });
}

#[test]
fn a_volume_whose_directory_is_gone_stops_the_start_and_says_so() {
    in_sandbox(|host| {
        host.appc(["volume", "create", "data"]).succeeds();
        host.appc(["volume", "create", "other", "--size", "16M"]).succeeds();
        host.appc(["provision", "--name", "web", "--volume", "data:/data", "--volume", "other:/other"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        host.appc(["stop", "web"]).succeeds();
        for name in ["data", "other"] {
            let place = host.paths().volumes().join(name);
            fs::rename(&place, host.file("away")).unwrap();
            let hint = format!("appc unmount web /{name}");
            host.appc(["start", "web"]).refuses(1, &["cannot start container web", &format!("volume {name}"), &hint]);
            assert_eq!(host.status("web"), "stopped");
            fs::rename(host.file("away"), &place).unwrap();
        }
        fs::remove_file(host.paths().volumes().join("data/volume.json")).unwrap();
        host.appc(["start", "web"]).refuses(1, &["volume data", "appc unmount web /data"]);
        host.appc(["unmount", "web", "/data"]).succeeds();
        host.appc(["start", "web"]).succeeds();
    });
}

#[test]
fn a_disk_that_is_full_loses_no_volume() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        host.appc(["volume", "create", "old"]).succeeds();
        fs::write(data(host, "old").join("file"), vec![b'x'; 2_000_000]).unwrap();
        // All of the state of volumes is on a disk that has no more room than for that.
        let volumes = host.paths().volumes();
        host.sh(&format!(
            "mkdir disk && mount -t tmpfs -o size=3m,mode=0711 tmpfs disk && cp -a {0}/. disk && \
             mount --bind disk {0}",
            volumes.display()
        ))
        .succeeds();
        host.appc(["volume", "snapshot", "old", "s"]).refuses(1, &["No space left"]);
        host.appc(["volume", "clone", "old", "new"]).refuses(1, &["No space left"]);
        let fill = || host.sh(&format!("dd if=/dev/zero of={}/fill bs=4k 2>/dev/null", volumes.display())).fails(1);
        fill();
        host.appc(["volume", "create", "new"]).refuses(1, &["No space left"]);
        assert_eq!(host.sh(&format!("ls -A {}", volumes.display())).succeeds(), "fill\nold");
        assert_eq!(volume(host, "old")["snapshots"], Value::Array(Vec::new()));
        assert_eq!(fs::metadata(data(host, "old").join("file")).unwrap().len(), 2_000_000);
        host.sh(&format!("rm {0}/fill && umount {0} && umount disk", volumes.display())).succeeds();
        // The same for a container's settings.
        host.provision("web");
        let containers = host.paths().containers();
        host.sh(&format!(
            "mount -t tmpfs -o size=512k,mode=0711 tmpfs disk && cp -a {0}/. disk && mount --bind disk {0}",
            containers.display()
        ))
        .succeeds();
        let _ = host.sh(&format!("dd if=/dev/zero bs=1k of={}/.fill", containers.display()));
        host.appc(["volume", "attach", "web", "old:/x"]).refuses(1, &["cannot write", "No space left"]);
        assert_eq!(volume(host, "old")["used_by"], Value::Array(Vec::new()));
        host.sh(&format!("rm {0}/.fill && umount {0} && umount disk", containers.display())).succeeds();
        host.appc(["volume", "attach", "web", "old:/x"]).succeeds();
    });
}
