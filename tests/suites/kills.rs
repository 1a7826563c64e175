//! kill -9 at every step of every command: the next ones find nothing lost, nothing left and nothing frozen.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use appcontainers_tests::{
    Archive, Host, LIMIT, clear_up, eventually, in_sandbox, in_sandbox_for, kill_at_each_step, sampled,
};
use rustix::process::{Signal, kill_process};

fn layers(host: &Host) -> BTreeSet<String> {
    let entries = fs::read_dir(host.paths().layers()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A test of hundreds of commands.
const LONG: Duration = Duration::from_secs(400);

#[test]
fn killed_while_it_sets_the_host_up() {
    in_sandbox_for(LONG, |host| {
        let before: Vec<_> = ["/etc/subuid", "/etc/subgid"].map(|path| fs::read(path).unwrap_or_default()).into();
        kill_at_each_step(
            host,
            1,
            &["setup"],
            |_| {},
            |step, _| {
                // The next one goes on where it was.
                if step % 4 == 1 {
                    host.provision("web");
                    host.in_container("web", ["true"]).succeeds();
                    host.appc(["rm", "web"]).succeeds();
                } else {
                    host.appc(["setup"]).succeeds();
                }
                host.appc(["gc"]).succeeds();
                host.appc(["setup", "--undo"]).succeeds();
                let after: Vec<_> =
                    ["/etc/subuid", "/etc/subgid"].map(|path| fs::read(path).unwrap_or_default()).into();
                assert_eq!(after, before, "subordinate ids were not taken back");
            },
        );
    });
}

#[test]
fn killed_while_it_takes_the_setup_back() {
    in_sandbox_for(LONG, |host| {
        kill_at_each_step(
            host,
            1,
            &["setup", "--undo"],
            |_| {
                host.appc(["setup"]).succeeds();
            },
            |_, _| {
                host.appc(["setup", "--undo"]).succeeds();
                assert_eq!(host.run("nft", ["list", "ruleset"]).succeeds(), "");
            },
        );
        host.provision("web");
    });
}

#[test]
fn killed_while_it_builds_a_base() {
    in_sandbox_for(LONG, |host| {
        host.appc(["setup"]).succeeds();
        kill_at_each_step(
            host,
            1,
            &["base", "build", "busybox"],
            |_| {},
            |_, _| {
                clear_up(host);
                let there = host.json(["base", "ls"]).as_array().unwrap().len();
                assert_eq!(layers(host).len(), there);
                if there == 1 {
                    host.appc(["base", "rm", "busybox"]).succeeds();
                    clear_up(host);
                }
                assert!(layers(host).is_empty());
            },
        );
        host.provision("web");
        host.in_container("web", ["true"]).succeeds();
    });
}

#[test]
fn killed_while_it_provisions() {
    in_sandbox_for(LONG, |host| {
        // A network of five addresses: a reservation that is lost is missed at once.
        host.appc(["setup", "--subnet", "10.77.0.0/29"]).succeeds();
        host.provision("other");
        let skeleton = host.paths().skeletons().join("user/provision/etc/who.tera");
        fs::create_dir_all(skeleton.parent().unwrap()).unwrap();
        fs::write(skeleton, "{{ reservation.name }}").unwrap();
        kill_at_each_step(
            host,
            1,
            &["provision", "--name", "web"],
            |_| {},
            |_, _| {
                clear_up(host);
                if host.containers().contains(&"web".to_owned()) {
                    assert_eq!(host.in_container("web", ["cat", "/etc/hostname"]).succeeds(), "web");
                    host.appc(["rm", "web"]).succeeds();
                }
                assert_eq!(host.containers(), ["other"]);
            },
        );
        for n in 0..4 {
            host.provision(&format!("c{n}"));
        }
        assert_eq!(host.in_container("c0", ["cat", "/etc/who"]).succeeds(), "c0");
        host.in_container("other", ["true"]).succeeds();
    });
}

/// A container `web` with a program, and what its image shall show.
fn shop(host: &Host) {
    host.provision("web");
    Archive::new().program("shop", "#!/bin/sh\necho open\n").write(host.file("shop.tar"));
    host.appc(["-c", "web", "load-archive", "shop.tar"]).succeeds();
}

#[test]
fn killed_while_it_loads_an_archive() {
    in_sandbox_for(LONG, |host| {
        let content = |word: &str| format!("{word}\n").repeat(3000).into_bytes();
        Archive::new().file("one", &content("old")).file("two", &content("old")).write(host.file("old.tar"));
        Archive::new().file("one", &content("new")).file("two", &content("new")).write(host.file("new.tar"));
        host.sh("gzip -k new.tar").succeeds();
        host.provision("web");
        kill_at_each_step(
            host,
            1,
            &["-c", "web", "load-archive", "new.tar.gz"],
            |_| {
                host.appc(["-c", "web", "load-archive", "old.tar"]).succeeds();
            },
            |_, _| {
                clear_up(host);
                // Each file is the old one or the new one, whole, and there is no third.
                let said = host.sh_in("web", "ls -A; sort -u one; sort -u two; cat one two | wc -l").succeeds();
                let lines: Vec<_> = said.lines().collect();
                assert_eq!((lines.len(), &lines[..2], lines[4]), (5, &["one", "two"][..], "6000"), "{said}");
                assert_eq!(host.status("web"), "stopped");
            },
        );
    });
}

#[test]
fn killed_while_it_saves_an_image() {
    in_sandbox_for(LONG, |host| {
        shop(host);
        host.appc(["-c", "web", "save-image", "old.aimg", "--name", "shop"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        host.sh_in("web", "echo more > more").succeeds();
        let mut counting = host.command("appc");
        counting.args(["-c", "web", "run", "--", "sh", "-c", "n=0; while :; do n=$((n+1)); echo $n > /run/n; done"]);
        let _counting = host.start_command(counting, LONG);
        fs::create_dir(host.file("out")).unwrap();
        let count = || host.in_container("web", ["cat", "/run/n"]).text().parse::<u64>().unwrap_or(0);
        let old = fs::read(host.file("old.aimg")).unwrap();
        kill_at_each_step(
            host,
            1,
            &["-c", "web", "save-image", "out/shop.aimg"],
            |step| {
                // With and without a file in its place.
                let _ = fs::remove_file(host.file("out/shop.aimg"));
                if step % 2 == 0 {
                    fs::write(host.file("out/shop.aimg"), &old).unwrap();
                }
            },
            |step, done| {
                let there: Vec<_> =
                    fs::read_dir(host.file("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
                // Over a file that is there it can be put only under a name of its own: what is left of that, the next one removes.
                let (there, left): (Vec<_>, Vec<_>) = there.into_iter().partition(|name| name == "shop.aimg");
                let most = usize::from(step % 2 == 0 && done.code == 137);
                assert!(left.len() <= most, "left beside the image: {left:?}");
                if there.is_empty() {
                    assert!(step % 2 == 1 && done.code == 137, "the image is gone");
                } else if fs::read(host.file("out/shop.aimg")).unwrap() != old {
                    host.appc(["image", "inspect", "out/shop.aimg"]).succeeds();
                }
                let before = count();
                eventually("the container goes on", || (count() > before).then_some(()));
            },
        );
        let name = host.appc(["load-image", "out/shop.aimg"]).succeeds();
        assert_eq!(host.in_container(&name, ["cat", "more"]).succeeds(), "more");
        host.appc(["rm", &name]).succeeds();
        host.appc(["image", "rm", "shop"]).succeeds();
        clear_up(host);
        assert_eq!(layers(host).len(), 1, "layers of killed saves were left");
    });
}

#[test]
fn killed_while_it_loads_an_image() {
    in_sandbox_for(LONG, |host| {
        shop(host);
        host.appc(["-c", "web", "save-image", "shop.aimg"]).succeeds();
        host.appc(["rm", "web"]).succeeds();
        clear_up(host);
        assert_eq!(layers(host).len(), 1);
        kill_at_each_step(
            host,
            1,
            &["load-image", "shop.aimg", "--name", "guest"],
            |_| {},
            |_, _| {
                clear_up(host);
                for name in host.containers() {
                    assert_eq!(host.in_container(&name, ["./shop"]).succeeds(), "open");
                    host.appc(["rm", &name]).succeeds();
                }
                let named = host.json(["image", "ls"]).as_array().unwrap().len();
                assert_eq!(layers(host).len(), 1 + named);
                if named == 1 {
                    host.appc(["image", "rm", "shop"]).succeeds();
                    clear_up(host);
                }
                assert_eq!(layers(host).len(), 1);
            },
        );
    });
}

#[test]
fn killed_while_it_starts_a_container() {
    in_sandbox_for(LONG, |host| {
        host.provision("web");
        kill_at_each_step(
            host,
            1,
            &["start", "web"],
            |_| {},
            |_, _| {
                // A start that is under way goes on without its command.
                eventually("the start is over", || (host.status("web") != "busy").then_some(()));
                clear_up(host);
                host.in_container("web", ["true"]).succeeds();
                host.appc(["stop", "web", "--timeout", "0"]).succeeds();
                assert_eq!(host.status("web"), "stopped");
            },
        );
    });
}

#[test]
fn killed_while_it_stops_a_container() {
    in_sandbox_for(LONG, |host| {
        host.provision("web");
        kill_at_each_step(
            host,
            1,
            &["stop", "web"],
            |_| {
                host.appc(["start", "web"]).succeeds();
            },
            |_, _| {
                host.appc(["stop", "web"]).succeeds();
                assert_eq!(host.status("web"), "stopped");
                clear_up(host);
            },
        );
    });
}

#[test]
fn killed_while_it_runs_a_command() {
    in_sandbox_for(LONG, |host| {
        host.provision("web");
        kill_at_each_step(
            host,
            1,
            &["-c", "web", "run", "--", "sh", "-c", "echo x; sleep 0.01; echo y"],
            |_| {},
            |_, _| {
                eventually("the container stops", || (host.status("web") == "stopped").then_some(()));
                assert_eq!(host.in_container("web", ["echo", "fine"]).succeeds(), "fine");
                clear_up(host);
            },
        );
    });
}

#[test]
fn killed_in_a_one_shot() {
    in_sandbox_for(LONG, |host| {
        shop(host);
        host.appc(["-c", "web", "save-image", "shop.aimg"]).succeeds();
        host.appc(["load-image", "shop.aimg", "--name", "kept"]).succeeds();
        kill_at_each_step(
            host,
            1,
            &["run", "--rm", "--image", "shop", "--", "./shop"],
            |_| {},
            |_, _| {
                // A container that never ran is still there: it is loaded, and not garbage.
                eventually("nothing runs", || {
                    host.json(["ls"]).as_array().unwrap().iter().all(|one| one["status"] == "stopped").then_some(())
                });
                clear_up(host);
                for name in host.containers() {
                    if name.starts_with("shop-") {
                        host.appc(["rm", &name]).succeeds();
                    }
                }
                assert_eq!(host.containers(), ["kept", "web"]);
                eventually("the files of the container that ran are gone", || {
                    fs::read_dir(host.paths().tmp_overlays()).unwrap().next().is_none().then_some(())
                });
            },
        );
    });
}

#[test]
fn killed_while_it_removes_a_container() {
    in_sandbox_for(LONG, |host| {
        host.appc(["setup", "--subnet", "10.77.0.0/29"]).succeeds();
        host.provision("other");
        kill_at_each_step(
            host,
            1,
            &["rm", "-f", "web"],
            |step| {
                host.provision("web");
                if step % 3 == 0 {
                    host.appc(["start", "web"]).succeeds();
                } else {
                    host.sh_in("web", "echo x > file").succeeds();
                }
            },
            |_, _| {
                // Gone, or still there and whole.
                clear_up(host);
                if host.containers().contains(&"web".to_owned()) {
                    host.in_container("web", ["true"]).succeeds();
                    host.appc(["rm", "-f", "web"]).succeeds();
                }
                assert!(!host.paths().raw_overlays().join("web").exists());
                assert!(!host.paths().container(&"web".parse().unwrap()).exists());
            },
        );
        for n in 0..4 {
            host.provision(&format!("c{n}"));
        }
    });
}

#[test]
fn killed_while_it_renames_a_container() {
    in_sandbox_for(LONG, |host| {
        host.provision("web");
        host.sh_in("web", "echo mine > file").succeeds();
        let ip = host.inspect("web")["ip"].clone();
        // Else the first renaming has the end of that start to clear up, and the others have not.
        let start = host.paths().container_run(&"web".parse().unwrap());
        eventually("the start is cleared up", || (!start.exists()).then_some(()));
        kill_at_each_step(
            host,
            1,
            &["rename", "web", "shop"],
            |_| {},
            |step, _| {
                match step % 3 {
                    0 => clear_up(host),
                    1 => {}
                    // Somebody else wants the new name in the middle of it.
                    _ => {
                        let other = host.appc(["provision", "--name", "shop"]);
                        if other.code == 0 && host.containers().len() == 2 {
                            assert_eq!(host.in_container("web", ["cat", "file"]).succeeds(), "mine");
                            host.appc(["rm", "shop"]).succeeds();
                        }
                    }
                }
                let names = host.containers();
                assert_eq!(names.len(), 1, "{names:?}");
                assert_eq!(host.inspect(&names[0])["ip"], ip);
                assert_eq!(host.in_container(&names[0], ["cat", "file"]).succeeds(), "mine");
                if names[0] == "shop" {
                    host.appc(["rename", "shop", "web"]).succeeds();
                }
            },
        );
    });
}

#[test]
fn killed_while_it_reboots_a_container_afresh() {
    in_sandbox_for(LONG, |host| {
        host.appc(["setup"]).succeeds();
        let skeleton = host.paths().skeletons().join("user/provision/etc/who.tera");
        fs::create_dir_all(skeleton.parent().unwrap()).unwrap();
        fs::write(skeleton, "{{ reservation.name }}").unwrap();
        host.provision("web");
        let ip = host.inspect("web")["ip"].clone();
        let (mut old, mut fresh) = (0, 0);
        kill_at_each_step(
            host,
            1,
            &["reboot", "web", "--fresh", "--time", "0"],
            |_| {
                let _ = host.appc(["start", "web"]);
                host.sh_in("web", "for n in 1 2 3; do echo mine > /root/$n; done; rm -f /root/.gone /etc/passwd")
                    .succeeds();
            },
            |_, done| {
                eventually("the start is over", || (host.status("web") != "busy").then_some(()));
                clear_up(host);
                assert_eq!(host.inspect("web")["ip"], ip);
                // All that was written, or nothing of it.
                let said = host.sh_in("web", "cat /etc/who; echo; cat /root/* | wc -l; ls /etc/passwd | wc -l").text();
                match said.lines().collect::<Vec<_>>()[..] {
                    ["web", "3", "0"] => old += usize::from(done.code == 137),
                    ["web", "0", "1"] => fresh += 1,
                    _ => panic!("{said}"),
                }
                let overlay = fs::read_dir(host.paths().raw_overlays().join("web")).unwrap();
                let mut names: Vec<_> = overlay.map(|entry| entry.unwrap().file_name()).collect();
                names.sort();
                assert_eq!(names, ["upper", "work"]);
            },
        );
        assert!(old > 0 && fresh > 0, "old {old}, fresh {fresh}");
    });
}

#[test]
fn killed_while_it_collects_garbage() {
    in_sandbox_for(LONG, |host| {
        shop(host);
        host.appc(["-c", "web", "save-image", "shop.aimg"]).succeeds();
        kill_at_each_step(
            host,
            1,
            &["gc"],
            |_| {
                // A layer that nobody has, and mounts of layers.
                host.sh_in("web", "./shop").succeeds();
                host.appc(["load-image", "shop.aimg", "--name", "guest"]).succeeds();
                host.in_container("guest", ["true"]).succeeds();
                host.appc(["rm", "guest"]).succeeds();
                host.appc(["image", "rm", "shop"]).succeeds();
                // Else one gc has the end of a start to clear up, and the next one has not.
                let start = host.paths().container_run(&"web".parse().unwrap());
                eventually("the start is cleared up", || (!start.exists()).then_some(()));
            },
            |_, _| {
                clear_up(host);
                assert_eq!(host.in_container("web", ["./shop"]).succeeds(), "open");
            },
        );
    });
}

#[test]
fn a_container_whose_monitor_was_killed_can_be_stopped_started_and_removed() {
    in_sandbox(|host| {
        host.provision("web");
        for last in ["stop", "rm"] {
            host.appc(["start", "web"]).succeeds();
            kill_process(host.recorded_pid("web", "monitor").unwrap(), Signal::KILL).unwrap();
            assert_eq!(host.status("web"), "running", "a monitor's end is not the container's");
            if last == "stop" {
                host.appc(["stop", "web", "--timeout", "1"]).succeeds();
                assert_eq!(host.status("web"), "stopped");
                host.in_container("web", ["true"]).succeeds();
            } else {
                host.appc(["rm", "-f", "web"]).succeeds();
            }
            clear_up(host);
        }
        assert!(host.containers().is_empty());
    });
}

#[test]
fn a_monitor_killed_while_it_starts_a_container_leaves_nothing() {
    in_sandbox_for(LONG, |host| {
        host.provision("web");
        let log = host.paths().container_run(&"web".parse().unwrap()).join("start.json");
        for round in 0..12u32 {
            let mut start = host.command("appc");
            start.args(["start", "web"]);
            let start = host.start_command(start, LIMIT);
            // A little later each time: from its first trace on.
            let monitor = eventually("a monitor", || host.recorded_pid("web", "monitor"));
            for _ in 0..round * 20 {
                let _ = fs::metadata(&log);
                std::thread::yield_now();
            }
            let _ = kill_process(monitor, Signal::KILL);
            let done = start.wait();
            assert!([0, 1].contains(&done.code), "{}", done.transcript());
            host.appc(["stop", "web", "--timeout", "0"]).succeeds();
            clear_up(host);
            host.in_container("web", ["true"]).succeeds();
        }
    });
}

/// Starts `web` again and again while of its processes (monitor, liblxc's helper, LXC's monitor, init) whichever makes a
/// system call for the first, second, third … time is killed at that: the monitor is started under strace, with all that
/// it starts. Of many times every fourth is tried, and on a slow host those that `sampled` chooses.
fn kill_the_starts_processes_at(host: &Host, calls: &[(&str, usize)]) {
    host.provision("web");
    let directory = host.file("libexec");
    fs::create_dir(&directory).unwrap();
    let (strace, monitor) = (host.sh("command -v strace").succeeds(), host.programs().join("appc-monitor"));
    let counts = |&(_, most): &(&str, usize)| (1..=most).step_by(if most > 20 { 4 } else { 1 });
    let each = calls.iter().flat_map(|call| counts(call).map(|count| (call.0, count))).collect();
    for (name, count) in sampled(each) {
        eprintln!("killed at {name} {count}");
        let script = format!(
            "#!/bin/sh\nexec {strace} -D -f -qq -o /dev/null -e trace=?{name} -e inject=?{name}:signal=KILL:when={count} {} \"$@\"\n",
            monitor.display()
        );
        let wrapper = directory.join("appc-monitor");
        fs::write(&wrapper, script).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        let mut start = host.command("appc");
        start.args(["start", "web"]).env("APPC_LIBEXEC", &directory);
        let done = host.start_command(start, LIMIT).wait();
        if done.code != 0 {
            done.refuses(1, &["web"]);
        }
        host.appc(["stop", "web", "--timeout", "0"]).succeeds();
        assert_eq!(host.status("web"), "stopped");
        clear_up(host);
        assert_eq!(host.sh_in("web", "echo fine; ip addr show eth0 | grep -c 'inet '").succeeds(), "fine\n1");
    }
}

#[test]
fn a_start_of_which_a_process_is_killed_while_it_sets_up_leaves_nothing() {
    let calls = [
        ("mount", 14),
        ("move_mount", 3),
        ("open_tree", 2),
        ("mkdir", 8),
        ("mkdirat", 6),
        ("rename", 4),
        ("umount2", 4),
        ("unlink", 3),
        ("unlinkat", 6),
        ("setns", 2),
        ("unshare", 2),
    ];
    in_sandbox_for(LONG, |host| kill_the_starts_processes_at(host, &calls));
}

#[test]
fn a_start_of_which_a_process_is_killed_while_it_talks_to_another_leaves_nothing() {
    let calls = [
        ("clone", 3),
        ("clone3", 3),
        ("execve", 3),
        ("openat", 60),
        ("write", 24),
        ("sendto", 6),
        ("sendmsg", 8),
        ("ioctl", 6),
        ("flock", 3),
        ("bind", 4),
        ("connect", 3),
        ("prctl", 8),
    ];
    in_sandbox_for(LONG, |host| kill_the_starts_processes_at(host, &calls));
}

#[test]
fn a_container_that_lost_its_init_is_stopped() {
    in_sandbox(|host| {
        host.start("web");
        kill_process(host.recorded_pid("web", "init").unwrap(), Signal::KILL).unwrap();
        eventually("it is stopped", || (host.status("web") == "stopped").then_some(()));
        host.appc(["start", "web"]).succeeds();
        host.in_container("web", ["true"]).succeeds();
    });
}

/// As after a power cut: /run is empty, mounts and processes are gone, the state directory is as it was.
#[test]
fn after_a_reboot_everything_kept_is_there() {
    in_sandbox(|host| {
        shop(host);
        host.appc(["-c", "web", "save-image", "shop.aimg"]).succeeds();
        host.appc(["load-image", "shop.aimg", "--name", "kept"]).succeeds();
        host.appc(["load-image", "shop", "--ephemeral", "--name", "guest"]).succeeds();
        for name in ["web", "guest"] {
            host.appc(["start", name]).succeeds();
        }
        for name in ["web", "guest"] {
            let [monitor, init] = ["monitor", "init"].map(|which| host.recorded_pid(name, which).unwrap());
            kill_process(monitor, Signal::KILL).unwrap();
            kill_process(init, Signal::KILL).unwrap();
            eventually("init is gone", || {
                (!Path::new(&format!("/proc/{}/root/proc", init.as_raw_nonzero())).exists()).then_some(())
            });
        }
        eventually("LXC's monitors are gone", || (host.run("pgrep", ["-f", "lxc monitor"]).code == 1).then_some(()));
        host.sh(&format!("umount -l {}/*; nft flush ruleset", host.paths().layer_mounts().display())).succeeds();
        for entry in fs::read_dir(host.paths().run()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        assert_eq!(host.in_container("web", ["./shop"]).succeeds(), "open");
        assert_eq!(host.in_container("kept", ["./shop"]).succeeds(), "open");
        clear_up(host);
        // What was for one start only does not come back to life half.
        if host.containers().contains(&"guest".to_owned()) {
            host.in_container("guest", ["./shop"]).succeeds();
        }
    });
}

/// The names of volumes.
fn volumes(host: &Host) -> Vec<String> {
    let listed = host.json(["volume", "ls"]);
    listed.as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn killed_while_it_makes_clones_and_removes_volumes() {
    in_sandbox_for(LONG, |host| {
        host.appc(["setup"]).succeeds();
        // Where nothing waits for what others write to the host's disk.
        let _disk = host.small_disk(&host.paths().volumes(), "200m");
        host.appc(["volume", "create", "old", "--size", "16M"]).succeeds();
        host.appc(["provision", "--name", "web", "--volume", "old:/data"]).succeeds();
        host.sh_in("web", "for n in 1 2 3; do echo mine > /data/$n; done").succeeds();
        let content = |volume: &str| {
            let mount = format!("{volume}:/look:ro");
            host.appc(["volume", "attach", "web", &mount]).succeeds();
            let said = host.sh_in("web", "cat /look/* | wc -l").succeeds();
            host.appc(["unmount", "web", "/look"]).succeeds();
            said
        };
        let remove = |_| {
            if volumes(host).contains(&"new".to_owned()) {
                host.appc(["volume", "rm", "new"]).succeeds();
            }
        };
        let is_whole = |expected: &str| {
            clear_up(host);
            if volumes(host).contains(&"new".to_owned()) {
                assert_eq!(content("new"), expected);
            }
            let there = fs::read_dir(host.paths().volumes()).unwrap().count();
            assert_eq!(there, volumes(host).len());
        };
        kill_at_each_step(host, 2, &["volume", "create", "new", "--size", "16M"], remove, |_, _| is_whole("0"));
        kill_at_each_step(host, 2, &["volume", "clone", "old", "new"], remove, |_, _| is_whole("3"));
        let make = |_| {
            if !volumes(host).contains(&"new".to_owned()) {
                host.appc(["volume", "clone", "old", "new"]).succeeds();
            }
        };
        kill_at_each_step(host, 1, &["volume", "rm", "new"], make, |_, _| is_whole("3"));
        assert_eq!(content("old"), "3");
    });
}

#[test]
fn killed_while_it_keeps_and_brings_back_a_volumes_files() {
    in_sandbox_for(LONG, |host| {
        host.appc(["setup"]).succeeds();
        // Where nothing waits for what others write to the host's disk.
        let _disk = host.small_disk(&host.paths().volumes(), "200m");
        host.appc(["volume", "create", "data"]).succeeds();
        let place = host.paths().volumes().join("data");
        let write = |word: &str| {
            for name in ["one", "two", "three"] {
                fs::write(place.join("data").join(name), word).unwrap();
            }
        };
        let all = |directory: &Path| {
            let words: BTreeSet<_> =
                ["one", "two", "three"].map(|name| fs::read_to_string(directory.join(name)).unwrap()).into();
            assert_eq!(words.len(), 1, "{words:?}");
            words.into_iter().next().unwrap()
        };
        write("old");
        host.appc(["volume", "snapshot", "data", "kept"]).succeeds();
        let mut number = 0;
        kill_at_each_step(
            host,
            1,
            &["volume", "snapshot", "data", "new"],
            |_| {
                let _ = host.appc(["volume", "rm-snapshot", "data", "new"]);
                number += 1;
                write(&number.to_string());
            },
            |_, _| {
                clear_up(host);
                let snapshots = host.json(["volume", "inspect", "data"])["snapshots"].as_array().unwrap().len();
                assert_eq!(fs::read_dir(place.join("snapshots")).unwrap().count(), snapshots);
                if snapshots == 2 {
                    assert_eq!(all(&place.join("snapshots/new/data")), all(&place.join("data")));
                }
            },
        );
        kill_at_each_step(
            host,
            1,
            &["volume", "rollback", "data", "kept"],
            |_| write("new"),
            |_, _| {
                clear_up(host);
                all(&place.join("data"));
                assert_eq!(all(&place.join("snapshots/kept/data")), "old");
                assert_eq!(fs::read_dir(&place).unwrap().count(), 3);
            },
        );
        assert_eq!(all(&place.join("data")), "old");
    });
}

#[test]
fn killed_while_it_mounts_into_a_running_container() {
    in_sandbox_for(LONG, |host| {
        host.appc(["volume", "create", "data"]).succeeds();
        fs::write(host.paths().volumes().join("data/data/file"), "mine").unwrap();
        host.start("web");
        let has_it = || {
            let asked = host.inspect("web")["mounts"].as_array().unwrap().len();
            // A command that works in it completes what was begun.
            let count = host.sh_in("web", "grep -c ' /srv/data ' /proc/self/mountinfo").text();
            assert_eq!(count, asked.to_string(), "settings and mounts are not the same");
            assert_eq!(host.sh_in("web", "cat /srv/data/file").code == 0, asked == 1);
            asked == 1
        };
        let (mut with, mut without) = (0, 0);
        kill_at_each_step(
            host,
            1,
            &["volume", "attach", "web", "data:/srv/data"],
            |_| {
                if has_it() {
                    host.appc(["volume", "detach", "web", "data"]).succeeds();
                }
            },
            |_, _| if has_it() { with += 1 } else { without += 1 },
        );
        assert!(with > 0 && without > 0, "{with} {without}");
        kill_at_each_step(
            host,
            1,
            &["volume", "detach", "web", "data"],
            |_| {
                if !has_it() {
                    host.appc(["volume", "attach", "web", "data:/srv/data"]).succeeds();
                }
            },
            |_, _| {
                has_it();
                host.appc(["doctor"]).succeeds();
            },
        );
        assert!(!has_it());
        host.appc(["volume", "rm", "data"]).succeeds();
    });
}

#[test]
fn killed_while_it_changes_the_size_of_a_disk() {
    in_sandbox_for(LONG, |host| {
        host.appc(["provision", "--name", "web", "--disk", "24M"]).succeeds();
        host.sh_in("web", "echo mine > /root/file; rm /etc/passwd").succeeds();
        let check = || {
            clear_up(host);
            assert_eq!(host.sh_in("web", "cat /root/file; ls /etc/passwd 2>/dev/null | wc -l").succeeds(), "mine\n0");
        };
        kill_at_each_step(
            host,
            2,
            &["set", "web", "disk=20M"],
            |_| drop(host.appc(["set", "web", "disk=24M"]).succeeds()),
            |_, _| check(),
        );
        kill_at_each_step(host, 2, &["set", "web", "disk=32M"], |_| {}, |_, _| check());
        assert_eq!(host.inspect("web")["disk"], 32 << 20);
    });
}
