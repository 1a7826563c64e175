//! Commands, monitors and LXC killed at any moment: nothing left, nothing lost, nothing frozen.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::Write,
    thread,
    time::{Duration, Instant},
};

use appcontainers_tests::{Archive, Finished, Host, LIMIT, Running, eventually, in_sandbox, tries};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How many moments of a command's life are tried.
fn moments() -> u32 {
    tries(12)
}

/// Kills `appc ARGUMENTS` in its first moment, then a little later each time, until its usual end. `prepare` makes ready
/// for it, and `check` looks at what it left and does it once more: every other time after `gc`, else at once.
fn kill_at_every_moment(host: &Host, arguments: &[&str], prepare: impl Fn(), check: impl Fn()) {
    prepare();
    let begin = Instant::now();
    host.appc(arguments).succeeds();
    let usual = begin.elapsed();
    is_clean(host);
    check();
    let mut killed = 0;
    for moment in 0..moments() {
        prepare();
        killed += u32::from(start(host, arguments).kill_after(usual * moment / (moments() - 1)));
        is_settled(host);
        if moment % 2 == 0 {
            is_clean(host);
        }
        check();
        is_clean(host);
    }
    assert!(killed > 0, "the command had always ended before it was killed");
}

fn start(host: &Host, arguments: &[&str]) -> Running {
    let mut command = host.command("appc");
    command.args(arguments);
    host.start_command(command, LIMIT)
}

/// Waits until no monitor is busy with what a killed command asked for.
fn is_settled(host: &Host) {
    eventually("no container is busy", || {
        let all = host.json(["ls"]);
        all.as_array().unwrap().iter().all(|one| one["status"] != "busy").then_some(())
    });
}

/// `gc` leaves nothing that `gc` or `doctor` finds; the state files are whole.
fn is_clean(host: &Host) {
    host.appc(["gc"]).succeeds();
    // What the kernel and LXC's monitors still tear down is gone a moment later.
    eventually("gc and doctor find nothing", || {
        let left = host.json(["gc"]).as_array().unwrap().len();
        let checks: Value = serde_json::from_str(&host.appc(["--json", "doctor"]).succeeds()).unwrap();
        let is_fit = |check: &&str| verdict(&checks, check) == "fit";
        let checks = ["reservations", "leftovers", "lost-reservations", "stray-processes"];
        (left == 0 && checks.iter().all(is_fit)).then_some(())
    });
    let resources = fs::read(host.paths().resources()).unwrap();
    serde_json::from_slice::<Value>(&resources).expect("resources.json is JSON");
}

fn verdict<'a>(checks: &'a Value, name: &str) -> &'a str {
    let check = checks.as_array().unwrap().iter().find(|check| check["name"] == name);
    check.unwrap_or_else(|| panic!("no check {name}"))["verdict"].as_str().unwrap()
}

fn has(host: &Host, name: &str) -> bool {
    host.containers().iter().any(|one| one == name)
}

/// A running container that writes all the time.
fn ticking(host: &Host, name: &str) {
    host.provision(name);
    host.appc(["-c", name, "startup-command", "add", "while :; do echo >> /root/ticks; sleep 0.01; done"]).succeeds();
    host.appc(["start", name]).succeeds();
    goes_on(host, name);
}

/// The container that ticks is not frozen.
fn goes_on(host: &Host, name: &str) {
    let ticks = host.paths().raw_overlays().join(name).join("upper/root/ticks");
    let length = || fs::metadata(&ticks).map_or(0, |file| file.len());
    let before = length();
    eventually("the container goes on", || (length() > before).then_some(()));
}

/// A line of text for file `number`, much longer than a pipe's buffer holds.
fn content(number: usize) -> Vec<u8> {
    format!("this is file {number}\n").repeat(3000).into_bytes()
}

/// `app.tar`: files of known content below `data`.
fn archive(host: &Host) {
    let files = (0..60).fold(Archive::new().directory("data"), |archive, number| {
        archive.file(&format!("data/{number}"), &content(number))
    });
    files.write(host.file("app.tar"));
}

/// What is in `data` of container `name`, as the host sees it: every file is one of the archive's, whole. How many; none
/// while an unpacking has a file under way.
fn whole_files(host: &Host, name: &str) -> Option<usize> {
    let data = host.paths().raw_overlays().join(name).join("upper/root/data");
    let entries: Vec<_> = fs::read_dir(data).into_iter().flatten().flatten().collect();
    for entry in &entries {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with(".appc-untar.") {
            return None;
        }
        let number = name.parse().unwrap_or_else(|_| panic!("{name:?} was not in the archive"));
        assert!(fs::read(entry.path()).unwrap() == content(number), "{name} is not whole");
    }
    Some(entries.len())
}

