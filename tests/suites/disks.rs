//! A container that can write so much and no more: full is full in there, and nothing on the host.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use appcontainers_tests::{Host, clear_up, eventually, in_sandbox};

/// How large the container's root is, in MiB, as `df` in there says.
fn size(host: &Host, name: &str) -> u64 {
    host.sh_in(name, "df -m / | tail -n 1 | awk '{print $2}'").succeeds().parse().unwrap()
}

/// Whether this system's root may give a file system in use more room (`CAP_SYS_RESOURCE`, 24): not in every virtual machine.
fn may_grow() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    u64::from_str_radix(mask, 16).unwrap() & 1 << 24 != 0
}

#[test]
fn a_disk_that_is_full_is_full_in_the_container_alone() {
    in_sandbox(|host| {
        host.appc(["provision", "--name", "web", "--disk", "64M"]).succeeds();
        host.start("other");
        host.appc(["start", "web"]).succeeds();
        assert_eq!(host.inspect("web")["disk"], 64 << 20);
        assert!((48..=64).contains(&size(host, "web")), "{}", size(host, "web"));
        let full = host.sh_in("web", "dd if=/dev/zero of=/root/much bs=1M count=128").fails(1);
        assert!(full.contains("No space left"), "{full}");
        host.sh_in("other", "head -c 1000000 /dev/zero > /root/some").succeeds();
        // The host has no more of it than was given, and its log goes on.
        let taken: u64 = host.sh("du -sB1 $APPC_ROOT/containers/web/disk.ext4 | cut -f 1").succeeds().parse().unwrap();
        assert!(taken < 70 << 20, "{taken}");
        assert_eq!(host.sh_in("web", "echo said").succeeds(), "said");
        let parts = host.json(["df"]);
        let overlays = parts["parts"].as_array().unwrap().iter().find(|part| part["kind"] == "overlays").unwrap();
        assert!(overlays["size_bytes"].as_u64().unwrap() >= 60 << 20, "{overlays}");
        // What is written is the container's as ever: over restarts, in its changes, in an image.
        host.sh_in("web", "rm /root/much; echo mine > /root/file; chown 7:8 /root/file; rm /etc/passwd").succeeds();
        host.appc(["restart", "web"]).succeeds();
        assert_eq!(host.sh_in("web", "cat /root/file; stat -c %u:%g /root/file").succeeds(), "mine\n7:8");
        let changes = host.appc(["-c", "web", "diff"]).succeeds();
        assert!(changes.contains("A /root/file") && changes.contains("D /etc/passwd"), "{changes}");
        assert!(!changes.contains("lost+found"), "{changes}");
        host.appc(["-c", "web", "save-image", "web.aimg"]).succeeds();
        host.appc(["load-image", "web.aimg", "--name", "copy"]).succeeds();
        assert_eq!(host.sh_in("copy", "cat /root/file").succeeds(), "mine");
        assert!(host.inspect("copy")["disk"].is_null());
        let ran = host.appc(["run", "--rm", "--image", "web.aimg", "--disk", "32M", "--", "df", "-m", "/"]).succeeds();
        assert!(!ran.is_empty());
    });
}

