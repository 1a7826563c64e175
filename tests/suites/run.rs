//! `appc run`: what a command says, how it ends, and when its container starts and stops.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};

use appcontainers::container::{MAX_COMMAND_BYTES, MAX_WORD_BYTES};
use appcontainers_tests::{Archive, Host, Running, amount, assert_same_bytes, eventually, in_sandbox, numbers, tries};
use rustix::process::Signal;

#[test]
fn the_exit_code_is_the_commands_own() {
    in_sandbox(|host| {
        host.provision("web");
        for code in [0, 1, 3, 42, 255] {
            assert_eq!(host.sh_in("web", &format!("exit {code}")).code, code);
        }
    });
}

#[test]
fn a_command_that_a_signal_ended_gives_128_plus_its_number() {
    in_sandbox(|host| {
        host.start("web");
        for signal in [1, 2, 6, 9, 11, 15] {
            assert_eq!(host.sh_in("web", &format!("kill -{signal} $$")).code, 128 + signal);
        }
    });
}

#[test]
fn a_command_that_is_not_there_gives_127() {
    in_sandbox(|host| {
        host.start("web");
        host.in_container("web", ["nosuchprogram"]).refuses(127, &["nosuchprogram"]);
        host.in_container("web", ["/bin/nosuchprogram"]).refuses(127, &["/bin/nosuchprogram"]);
        host.in_container("web", ["./nosuchprogram"]).refuses(127, &["./nosuchprogram"]);
        host.in_container("web", [""]).fails(127);
    });
}

#[test]
fn a_file_that_is_no_program_gives_126() {
    in_sandbox(|host| {
        host.start("web");
        host.in_container("web", ["/etc/passwd"]).refuses(126, &["/etc/passwd"]);
        host.in_container("web", ["/etc"]).refuses(126, &["/etc"]);
        host.sh_in("web", "printf '#!/nosuch\\n' > /root/script; chmod +x /root/script").succeeds();
        assert!([126, 127].contains(&host.in_container("web", ["/root/script"]).code));
    });
}

#[test]
fn a_failure_of_appc_itself_gives_125() {
    in_sandbox(|host| {
        host.in_container("nosuch", ["true"]).refuses(125, &["nosuch"]);
        host.appc(["run", "--", "true"]).refuses(125, &["no current one"]);
        host.appc(["run", "--rm", "--image", "nosuch", "--", "true"]).refuses(125, &["nosuch"]);
        host.appc(["run", "--rm", "--image", "nosuch.aimg", "--", "true"]).refuses(125, &["nosuch.aimg"]);
        host.provision("web");
        host.appc(["-c", "web", "run", "-u", "nosuchuser", "--", "true"]).refuses(125, &["nosuchuser"]);
        host.appc(["-c", "web", "run", "-w", "/nosuchdir", "--", "true"]).refuses(125, &["/nosuchdir"]);
    });
}

#[test]
fn wrong_usage_gives_2() {
    in_sandbox(|host| {
        host.appc(["run"]).fails(2);
        host.appc(["run", "--bogus", "--", "true"]).fails(2);
        host.appc(["run", "--rm", "--", "true"]).fails(2);
        host.appc(["-c", "web", "run", "--image", "x", "--", "true"]).fails(2);
        host.appc(["run", "-e", "=VALUE", "--", "true"]).fails(2);
    });
}

#[test]
fn sixty_four_megabytes_on_each_stream_arrive_whole_and_apart() {
    in_sandbox(|host| {
        host.provision("web");
        let [out, err] = [7_700_000, 7_600_000].map(amount);
        let done = host.sh_in("web", &format!("seq 1 {out} & seq 1 {err} >&2; wait"));
        assert_eq!(done.code, 0);
        assert_same_bytes("standard output", &done.stdout, &numbers(out));
        assert_same_bytes("standard error", &done.stderr, &numbers(err));
    });
}

#[test]
fn nothing_is_lost_at_a_commands_end() {
    in_sandbox(|host| {
        host.start("web");
        let wanted = numbers(20_000);
        for _ in 0..tries(20) {
            let done = host.sh_in("web", "seq 1 20000; exit 3");
            assert_eq!(done.code, 3);
            assert_same_bytes("standard output", &done.stdout, &wanted);
        }
    });
}

