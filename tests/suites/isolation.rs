//! What a container's root may not do, tried from inside, and what of it the host sees.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use appcontainers_tests::{Archive, Host, eventually, in_sandbox};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

#[test]
fn root_inside_is_nobody_outside() {
    in_sandbox(|host| {
        fs::write("/etc/subuid", "ann:100000:65536\nbob:1000000:300000\n").unwrap();
        fs::write("/etc/subgid", "ann:100000:65536\n").unwrap();
        host.start("one");
        host.start("two");
        let mut ranges = Vec::new();
        for name in ["one", "two"] {
            let map = host.in_container(name, ["cat", "/proc/self/uid_map"]).succeeds();
            let numbers: Vec<u64> = map.split_whitespace().map(|word| word.parse().unwrap()).collect();
            assert_eq!((numbers[0], numbers[2], numbers.len()), (0, 65536, 3), "{map}");
            assert_eq!(host.in_container(name, ["cat", "/proc/self/gid_map"]).succeeds(), map);
            let init = host.recorded_pid(name, "init").unwrap();
            let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
            let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).unwrap();
            assert!(uid.split_whitespace().all(|id| id == numbers[1].to_string()), "{uid} {map}");
            ranges.push(numbers[1]..numbers[1] + 65536);
        }
        ranges.push(100_000..165_536);
        ranges.push(1_000_000..1_300_000);
        ranges.sort_by_key(|range| range.start);
        assert!(ranges.windows(2).all(|two| two[0].end <= two[1].start), "{ranges:?}");
        assert!(ranges[0].start > 0);
    });
}

/// From `linux/capability.h`: what would let a container's root out, or at the host.
const NEVER: &[(u32, &str)] = &[
    (2, "dac_read_search"),
    (12, "net_admin"),
    (16, "sys_module"),
    (17, "sys_rawio"),
    (19, "sys_ptrace"),
    (20, "sys_pacct"),
    (21, "sys_admin"),
    (22, "sys_boot"),
    (23, "sys_nice"),
    (24, "sys_resource"),
    (25, "sys_time"),
    (27, "mknod"),
    (32, "mac_override"),
    (33, "mac_admin"),
    (34, "syslog"),
    (38, "perfmon"),
    (39, "bpf"),
    (40, "checkpoint_restore"),
];

#[test]
fn capabilities_are_few_and_no_program_gets_more() {
    in_sandbox(|host| {
        host.start("web");
        host.appc(["provision", "--name", "trusted", "--privileged"]).succeeds();
        for name in ["web", "trusted"] {
            let status = host.in_container(name, ["cat", "/proc/self/status"]).succeeds();
            let field =
                |wanted: &str| status.lines().find_map(|line| line.strip_prefix(wanted)).unwrap().trim().to_owned();
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
                let bits = u64::from_str_radix(&field(set), 16).unwrap();
                for (bit, capability) in NEVER {
                    assert_eq!(bits >> bit & 1, 0, "{name} has {capability} in {set}");
                }
            }
            assert_eq!(field("NoNewPrivs:"), "1");
            assert_eq!(field("Seccomp:"), "2");
        }
    });
}