#[test]
fn a_disk_grows_while_the_container_runs_and_shrinks_while_it_does_not() {
    in_sandbox(|host| {
        host.appc(["provision", "--name", "web", "--disk", "32M"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        let before = host.recorded_pid("web", "init");
        host.sh_in("web", "dd if=/dev/zero bs=1M count=20 | tr '\\0' x > /root/much").succeeds();
        host.sh_in("web", "dd if=/dev/zero of=/root/more bs=1M count=20").fails(1);
        if may_grow() {
            host.appc(["set", "web", "disk=96M"]).succeeds();
            assert_eq!(host.recorded_pid("web", "init"), before);
        } else {
            host.appc(["set", "web", "disk=96M"]).refuses(1, &["web", "CAP_SYS_RESOURCE", "stop"]);
            assert_eq!(host.inspect("web")["disk"], 32 << 20);
            host.appc(["stop", "web"]).succeeds();
            host.appc(["set", "web", "disk=96M"]).succeeds();
            host.appc(["start", "web"]).succeeds();
        }
        assert!(size(host, "web") >= 70, "{}", size(host, "web"));
        host.sh_in("web", "dd if=/dev/zero of=/root/more bs=1M count=40").succeeds();
        assert_eq!(host.inspect("web")["disk"], 96 << 20);
        host.appc(["set", "web", "disk=80M"]).refuses(1, &["is running", "only become larger", "appc stop web"]);
        host.appc(["stop", "web"]).succeeds();
        host.appc(["set", "web", "disk=48M"]).refuses(1, &["does not fit", "No space left"]);
        assert_eq!(host.inspect("web")["disk"], 96 << 20);
        host.sh_in("web", "rm /root/more; ln /root/much /root/again").succeeds();
        host.appc(["set", "web", "disk=48M"]).succeeds();
        assert!(size(host, "web") <= 48, "{}", size(host, "web"));
        assert_eq!(host.sh_in("web", "stat -c '%s %h' /root/again").succeeds(), format!("{} 2", 20 << 20));
        host.appc(["set", "web", "disk=1M"]).refuses(1, &["not possible", "16M"]);
        // A first one, for what was written without.
        host.start("other");
        host.sh_in("other", "echo mine > /root/file; rm /etc/passwd").succeeds();
        host.appc(["set", "other", "disk=32M"]).refuses(1, &["is running", "appc stop other"]);
        host.appc(["stop", "other"]).succeeds();
        host.appc(["set", "other", "disk=32M"]).succeeds();
        assert!(size(host, "other") <= 32);
        assert_eq!(host.sh_in("other", "cat /root/file; ls /etc/passwd 2>/dev/null | wc -l").succeeds(), "mine\n0");
    });
}

#[test]
fn all_that_is_done_with_containers_is_done_with_one_that_has_a_disk() {
    in_sandbox(|host| {
        host.appc(["provision", "--name", "web", "--disk", "32M"]).succeeds();
        host.sh_in("web", "echo mine > /root/file").succeeds();
        host.appc(["rename", "web", "shop"]).succeeds();
        assert_eq!(host.sh_in("shop", "cat /root/file").succeeds(), "mine");
        host.appc(["snapshot", "shop", "first"]).succeeds();
        host.sh_in("shop", "echo other > /root/file").succeeds();
        host.appc(["clone", "shop", "twin"]).succeeds();
        host.appc(["restore", "shop", "first"]).succeeds();
        assert_eq!(host.sh_in("shop", "cat /root/file").succeeds(), "mine");
        assert_eq!(host.sh_in("twin", "cat /root/file").succeeds(), "other");
        assert!(size(host, "twin") <= 32 && size(host, "shop") <= 32);
        host.appc(["reboot", "--fresh", "twin"]).succeeds();
        assert_eq!(host.sh_in("twin", "ls -A /root").succeeds(), "");
        // As after a boot of the host: nothing is mounted any more.
        host.appc(["stop", "twin"]).succeeds();
        eventually("nothing of it is mounted", || {
            let _ = host.sh(
                "for mount in $(grep -o \"$APPC_ROOT/overlays/raw/[a-z]*\" /proc/mounts); do umount -l $mount; done",
            );
            host.sh("! grep \"$APPC_ROOT/overlays/raw\" /proc/mounts").code.eq(&0).then_some(())
        });
        assert_eq!(
            host.appc(["-c", "shop", "diff"]).succeeds().lines().filter(|line| line.contains("file")).count(),
            1
        );
        assert_eq!(host.sh_in("shop", "cat /root/file").succeeds(), "mine");
        // One that can't be read any more says so, and can be removed.
        host.appc(["stop", "twin"]).succeeds();
        let file = host.paths().container(&"twin".parse().unwrap()).join("disk.ext4");
        host.sh("umount -l $APPC_ROOT/overlays/raw/twin; true").succeeds();
        // As long as the file system is mounted anywhere it is not read anew.
        let devices = || host.run("losetup", ["--associated", file.to_str().unwrap()]).succeeds();
        eventually("its device is gone", || devices().is_empty().then_some(()));
        fs::write(&file, "").unwrap();
        let said = host.appc(["start", "twin"]).fails(1);
        assert!(said.contains("cannot mount the container's disk"), "{said}");
        host.appc(["rm", "twin"]).succeeds();
        assert!(!file.exists());
        host.appc(["rm", "-f", "shop"]).succeeds();
        assert!(fs::read_dir(host.paths().raw_overlays()).unwrap().next().is_none());
        clear_up(host);
        host.appc(["provision", "--name", "bad", "--disk", "1M"]).refuses(1, &["not possible"]);
        assert!(host.containers().is_empty());
    });
}
