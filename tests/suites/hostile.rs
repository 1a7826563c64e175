//! Containers that attack their monitor and their agent: as PID 1 in the agent's place, and as its root.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use appcontainers_tests::{Archive, Host, LIMIT, Running, eventually, in_sandbox, peak_kib};
use tar::EntryType;

/// More than a monitor has that is attacked: what it has without that, and some buffers of a megabyte.
const MOST_KIB: u64 = 32 * 1024;

/// `programs/hostile.rs` as a static program. `hostility` says what it does as PID 1.
fn hostile_program(host: &Host, hostility: &str) -> PathBuf {
    if let Some(program) = host.built_before(&format!("hostile-{hostility}")) {
        return program;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/hostile.rs");
    let program = host.file(format!("hostile-{hostility}"));
    let mut compiler = host.command("rustc");
    compiler.args(["--edition", "2024", "-C", "opt-level=1", "-C", "target-feature=+crt-static", "-o"]);
    compiler.arg(&program).arg(source).env("HOSTILITY", hostility);
    host.start_command(compiler, LIMIT).wait().succeeds();
    program
}

/// Starts `web` with the hostile program in its agent's place.
fn start_hostile(host: &Host, hostility: &str) -> Running {
    let programs = host.file("programs");
    fs::create_dir_all(&programs).unwrap();
    fs::copy(hostile_program(host, hostility), programs.join("appc-agent")).unwrap();
    fs::set_permissions(programs.join("appc-agent"), fs::Permissions::from_mode(0o711)).unwrap();
    let _ = fs::copy(host.programs().join("appc-monitor"), programs.join("appc-monitor"));
    // The container's ids have to pass all directories above the agent's file.
    let mut command = host.command("appc");
    command.env("APPC_LIBEXEC", programs).args(["start", "web"]);
    host.start_command(command, LIMIT)
}

#[track_caller]
fn assert_small(what: &str, peak_kib: u64) {
    eprintln!("{what}: the monitor's peak is {peak_kib} KiB");
    assert!((1..MOST_KIB).contains(&peak_kib), "{what}: {peak_kib} KiB");
}

fn monitor_log(host: &Host, name: &str) -> String {
    fs::read_to_string(host.paths().container_run(&name.parse().unwrap()).join("monitor.log")).unwrap()
}

#[test]
fn an_endless_message_of_pid_1_ends_the_container_and_the_monitor_stays_small() {
    in_sandbox(|host| {
        host.provision("web");
        let mut start = start_hostile(host, "endless-message");
        let mut most = 0;
        while start.is_alive() {
            most = most.max(host.monitor("web").and_then(peak_kib).unwrap_or(0));
        }
        start.wait().refuses(1, &["web", "a message of more than two frames"]);
        assert_small("a message without an end", most);
        assert_eq!(host.inspect("web")["status"], "stopped");
        // Whatever it was: with an agent of ours it goes on.
        assert_eq!(host.in_container("web", ["echo", "fine"]).succeeds(), "fine");
    });
}

#[test]
fn a_container_that_ran_is_ended_by_the_nonsense_of_its_pid_1_and_whoever_waits_hears_why() {
    in_sandbox(|host| {
        host.provision("web");
        start_hostile(host, "endless-message-later").wait().succeeds();
        host.in_container("web", ["true"]).refuses(125, &["a message of more than two frames"]);
        let events = || host.appc(["events", "--json"]).succeeds();
        eventually("its end is an event", || events().contains("\"die\"").then_some(()));
        let failed: Vec<_> = events().lines().filter(|line| line.contains("\"fail\"")).map(str::to_owned).collect();
        assert!(matches!(&failed[..], [why] if why.contains("a message of more than two frames")), "{failed:?}");
        assert_eq!(host.inspect("web")["status"], "stopped");
        assert_eq!(host.in_container("web", ["echo", "fine"]).succeeds(), "fine");
    });
}

#[test]
fn a_pid_1_that_takes_no_answer_is_not_listened_to_and_is_stopped_all_the_same() {
    in_sandbox(|host| {
        host.provision("web");
        start_hostile(host, "takes-no-answer").wait().succeeds();
        let monitor = host.monitor("web").unwrap();
        let cpu = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", monitor.as_raw_nonzero())).unwrap();
            stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2).map(str::to_owned).collect::<Vec<_>>()
        };
        // Nothing is done for it any more.
        let (mut last, mut since) = (cpu(), Instant::now());
        eventually("the monitor does not listen", || {
            if cpu() != last {
                (last, since) = (cpu(), Instant::now());
            }
            (since.elapsed() > Duration::from_millis(500)).then_some(())
        });
        assert_small("questions without end", peak_kib(monitor).unwrap());
        host.appc(["stop", "web", "--timeout", "0"]).succeeds();
        assert_eq!(host.inspect("web")["status"], "stopped");
    });
}