#[test]
fn mounts_devices_and_namespaces_are_refused() {
    in_sandbox(|host| {
        host.start("web");
        host.appc(["provision", "--name", "trusted", "--privileged"]).succeeds();
        host.appc(["start", "trusted"]).succeeds();
        for name in ["web", "trusted"] {
            for line in [
                "mount -t tmpfs tmpfs /mnt",
                "mount -t proc proc /mnt",
                "mount -o bind /etc /mnt",
                "mount -o remount,rw /sys",
                "mount -o remount,dev /",
                "umount /proc",
                "umount -l /etc/hosts",
                "umount /dev/.appc/sock",
                "mknod /root/disk b 8 0",
                "mknod /dev/mem c 1 1",
                "unshare -U true",
                "unshare -r -m true",
                "unshare -m true",
                "unshare -n true",
                "pivot_root . .",
                "hostname evil",
                "! date -s 2001-01-01 2>&1 | grep -q 'not permitted'",
                "swapon /etc/passwd",
                "insmod /etc/passwd",
                "echo h > /proc/sysrq-trigger",
                "cat /proc/sys/vm/swappiness > /proc/sys/vm/swappiness",
                "echo x > /sys/power/state",
                "cat /proc/kcore | head -c 1 | grep .",
                "cat /dev/kmsg",
                "dmesg",
                "ip link set eth0 down",
                "ip addr add 10.0.0.1/8 dev eth0",
                "cat /proc/keys | grep .",
                "cat /proc/timer_list | grep .",
                "ls /sys/firmware | grep .",
                "mkdir /sys/fs/cgroup/mine",
            ] {
                let done = host.sh_in(name, &format!("mkdir -p /mnt; {line}"));
                assert_ne!(done.code, 0, "{}", done.transcript());
            }
            host.in_container(name, ["hostname"]).succeeds();
        }
    });
}

#[test]
fn the_root_file_system_knows_no_devices() {
    in_sandbox(|host| {
        host.start("web");
        let mounts = host.in_container("web", ["cat", "/proc/mounts"]).succeeds();
        let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
        let options: Vec<_> = root.split(' ').nth(3).unwrap().split(',').collect();
        assert!(options.contains(&"nodev") && options.contains(&"rw"), "{root}");
        // /run and /dev/shm are memory, /tmp is not.
        for (path, kind) in [("/run", "tmpfs"), ("/dev/shm", "tmpfs"), ("/dev", "tmpfs")] {
            assert!(
                mounts.lines().any(|line| line.split(' ').nth(1) == Some(path) && line.split(' ').nth(2) == Some(kind)),
                "{path}: {mounts}"
            );
        }
        assert!(!mounts.contains(" /tmp "), "{mounts}");
        for device in ["null", "zero", "full", "random", "urandom", "tty", "ptmx"] {
            assert_eq!(
                host.in_container("web", ["stat", "-L", "-c", "%F", &format!("/dev/{device}")]).succeeds(),
                "character special file"
            );
        }
        assert_eq!(
            host.sh_in("web", "head -c 3 /dev/zero | wc -c; echo x > /dev/null; head -c 8 /dev/urandom | wc -c")
                .succeeds(),
            "3\n8"
        );
    });
}