/// `app.aimg`, and what is in it: see [`archive`].
fn image(host: &Host) {
    archive(host);
    host.app_image(|maker| drop(host.appc(["-c", maker, "load-archive", "app.tar"]).succeeds()));
}

/// Every layer in the file has its digest.
fn is_whole_image(host: &Host, file: &str) {
    let manifest = host.json(["image", "inspect", &format!("./{file}")]);
    for layer in manifest["layers"].as_array().unwrap() {
        let (skip, size) = (&layer["offset"], &layer["size_bytes"]);
        let line = format!("tail -c +$(({skip} + 1)) {file} | head -c {size} | sha256sum");
        let digest = format!("sha256:{}", &host.sh(&line).succeeds()[..64]);
        assert_eq!(layer["digest"], digest);
    }
}

/// Either the command's success, or the one thing that may be in its way.
#[track_caller]
fn succeeds_or_says(done: Finished, words: &str) {
    if done.code != 0 {
        done.refuses(1, &[words]);
    }
}

#[test]
fn provision_can_be_killed_at_any_moment() {
    in_sandbox(|host| {
        ticking(host, "web");
        let prepare = || {
            if has(host, "new") {
                host.appc(["rm", "new"]).succeeds();
            }
        };
        kill_at_every_moment(host, &["provision", "--name", "new"], prepare, || {
            if !has(host, "new") {
                host.provision("new");
            }
            assert_eq!(host.in_container("new", ["echo", "here"]).succeeds(), "here");
            goes_on(host, "web");
        });
    });
}

#[test]
fn the_first_provision_of_a_host_can_be_killed_at_any_moment() {
    in_sandbox(|host| {
        let begin = Instant::now();
        host.elsewhere().provision("web");
        let usual = begin.elapsed();
        for moment in 0..moments() {
            let empty = host.elsewhere();
            start(&empty, &["provision", "--name", "web"]).kill_after(usual * moment / moments());
            if moment % 2 == 0 {
                empty.appc(["gc"]).succeeds();
            }
            if !(empty.paths().root().exists() && has(&empty, "web")) {
                empty.provision("web");
            }
            assert_eq!(empty.in_container("web", ["echo", "here"]).succeeds(), "here");
            is_clean(&empty);
        }
    });
}

#[test]
fn load_image_can_be_killed_at_any_moment() {
    in_sandbox(|host| {
        image(host);
        let other = host.elsewhere();
        let prepare = || {
            if has(&other, "app") {
                other.appc(["rm", "app"]).succeeds();
            }
            for image in other.json(["image", "ls"]).as_array().unwrap() {
                other.appc(["image", "rm", image["name"].as_str().unwrap()]).succeeds();
            }
            other.appc(["gc"]).succeeds();
        };
        other.appc(["setup"]).succeeds();
        kill_at_every_moment(&other, &["load-image", "app.aimg", "--name", "app"], prepare, || {
            // A name in the store is that of a whole image.
            for image in other.json(["image", "ls"]).as_array().unwrap() {
                let name = image["name"].as_str().unwrap();
                let ran = other.appc(["run", "--rm", "--image", name, "--", "wc", "-c", "data/7"]).succeeds();
                assert_eq!(ran, format!("{} data/7", content(7).len()));
            }
            if !has(&other, "app") {
                assert_eq!(other.appc(["load-image", "app.aimg", "--name", "app"]).succeeds(), "app");
            }
            assert!(other.in_container("app", ["cat", "data/59"]).stdout == content(59));
        });
    });
}

/// Saves `web` as `DIRECTORY/app.aimg` and is killed. `check` looks at the container.
fn kill_while_saving(host: &Host, check: impl Fn()) {
    let dest = host.file("saved/app.aimg");
    fs::create_dir(host.file("saved")).unwrap();
    let prepare = || {
        let _ = fs::remove_file(&dest);
    };
    let save = ["-c", "web", "save-image", "saved/app.aimg"];
    kill_at_every_moment(host, &save, prepare, || {
        let there: Vec<_> = fs::read_dir(host.file("saved")).unwrap().map(|entry| entry.unwrap().path()).collect();
        if !there.is_empty() {
            assert_eq!(there, [dest.as_path()]);
            is_whole_image(host, "saved/app.aimg");
        }
        check();
        host.appc(save).succeeds();
        is_whole_image(host, "saved/app.aimg");
        check();
    });
    let other = host.elsewhere();
    other.appc(["load-image", "saved/app.aimg", "--name", "loaded"]).succeeds();
    assert!(other.in_container("loaded", ["cat", "data/3"]).stdout == content(3));
}