#[test]
fn a_pid_1_with_hundreds_of_connections_has_one() {
    in_sandbox(|host| {
        host.provision("web");
        start_hostile(host, "many-connections").wait().succeeds();
        let monitor = host.monitor("web").unwrap();
        let connected = format!("/proc/{}/root/run/connected", host.recorded_pid("web", "init").unwrap());
        let connected =
            eventually("it has connected", || fs::read_to_string(&connected).ok().filter(|text| text == "900"));
        let descriptors = fs::read_dir(format!("/proc/{}/fd", monitor.as_raw_nonzero())).unwrap().count();
        assert!(descriptors < 50, "{descriptors} descriptors for {connected} connections");
        assert_small("900 connections", peak_kib(monitor).unwrap());
        host.appc(["stop", "web", "--timeout", "0"]).succeeds();
    });
}

/// A container in which the hostile program is /root/hostile.
fn start_with_program(host: &Host, name: &str, options: &[&str]) {
    host.appc([&["provision", "--name", name], options].concat()).succeeds();
    host.appc(["start", name]).succeeds();
    let program = fs::read(hostile_program(host, "none")).unwrap();
    Archive::new().member("hostile", EntryType::Regular, "", 0o755, &program).write(host.file("hostile.tar"));
    host.appc(["-c", name, "load-archive", "hostile.tar"]).succeeds();
}

#[test]
fn nobody_but_pid_1_gets_to_the_monitors_socket() {
    in_sandbox(|host| {
        for (name, options) in [("web", &[][..]), ("trusted", &["--privileged"])] {
            start_with_program(host, name, options);
            let (monitor, init) = (host.monitor(name).unwrap(), "1");
            let mut running = host.spawn("appc", ["-c", name, "exec", "-i", "--", "cat"]);
            running.stdin.as_mut().unwrap().write_all(b"before\n").unwrap();
            running.read_until("before\n");
            let refused = host.in_container(name, ["/root/hostile", "strangers", "3000"]).succeeds();
            assert_eq!(refused, "3000 of 3000 refused");
            for pid in [init, &monitor.as_raw_nonzero().to_string()] {
                assert_eq!(host.in_container(name, ["/root/hostile", "pretend", pid]).succeeds(), "refused");
            }
            // The agent's own connection has felt nothing of it.
            running.stdin.as_mut().unwrap().write_all(b"after\n").unwrap();
            running.read_until("after\n");
            assert_eq!(running.wait().code, 0);
            assert_eq!(monitor_log(host, name).matches("was refused").count(), 1);
            assert_eq!(host.monitor(name), Some(monitor));
            assert_small("3000 strangers", peak_kib(monitor).unwrap());
        }
    });
}

#[test]
fn the_agent_cannot_be_read_traced_or_replaced() {
    in_sandbox(|host| {
        for (name, options) in [("web", &[][..]), ("trusted", &["--privileged"])] {
            start_with_program(host, name, options);
            assert_eq!(host.in_container(name, ["/root/hostile", "reach"]).succeeds(), "done");
            for line in [
                "cp /root/hostile /dev/.appc/agent",
                "mv /root/hostile /dev/.appc/agent",
                "ln -sf /root/hostile /dev/.appc/agent",
                "rm -f /dev/.appc/agent",
                "truncate -s 0 /dev/.appc/agent",
                "chmod 755 /dev/.appc/agent",
                "mount -o bind /root/hostile /dev/.appc/agent",
                "rm /dev/.appc/sock/a",
                "mv /dev/.appc/sock/a /dev/.appc/sock/b",
                "ln -s /root/evil /dev/.appc/sock/b",
                "mount -o bind /root /dev/.appc/sock",
                "umount /dev/.appc/sock",
                "rmdir /dev/.appc/sock",
            ] {
                let done = host.sh_in(name, line);
                assert_ne!(done.code, 0, "{name}: {}", done.transcript());
            }
            assert_eq!(host.in_container(name, ["echo", "fine"]).succeeds(), "fine");
        }
    });
}

#[test]
fn a_socket_in_the_monitors_place_catches_no_agent() {
    in_sandbox(|host| {
        start_with_program(host, "web", &[]);
        host.sh_in("web", "mv /dev/.appc /dev/elsewhere; mkdir -p /dev/.appc/sock").succeeds();
        let words = ["-c", "web", "spawn", "--name", "trap", "--", "/root/hostile", "listen", "/dev/.appc/sock/a"];
        host.appc(words).succeeds();
        let caught = || host.appc(["-c", "web", "logs", "--process", "trap"]).succeeds();
        eventually("it listens", || (caught() == "listening").then_some(()));
        for _ in 0..3 {
            let before = host.kill_monitor("web");
            eventually("it is gone", || (host.monitor("web") != Some(before)).then_some(()));
            assert_eq!(host.in_container("web", ["echo", "fine"]).succeeds(), "fine");
        }
        assert_eq!(caught(), "listening");
        host.appc(["restart", "web"]).succeeds();
        assert_eq!(host.in_container("web", ["echo", "fine"]).succeeds(), "fine");
    });
}