#[test]
fn standard_input_goes_to_the_command_byte_for_byte() {
    in_sandbox(|host| {
        host.start("web");
        let bytes: Vec<u8> = (0..8_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        std::fs::write(host.file("input"), &bytes).unwrap();
        let done = host.sh("appc -c web run -- cat < input");
        assert_eq!(done.code, 0);
        assert_same_bytes("standard output", &done.stdout, &bytes);
        assert_eq!(host.sh("appc -c web run -- wc -c < input").succeeds(), "8000000");
    });
}

#[test]
fn a_command_without_input_sees_its_end() {
    in_sandbox(|host| {
        host.start("web");
        assert_eq!(host.in_container("web", ["wc", "-c"]).succeeds(), "0");
        assert_eq!(host.sh("appc -c web run -- wc -c <&-").succeeds(), "0");
        assert_eq!(host.sh("printf abc | appc -c web run -- cat").succeeds(), "abc");
    });
}

#[test]
fn a_command_that_does_not_read_its_input_ends_all_the_same() {
    in_sandbox(|host| {
        host.start("web");
        assert_eq!(host.sh("yes | head -c 5000000 | appc -c web run -- sh -c 'exit 4'").code, 4);
        // And where the input never ends.
        let running = host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", "echo done"]);
        let input = running.stdin.as_ref().unwrap().try_clone_to_owned();
        assert_eq!(running.wait().succeeds(), "done");
        drop(input);
    });
}

trait TryCloneToOwned {
    fn try_clone_to_owned(&self) -> std::os::fd::OwnedFd;
}

impl TryCloneToOwned for std::process::ChildStdin {
    fn try_clone_to_owned(&self) -> std::os::fd::OwnedFd {
        std::os::fd::AsFd::as_fd(self).try_clone_to_owned().unwrap()
    }
}

#[test]
fn output_comes_as_it_is_written() {
    in_sandbox(|host| {
        host.start("web");
        let mut running = host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", "printf one; read x; printf two"]);
        assert_eq!(running.read_until("one"), b"one");
        running.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        assert_eq!(running.wait().succeeds(), "two");
    });
}

#[test]
fn signals_reach_the_command() {
    in_sandbox(|host| {
        host.start("web");
        for (signal, name) in [
            (Signal::TERM, "TERM"),
            (Signal::INT, "INT"),
            (Signal::HUP, "HUP"),
            (Signal::QUIT, "QUIT"),
            (Signal::USR1, "USR1"),
            (Signal::USR2, "USR2"),
        ] {
            let line =
                format!("trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 1000 & wait; done");
            let mut running = host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", &line]);
            running.read_until("ready\n");
            running.signal(signal);
            let done = running.wait();
            assert_eq!((done.code, done.text()), (7, format!("got {name}")));
        }
    });
}

#[test]
fn a_signal_that_the_command_leaves_as_it_is_ends_it() {
    in_sandbox(|host| {
        host.provision("web");
        let mut running = host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", "echo ready; exec sleep 1000"]);
        running.read_until("ready\n");
        running.signal(Signal::TERM);
        assert_eq!(running.wait().code, 143);
        assert_eq!(host.status("web"), "stopped");
    });
}

#[test]
fn variables_directory_and_user_are_as_they_are_asked_for() {
    in_sandbox(|host| {
        host.start("web");
        let run = |options: &[&str], line: &str| {
            host.appc([&["-c", "web", "run"], options, &["--", "sh", "-c", line]].concat())
        };
        assert_eq!(run(&["-e", "A=1", "-e", "B=two words=x"], "echo \"$A,$B\"").succeeds(), "1,two words=x");
        assert_eq!(run(&["-w", "/tmp"], "pwd").succeeds(), "/tmp");
        assert_eq!(run(&["-u", "1000:1001"], "echo $(id -u):$(id -g)").succeeds(), "1000:1001");
        assert_eq!(run(&["-u", "65534"], "id -u").succeeds(), "65534");
        assert_eq!(run(&[], "echo $(id -u) $HOME $(pwd)").succeeds(), "0 /root /root");
        assert_eq!(run(&["-u", "root"], "id -u").succeeds(), "0");
        host.sh_in("web", "echo 'app:x:500:500::/srv/app:/bin/sh' >> /etc/passwd; mkdir -p /srv/app").succeeds();
        assert_eq!(run(&["-u", "app"], "echo $(id -u) $HOME $(pwd)").succeeds(), "500 /srv/app /srv/app");
    });
}

#[test]
fn words_reach_the_command_as_they_are() {
    in_sandbox(|host| {
        host.start("web");
        for word in ["a b", "$HOME", "'", "\"", "\n", "*", "ä€", "", "--json", "-c", "\u{1b}[2J", "\\"] {
            let done = host.in_container("web", ["printf", "[%s]", word]);
            assert_eq!(done.stdout, format!("[{word}]").into_bytes());
        }
    });
}

#[test]
fn the_hosts_environment_stays_outside() {
    in_sandbox(|host| {
        host.start("web");
        let said = host.sh("SECRET_OF_HOST=x appc -c web run -- env").succeeds();
        assert!(!said.contains("SECRET_OF_HOST") && !said.contains("APPC_"), "{said}");
        assert!(said.lines().any(|line| line.starts_with("PATH=")), "{said}");
    });
}

#[test]
fn a_script_without_a_first_line_that_names_its_shell_runs_as_in_a_shell() {
    in_sandbox(|host| {
        host.start("web");
        host.sh_in("web", "echo 'echo $0 $1' > /root/script; chmod +x /root/script").succeeds();
        assert_eq!(host.in_container("web", ["/root/script", "x"]).succeeds(), "/root/script x");
    });
}

#[test]
fn a_command_that_is_too_long_is_refused_and_disturbs_nothing() {
    in_sandbox(|host| {
        host.start("web");
        let mut other = long_command(host, "web");
        // The words of a command whose message is about so long.
        let words = |bytes: usize| {
            let full = vec!["x".repeat(100_000); bytes / 100_000];
            let script = "echo $# $(echo \"$*\" | wc -c)".to_owned();
            [vec!["sh".to_owned(), "-c".to_owned(), script], full, vec!["x".repeat(bytes % 100_000)]].concat()
        };
        let fits = MAX_COMMAND_BYTES - 2000;
        let count = fits / 100_000;
        let said = host.in_container("web", words(fits)).succeeds();
        assert_eq!(said, format!("{count} {}", fits - 100_000 + count));
        for more in [0, 500, 1024 - 150, 1024 - 50, 1024, 2000] {
            for verb in ["run", "exec"] {
                let appc = ["-c", "web", verb, "--"].map(str::to_owned).into_iter();
                let refused = host.appc(appc.chain(words(MAX_COMMAND_BYTES + more)));
                refused.refuses(125, &["web", &MAX_COMMAND_BYTES.to_string(), "standard input"]);
            }
        }
        let half = "x".repeat(MAX_WORD_BYTES / 2 + 1);
        let add = ["-c", "web", "startup-command", "add", &half, &half];
        host.appc(add).refuses(1, &["web", &MAX_WORD_BYTES.to_string()]);
        other.stdin.as_mut().unwrap().write_all(b"x\n").unwrap();
        assert_eq!(other.wait().succeeds(), "got x");
    });
}

/// A shell starts what runs beside it with INT and QUIT ignored, nohup does so with HUP.
#[test]
fn a_command_can_be_interrupted_whatever_appc_was_started_by() {
    in_sandbox(|host| {
        host.provision("web");
        let line = "trap '' HUP INT QUIT TERM; appc -c web run -- sh -c 'kill -INT $$; echo not interrupted'";
        assert_eq!(host.sh(line).code, 130);
    });
}

/// A command that runs in `name` until something is written to it.
fn long_command(host: &Host, name: &str) -> Running {
    let mut running =
        host.spawn("appc", ["-c", name, "run", "--", "sh", "-c", "echo ready; read line; echo got $line"]);
    running.read_until("ready\n");
    running
}

#[test]
fn a_stopped_container_is_started_for_a_command_and_stopped_after_it() {
    in_sandbox(|host| {
        host.provision("web");
        assert_eq!(host.status("web"), "stopped");
        let mut running = long_command(host, "web");
        assert_eq!(host.status("web"), "running");
        running.stdin.as_mut().unwrap().write_all(b"x\n").unwrap();
        assert_eq!(running.wait().succeeds(), "got x");
        assert_eq!(host.status("web"), "stopped");
    });
}

#[test]
fn a_container_that_runs_goes_on_after_a_command() {
    in_sandbox(|host| {
        host.start("web");
        host.in_container("web", ["true"]).succeeds();
        host.in_container("web", ["false"]).fails(1);
        assert_eq!(host.status("web"), "running");
        host.sh_in("web", "echo kept > /root/file").succeeds();
        assert_eq!(host.in_container("web", ["cat", "/root/file"]).succeeds(), "kept");
    });
}

#[test]
fn of_two_commands_in_a_stopped_container_the_last_one_out_stops_it() {
    in_sandbox(|host| {
        host.provision("web");
        let mut first = long_command(host, "web");
        let mut second = long_command(host, "web");
        // The one that started the container goes first.
        first.stdin.as_mut().unwrap().write_all(b"1\n").unwrap();
        assert_eq!(first.wait().succeeds(), "got 1");
        assert_eq!(host.status("web"), "running");
        second.stdin.as_mut().unwrap().write_all(b"2\n").unwrap();
        assert_eq!(second.wait().succeeds(), "got 2");
        assert_eq!(host.status("web"), "stopped");
    });
}

#[test]
fn commands_that_all_come_at_once_to_a_stopped_container_all_run() {
    in_sandbox(|host| {
        host.provision("web");
        let start = |n: u32| {
            let mut command = host.command("appc");
            command.args(["-c", "web", "run", "--", "sh", "-c", &format!("echo {n}; exit {n}")]);
            host.start_command(command, appcontainers_tests::LIMIT)
        };
        let running: Vec<_> = (1..=8).map(start).collect();
        for (n, running) in (1..).zip(running) {
            let done = running.wait();
            assert_eq!((done.code, done.text()), (n, n.to_string()), "{}", done.transcript());
        }
        assert_eq!(host.status("web"), "stopped");
    });
}

#[test]
fn one_command_right_after_another_finds_its_container_ready() {
    in_sandbox(|host| {
        host.provision("web");
        for n in 0..tries(20) {
            assert_eq!(
                host.sh_in("web", &format!("echo {n} >> /root/log; wc -l < /root/log")).succeeds(),
                (n + 1).to_string()
            );
        }
    });
}

#[test]
fn a_grandchild_that_holds_the_pipe_does_not_hold_the_command() {
    in_sandbox(|host| {
        host.start("web");
        assert_eq!(host.sh_in("web", "sleep 1000 & echo done").succeeds(), "done");
        assert!(host.in_container("web", ["ps"]).succeeds().contains("sleep 1000"), "the grandchild goes on");
        host.provision("api");
        assert_eq!(host.sh_in("api", "sleep 1000 & echo done").succeeds(), "done");
        assert_eq!(host.status("api"), "stopped");
    });
}

#[test]
fn a_reader_that_stalls_stops_its_command_and_loses_nothing() {
    in_sandbox(|host| {
        host.start("web");
        // 23 MB, which are more than the 16 MiB that may be ahead of the reader.
        let mut stalled =
            host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", "seq 1 3000000; echo end > /root/end"]);
        let mut first = [0; 2];
        stalled.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        assert_eq!(&first, b"1\n");
        // Others are not held up by it.
        assert_eq!(host.in_container("web", ["echo", "here"]).succeeds(), "here");
        assert_ne!(host.in_container("web", ["test", "-e", "/root/end"]).code, 0, "it did not wait");
        let done = stalled.wait();
        assert_eq!(done.code, 0);
        assert_same_bytes("standard output", &done.stdout, &numbers(3_000_000)[2..]);
        assert_eq!(host.in_container("web", ["cat", "/root/end"]).succeeds(), "end");
    });
}

#[test]
fn a_command_that_nobody_reads_holds_up_no_other() {
    in_sandbox(|host| {
        host.start("web");
        let mut stalled = host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", "while :; do seq 1 100000; done"]);
        let mut first = [0; 2];
        stalled.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        // Until it has filled all there is to fill.
        let log = host.paths().container_log(&"web".parse().unwrap());
        let size = || host.run("du", ["-sb", log.to_str().unwrap()]).text();
        let mut last = (String::new(), 0);
        eventually("it stands still", || {
            let now = size();
            last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
            (last.1 > 30).then_some(())
        });
        for _ in 0..3 {
            assert_same_bytes(
                "standard output",
                &host.in_container("web", ["seq", "1", "200000"]).stdout,
                &numbers(200_000),
            );
        }
        stalled.signal(Signal::TERM);
        drop(stalled);
        host.in_container("web", ["true"]).succeeds();
    });
}

#[test]
fn a_reader_that_has_enough_ends_the_command() {
    in_sandbox(|host| {
        host.provision("web");
        assert_eq!(host.sh("appc -c web run -- yes 12345678 | head -c 10").stdout, b"12345678\n1");
        assert_eq!(host.status("web"), "stopped");
        host.appc(["start", "web"]).succeeds();
        assert_eq!(host.sh("appc -c web run -- yes 12345678 | head -c 10").stdout, b"12345678\n1");
        eventually("yes ends", || (!host.in_container("web", ["ps"]).text().contains("yes 1234")).then_some(()));
    });
}

#[test]
fn a_command_whose_appc_was_killed_does_not_stay_for_ever() {
    in_sandbox(|host| {
        host.provision("web");
        let running = long_command(host, "web");
        running.signal(Signal::KILL);
        assert_eq!(running.wait().code, 137);
        eventually("the container stops", || (host.status("web") == "stopped").then_some(()));
    });
}

#[test]
fn a_command_whose_container_is_stopped_ends_with_an_error() {
    in_sandbox(|host| {
        host.start("web");
        let running = long_command(host, "web");
        host.appc(["stop", "web", "--timeout", "0"]).succeeds();
        let done = running.wait();
        assert!(done.code > 124, "{}", done.transcript());
    });
}

#[test]
fn startup_commands_do_not_run_for_a_command() {
    in_sandbox(|host| {
        host.provision("web");
        host.appc(["-c", "web", "startup-command", "add", "echo started > /root/started"]).succeeds();
        host.in_container("web", ["ls", "/root/started"]).fails(1);
    });
}

/// An image with a program that says hello and writes a file.
fn image(host: &Host) {
    Archive::new().program("app", "#!/bin/sh\necho hello $1\necho x >> count; cat count\n").write(host.file("app.tar"));
    host.app_image(|maker| drop(host.appc(["-c", maker, "load-archive", "app.tar"]).succeeds()));
}

#[test]
fn one_shot_loads_runs_and_leaves_nothing() {
    in_sandbox(|host| {
        image(host);
        for _ in 0..3 {
            let done = host.appc(["run", "--rm", "--image", "app.aimg", "--", "./app", "world"]);
            assert_eq!(done.succeeds(), "hello world\nx");
            assert!(host.containers().is_empty());
        }
        // From the store, by name.
        assert_eq!(host.appc(["run", "--rm", "--image", "app", "--", "./app", "again"]).succeeds(), "hello again\nx");
        assert_eq!(host.appc(["run", "--rm", "--image", "app", "--", "sh", "-c", "exit 9"]).code, 9);
        host.appc(["run", "--rm", "--image", "app", "--", "nosuch"]).fails(127);
        assert!(host.containers().is_empty());
        // Layers stay mounted for the next start until gc comes. LXC's monitors end in their own time.
        eventually("there is no other garbage", || {
            let garbage = host.appc(["gc", "--dry-run"]).succeeds();
            garbage.lines().all(|line| line.starts_with("mount ")).then_some(())
        });
    });
}

#[test]
fn an_image_without_rm_stays_as_a_container() {
    in_sandbox(|host| {
        image(host);
        assert_eq!(host.appc(["run", "--image", "app.aimg", "--", "./app"]).succeeds(), "hello\nx");
        let names = host.containers();
        assert_eq!(names.len(), 1);
        assert_eq!(host.in_container(&names[0], ["./app"]).succeeds(), "hello\nx\nx");
    });
}

#[test]
fn rm_removes_the_container_it_names() {
    in_sandbox(|host| {
        host.provision("web");
        assert_eq!(host.appc(["-c", "web", "run", "--rm", "--", "sh", "-c", "echo bye; exit 5"]).code, 5);
        assert!(host.containers().is_empty());
    });
}

#[test]
fn orphans_are_reaped() {
    in_sandbox(|host| {
        host.start("web");
        host.sh_in("web", "for i in 1 2 3 4 5 6 7 8 9; do (sh -c 'sleep 0.0$0 & exit' $i); done").succeeds();
        eventually("no zombies are left", || {
            let states = host.sh_in("web", "cat /proc/[0-9]*/stat").text();
            (!states.contains(") Z ")).then_some(())
        });
    });
}