#[test]
fn save_image_of_a_stopped_container_can_be_killed_at_any_moment() {
    in_sandbox(|host| {
        archive(host);
        host.provision("web");
        host.appc(["-c", "web", "load-archive", "app.tar"]).succeeds();
        kill_while_saving(host, || assert_eq!(whole_files(host, "web"), Some(60)));
    });
}

#[test]
fn a_killed_save_image_leaves_no_container_frozen() {
    in_sandbox(|host| {
        archive(host);
        ticking(host, "web");
        host.appc(["-c", "web", "load-archive", "app.tar"]).succeeds();
        kill_while_saving(host, || {
            goes_on(host, "web");
            assert_eq!(host.in_container("web", ["echo", "here"]).succeeds(), "here");
        });
        // What takes long to pack is killed while the container stands still, on a fast machine too.
        host.sh_in("web", "head -c 30000000 /dev/urandom > /root/noise").succeeds();
        let old = fs::read(host.file("saved/app.aimg")).unwrap();
        let save = start(host, &["-c", "web", "save-image", "--compression-level", "22", "saved/app.aimg"]);
        eventually("the container is frozen", || is_frozen(host, "web").then_some(()));
        assert!(save.kill_after(Duration::ZERO));
        goes_on(host, "web");
        assert!(fs::read(host.file("saved/app.aimg")).unwrap() == old);
        is_clean(host);
    });
}

/// Whether the kernel was told to let a container's processes stand still.
fn is_frozen(host: &Host, name: &str) -> bool {
    let switches = host.cgroup_files(name, "payload/cgroup.freeze");
    switches.iter().any(|switch| fs::read_to_string(switch).is_ok_and(|text| text == "1\n"))
}

#[test]
fn start_can_be_killed_at_any_moment() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh_in("web", "echo kept > /root/file").succeeds();
        let prepare = || {
            host.appc(["stop", "web", "--timeout", "0"]).succeeds();
        };
        kill_at_every_moment(host, &["start", "web"], prepare, || {
            succeeds_or_says(host.appc(["start", "web"]), "already");
            assert_eq!(host.status("web"), "running");
            assert_eq!(host.in_container("web", ["cat", "/root/file"]).succeeds(), "kept");
        });
    });
}

#[test]
fn rm_can_be_killed_at_any_moment() {
    in_sandbox(|host| {
        archive(host);
        let prepare = || {
            if has(host, "web") {
                host.appc(["rm", "-f", "web"]).succeeds();
            }
            host.provision("web");
            host.appc(["-c", "web", "load-archive", "app.tar"]).succeeds();
        };
        kill_at_every_moment(host, &["rm", "web"], prepare, || {
            if has(host, "web") {
                assert_eq!(whole_files(host, "web"), Some(60));
            } else {
                host.provision("web");
                assert_eq!(whole_files(host, "web"), Some(0));
            }
            assert_eq!(host.in_container("web", ["echo", "here"]).succeeds(), "here");
        });
    });
}

#[test]
fn rm_of_a_running_container_can_be_killed_at_any_moment() {
    in_sandbox(|host| {
        let prepare = || {
            if !has(host, "web") {
                host.provision("web");
            }
            succeeds_or_says(host.appc(["start", "web"]), "already");
        };
        kill_at_every_moment(host, &["rm", "-f", "web"], prepare, || {
            if has(host, "web") {
                host.appc(["rm", "-f", "web"]).succeeds();
            }
            assert!(!has(host, "web"));
        });
    });
}

#[test]
fn load_archive_can_be_killed_at_any_moment() {
    in_sandbox(|host| {
        archive(host);
        host.provision("web");
        let prepare = || {
            host.sh_in("web", "rm -rf /root/data").succeeds();
        };
        let load = ["-c", "web", "load-archive", "app.tar"];
        kill_at_every_moment(host, &load, prepare, || {
            assert!(whole_files(host, "web").is_some(), "a file that was not unpacked is left");
            host.appc(load).succeeds();
            assert_eq!(whole_files(host, "web"), Some(60));
        });
    });
}