/// A node that came into the container's /dev by whatever way opens for nobody: the devices cgroup says so.
#[test]
fn a_device_node_in_dev_does_not_open_either() {
    in_sandbox(|host| {
        host.appc(["provision", "--name", "web", "--privileged"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        let root = format!("/proc/{}/root/dev", host.recorded_pid("web", "init").unwrap());
        // Harmless ones: loop-control, and a loop device.
        for (name, kind, major, minor) in
            [("evil-char", FileType::CharacterDevice, 10, 237), ("evil-block", FileType::BlockDevice, 7, 0)]
        {
            mknodat(CWD, format!("{root}/{name}"), kind, Mode::from_bits_retain(0o666), makedev(major, minor)).unwrap();
            fs::set_permissions(format!("{root}/{name}"), fs::Permissions::from_mode(0o666)).unwrap();
            let tried = host.sh_in("web", &format!("exec 3< /dev/{name}"));
            assert_ne!(tried.code, 0, "{}", tried.transcript());
            assert!(String::from_utf8_lossy(&tried.stderr).contains("not permitted"), "{}", tried.transcript());
        }
    });
}

#[test]
fn a_container_that_forks_without_end_is_held_by_its_limit() {
    in_sandbox(|host| {
        host.start("web");
        let limit: u32 =
            fs::read_to_string(&host.cgroup_files("web", "payload/pids.max")[0]).unwrap().trim().parse().unwrap();
        assert!(limit <= 10_000, "{limit}");
        let bomb = host.sh_in("web", "i=0; while [ $i -lt 12000 ]; do sleep 1000 & i=$((i+1)); done");
        assert!(String::from_utf8_lossy(&bomb.stderr).contains("fork"), "{}", bomb.transcript());
        // The host is not held up, and the container ends when it shall.
        host.provision("other");
        host.in_container("other", ["true"]).succeeds();
        host.appc(["stop", "web", "--timeout", "1"]).succeeds();
        host.in_container("web", ["true"]).succeeds();
    });
}

#[test]
fn containers_that_share_layers_do_not_see_each_others_files() {
    in_sandbox(|host| {
        for name in ["one", "two", "three"] {
            host.start(name);
        }
        host.sh_in("one", "echo one > /root/file; echo evil >> /etc/passwd; rm -r /bin/vi /usr; chmod 700 /tmp")
            .succeeds();
        let before = host.sh_in("three", "ls -la /bin /root; ls /; ls -ld /tmp; cat /etc/passwd").succeeds();
        assert_eq!(host.sh_in("two", "ls -la /bin /root; ls /; ls -ld /tmp; cat /etc/passwd").succeeds(), before);
        assert!(!before.contains("evil") && before.contains("vi"), "{before}");
        host.provision("four");
        assert_eq!(host.in_container("four", ["ls", "-A", "/root"]).succeeds(), "");
        // Nor does the base.
        host.appc(["rm", "-f", "one"]).succeeds();
        host.provision("one");
        host.in_container("one", ["ls", "/bin/vi"]).succeeds();
    });
}

#[test]
fn the_agent_is_out_of_reach_of_the_containers_root() {
    in_sandbox(|host| {
        host.start("web");
        for line in [
            "cat /proc/1/environ",
            "cat /proc/1/mem | head -c 1 | grep .",
            "ls /proc/1/fd/",
            "readlink /proc/1/exe",
            "ls /proc/1/root/",
            "cat /proc/1/maps | grep .",
            "cat /dev/.appc/agent",
            "echo x > /dev/.appc/agent",
            "echo x >> /proc/1/exe",
            "rm /dev/.appc/agent",
            "touch /dev/.appc/sock/evil",
            "rm /dev/.appc/sock/*",
            "chmod 777 /dev/.appc/sock",
            "echo 1000 > /proc/1/oom_score_adj",
        ] {
            let done = host.sh_in("web", line);
            assert_ne!(done.code, 0, "{}", done.transcript());
        }
        // Signals of its own container do nothing to it.
        host.sh_in("web", "kill -9 1; kill -TERM 1; kill -STOP 1; kill -SEGV 1; true").succeeds();
        host.in_container("web", ["true"]).succeeds();
        // A lower value of the agent's would be one that every process of the container may give itself.
        let init = host.recorded_pid("web", "init").unwrap();
        let score = fs::read_to_string(format!("/proc/{init}/oom_score_adj")).unwrap();
        assert_eq!(score.trim(), "0");
        host.sh_in("web", "echo -1000 > /proc/self/oom_score_adj").fails(1);
        assert_eq!(host.in_container("web", ["cat", "/proc/self/oom_score_adj"]).succeeds(), "0");
    });
}

#[test]
fn a_container_that_hides_its_agents_files_goes_on() {
    in_sandbox(|host| {
        host.start("web");
        let _ = host.sh_in("web", "mv /dev/.appc /dev/elsewhere; mkdir /dev/.appc; cp /bin/busybox /dev/.appc/agent");
        assert_eq!(host.in_container("web", ["echo", "fine"]).succeeds(), "fine");
        Archive::new().file("a", b"x").write(host.file("a.tar"));
        host.appc(["-c", "web", "load-archive", "a.tar"]).succeeds();
        assert_eq!(host.in_container("web", ["cat", "a"]).succeeds(), "x");
        host.appc(["restart", "web"]).succeeds();
        host.in_container("web", ["true"]).succeeds();
    });
}

/// A base whose `path` is a symbolic link to `target`.
fn linked_base(host: &Host, base: &str, path: &str, target: &str) {
    host.sh(&format!(
        "rm -rf tree; mkdir -p tree/bin tree/etc tree/dev tree/proc tree/sys tree/run tree/root tree/tmp tree/var; cp $(which busybox) tree/bin/
         for a in sh cat ls echo; do ln -s busybox tree/bin/$a; done; echo root:x:0:0::/root:/bin/sh > tree/etc/passwd
         rm -rf tree/{path}; ln -s {target} tree/{path}"
    ))
    .succeeds();
    host.appc(["base", "import", "tree", "--name", base]).succeeds();
}

#[test]
fn an_image_whose_directories_are_links_to_the_host_touches_nothing_there() {
    in_sandbox(|host| {
        let canary = host.file("canary");
        fs::create_dir(&canary).unwrap();
        fs::set_permissions(&canary, fs::Permissions::from_mode(0o777)).unwrap();
        for file in ["hosts", "hostname", "resolv.conf", "passwd", "null"] {
            fs::write(canary.join(file), "host").unwrap();
        }
        let state = || {
            let mut all: Vec<_> = fs::read_dir(&canary)
                .unwrap()
                .map(|entry| {
                    let entry = entry.unwrap();
                    let status = entry.metadata().unwrap();
                    (
                        entry.file_name(),
                        status.mode(),
                        status.uid(),
                        fs::read_to_string(entry.path()).unwrap_or_default(),
                    )
                })
                .collect();
            all.sort();
            (all, fs::metadata(&canary).unwrap().mode(), fs::metadata(&canary).unwrap().uid())
        };
        let before = state();
        let absolute = canary.to_str().unwrap().to_owned();
        let climbing = format!("../../../../../../../../../../..{absolute}");
        let hosts_file = format!("{absolute}/hosts");
        let mut n = 0;
        for path in
            ["etc", "dev", "proc", "sys", "run", "root", "tmp", "etc/hosts", "etc/resolv.conf", "dev/.appc", "dev/shm"]
        {
            let targets = if path.contains("etc/") { vec![&hosts_file] } else { vec![&absolute, &climbing] };
            for target in targets {
                n += 1;
                let (base, name) = (format!("b{n}"), format!("c{n}"));
                linked_base(host, &base, path, target);
                // It runs, or is refused in one line: the host's files stay as they are.
                let made = host.appc(["provision", "--base", &base, "--name", &name]);
                if made.code == 0 {
                    let ran = host.sh_in(
                        &name,
                        "echo evil > /etc/hosts; echo evil > /tmp/evil; echo evil > /root/evil; cat /etc/passwd",
                    );
                    assert!(ran.code <= 127, "{}", ran.transcript());
                    assert!(!ran.text().contains("host"), "{path}: {}", ran.transcript());
                    if ran.code == 125 {
                        ran.refuses(125, &[&name]);
                    }
                    host.appc(["rm", "-f", &name]).succeeds();
                }
                assert_eq!(state(), before, "{path} -> {target}");
                host.appc(["base", "rm", &base]).succeeds();
            }
        }
    });
}

#[test]
fn the_state_directory_is_closed_to_others() {
    in_sandbox(|host| {
        host.start("web");
        assert_eq!(fs::metadata(host.paths().root()).unwrap().permissions().mode() & 0o777, 0o711);
        // As anyone else on the host: nothing to list, nothing to read.
        let root = host.paths().root().display().to_string();
        let run = host.paths().run().display().to_string();
        let own = host.inspect("web")["id_range"]["base"].as_u64().unwrap_or(65534).to_string();
        for user in ["65534", own.as_str()] {
            for directory in [&root, &run] {
                let listed = host.sh(&format!("cd /; setpriv --reuid {user} --regid {user} --clear-groups find {directory} -type f -readable 2>/dev/null"));
                assert_eq!(listed.text(), "", "readable for {user}");
            }
            host.sh(&format!("cd /; setpriv --reuid {user} --regid {user} --clear-groups appc ls")).fails(1);
        }
        eventually("still runs", || (host.in_container("web", ["true"]).code == 0).then_some(()));
    });
}