#[test]
fn load_archive_into_a_running_container_can_be_killed_at_any_moment() {
    in_sandbox(|host| {
        archive(host);
        ticking(host, "web");
        let prepare = || {
            host.sh_in("web", "rm -rf /root/data").succeeds();
        };
        let load = ["-c", "web", "load-archive", "app.tar"];
        kill_at_every_moment(host, &load, prepare, || {
            goes_on(host, "web");
            eventually("what was being unpacked is whole", || {
                host.appc(load).succeeds();
                (whole_files(host, "web") == Some(60)).then_some(())
            });
        });
    });
}

#[test]
fn a_put_whose_command_is_killed_leaves_no_half_file_though_its_monitor_is_slow() {
    in_sandbox(|host| {
        host.provision("web");
        let tar = Archive::new().file("file", &content(1)).finish();
        let root = host.paths().raw_overlays().join("web/upper/srv");
        let there = || fs::read_dir(&root).map(Iterator::count).unwrap_or(0);
        let mut put = host.spawn("appc", ["-c", "web", "put", "-", "/srv"]);
        // The member's head and the beginning of its data.
        put.stdin.as_mut().unwrap().write_all(&tar[..600]).unwrap();
        eventually("a file has been begun", || (there() == 1).then_some(()));
        let monitor = eventually("there is a monitor", || host.monitor("web"));
        kill_process(monitor, Signal::STOP).unwrap();
        put.signal(Signal::KILL);
        assert_eq!(put.wait().code, 137);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(300));
                kill_process(monitor, Signal::CONT).unwrap();
            });
            host.sh_in("web", "ls -A /srv").succeeds()
        });
        assert_eq!(there(), 0);
        is_clean(host);
    });
}

/// The processes on this host whose command line begins with `words`, less the directory of the program.
fn processes(words: &str) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let named = pids.filter(|pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let program = line.find(' ').and_then(|end| line[..end].rfind('/')).map_or(0, |slash| slash + 1);
        line[program..].starts_with(words)
    });
    named.filter_map(Pid::from_raw).collect()
}

/// Kills the one process whose command line begins so.
fn kill(words: &str) {
    let pids = processes(words);
    assert_eq!(pids.len(), 1, "processes {words}");
    kill_process(pids[0], Signal::KILL).unwrap();
    eventually("it ends", || processes(words).is_empty().then_some(()));
}

const MONITOR: &str = "appc-monitor run ";
const MONITOR_OF_LXC: &str = "[lxc monitor] ";

#[test]
fn a_container_whose_monitor_was_killed_runs_on_and_can_be_stopped_and_removed() {
    in_sandbox(|host| {
        ticking(host, "web");
        kill(MONITOR);
        assert_eq!(host.status("web"), "running");
        goes_on(host, "web");
        host.appc(["gc"]).succeeds();
        goes_on(host, "web");
        host.appc(["stop", "web"]).succeeds();
        assert_eq!(host.status("web"), "stopped");
        is_clean(host);
        host.appc(["start", "web"]).succeeds();
        goes_on(host, "web");
        kill(MONITOR);
        host.appc(["rm", "web"]).refuses(1, &["web", "running"]);
        host.appc(["rm", "-f", "web"]).succeeds();
        assert!(host.containers().is_empty());
        is_clean(host);
    });
}

#[test]
fn a_monitor_can_be_killed_at_any_moment_of_a_start() {
    in_sandbox(|host| {
        host.provision("web");
        let begin = Instant::now();
        host.appc(["start", "web"]).succeeds();
        let usual = begin.elapsed();
        for moment in 0..moments() {
            host.appc(["stop", "web", "--timeout", "0"]).succeeds();
            eventually("the monitor before ends", || processes(MONITOR).is_empty().then_some(()));
            let mut starting = start(host, &["start", "web"]);
            let monitor = eventually("the monitor is there", || host.recorded_pid("web", "monitor"));
            let _ = starting.wait_at_most(usual * moment / moments());
            let _ = kill_process(monitor, Signal::KILL);
            if moment % 2 == 0 {
                // And what it has begun: the child that calls liblxc.
                for pid in processes(MONITOR) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            // It may have been ready, and it says so, or not.
            let done = starting.wait();
            assert!([0, 1].contains(&done.code), "{}", done.transcript());
            is_settled(host);
            if moment % 3 == 0 {
                is_clean(host);
            }
            if host.status("web") == "stopped" {
                host.appc(["start", "web"]).succeeds();
                assert_eq!(host.in_container("web", ["echo", "here"]).succeeds(), "here");
            }
            is_clean(host);
        }
    });
}

#[test]
fn the_end_of_lxcs_monitor_ends_the_container_and_the_next_command_clears_up() {
    in_sandbox(|host| {
        ticking(host, "web");
        kill(MONITOR_OF_LXC);
        eventually("the container has ended", || (host.status("web") == "stopped").then_some(()));
        host.appc(["start", "web"]).succeeds();
        goes_on(host, "web");
        // Both monitors at once: there is nobody to see the end.
        kill(MONITOR);
        kill(MONITOR_OF_LXC);
        eventually("the container has ended", || (host.status("web") == "stopped").then_some(()));
        is_clean(host);
        host.appc(["start", "web"]).succeeds();
        goes_on(host, "web");
    });
}

#[test]
fn of_two_starts_at_once_one_wins_and_the_other_says_that_it_runs() {
    in_sandbox(|host| {
        host.provision("web");
        for _ in 0..5 {
            let both = [start(host, &["start", "web"]), start(host, &["start", "web"])].map(Running::wait);
            let (won, lost): (Vec<_>, Vec<_>) = both.into_iter().partition(|done| done.code == 0);
            assert_eq!((won.len(), lost.len()), (1, 1));
            lost.into_iter().for_each(|done| done.refuses(1, &["web", "already"]));
            assert_eq!(host.in_container("web", ["echo", "here"]).succeeds(), "here");
            host.appc(["stop", "web", "--timeout", "0"]).succeeds();
        }
    });
}

#[test]
fn a_stop_during_a_start_leaves_the_container_stopped() {
    in_sandbox(|host| {
        host.provision("web");
        for _ in 0..5 {
            let starting = start(host, &["start", "web"]);
            eventually("the monitor is there", || (!processes(MONITOR).is_empty()).then_some(()));
            host.appc(["stop", "web", "--timeout", "0"]).succeeds();
            let done = starting.wait();
            assert!([0, 1].contains(&done.code), "{}", done.transcript());
            assert_eq!(host.status("web"), "stopped");
            is_clean(host);
        }
    });
}

#[test]
fn a_forced_rm_ends_what_runs_in_the_container() {
    in_sandbox(|host| {
        host.provision("web");
        let mut running = host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", "echo ready; exec sleep 1000"]);
        running.read_until("ready\n");
        host.appc(["rm", "web"]).refuses(1, &["web", "running"]);
        host.appc(["rm", "-f", "web"]).succeeds();
        running.wait().fails(125);
        assert!(host.containers().is_empty());
        is_clean(host);
    });
}

#[test]
fn gc_takes_nothing_from_commands_that_run_meanwhile() {
    in_sandbox(|host| {
        image(host);
        ticking(host, "web");
        let mut collectors = Vec::new();
        for _ in 0..2 {
            let mut command = host.command("sh");
            command.args(["-c", "until [ -e enough ]; do appc gc > said 2>&1 || { cat said >&2; exit 1; }; done"]);
            collectors.push(host.start_command(command, LIMIT * 2));
        }
        for round in 0..tries(3) {
            let (name, file) = (format!("new{round}"), format!("saved{round}.aimg"));
            host.provision(&name);
            host.appc(["-c", &name, "load-archive", "app.tar"]).succeeds();
            host.sh_in(&name, &format!("echo {round} > /root/round")).succeeds();
            host.appc(["-c", &name, "save-image", &file]).succeeds();
            host.appc(["start", &name]).succeeds();
            let loaded = host.appc(["load-image", &file, "--ephemeral"]).succeeds();
            assert_eq!(host.in_container(&loaded, ["cat", "round"]).succeeds(), round.to_string());
            assert_eq!(host.appc(["run", "--rm", "--image", "app.aimg", "--", "cat", "data/1"]).stdout, content(1));
            host.appc(["rm", "-f", &name]).succeeds();
            goes_on(host, "web");
        }
        fs::write(host.file("enough"), "").unwrap();
        for collector in collectors {
            collector.wait().succeeds();
        }
        assert_eq!(host.containers(), ["web"]);
        is_clean(host);
    });
}
