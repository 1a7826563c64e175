//! `appc exec` and `appc shell`: commands in a container that runs, with and without a terminal.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, time::Instant};

use appcontainers_tests::{Finished, Host, LIMIT, allowed, amount, eventually, in_sandbox};
use rustix::process::{Pid, Signal, kill_process};

/// Runs a line of the container's shell by `exec` with these options.
#[track_caller]
fn exec(host: &Host, options: &[&str], line: &str) -> Finished {
    host.appc([&["-c", "web", "exec"], options, &["--", "sh", "-c", line]].concat())
}

/// A line for the shell that goes on for ever, in small steps.
const FOR_EVER: &str = "while :; do sleep 0.01; done";

#[test]
fn the_exit_code_is_the_commands_own() {
    in_sandbox(|host| {
        host.start("web");
        for code in [0, 1, 42, 255] {
            assert_eq!(exec(host, &[], &format!("exit {code}")).code, code);
            assert_eq!(exec(host, &["-t"], &format!("exit {code}")).code, code);
        }
        assert_eq!(exec(host, &[], "kill -9 $$").code, 137);
        host.appc(["-c", "web", "exec", "--", "nosuchprogram"]).refuses(127, &["nosuchprogram"]);
        host.appc(["-c", "web", "exec", "--", "/etc/passwd"]).refuses(126, &["/etc/passwd"]);
        host.appc(["-c", "web", "exec", "-u", "nosuchuser", "--", "true"]).refuses(125, &["nosuchuser"]);
        host.appc(["-c", "web", "exec"]).fails(2);
    });
}

#[test]
fn a_container_that_does_not_run_is_an_error_that_says_what_to_do() {
    in_sandbox(|host| {
        host.provision("web");
        let words = ["container web is not running", "appc start web", "appc run"];
        host.appc(["-c", "web", "exec", "--", "true"]).refuses(125, &words);
        host.appc(["-c", "web", "shell"]).fails(125);
        host.appc(["start", "web"]).succeeds();
        host.appc(["-c", "web", "exec", "--", "true"]).succeeds();
        host.appc(["stop", "web"]).succeeds();
        host.appc(["-c", "web", "exec", "--", "true"]).refuses(125, &words);
        host.appc(["-c", "nosuch", "exec", "--", "true"]).refuses(125, &["nosuch"]);
    });
}

#[test]
fn without_i_the_command_has_no_input_and_takes_none_from_who_comes_next() {
    in_sandbox(|host| {
        host.start("web");
        assert_eq!(host.sh("printf abc | appc -c web exec -- wc -c").succeeds(), "0");
        assert_eq!(host.sh("printf abc | appc -c web exec -i -- wc -c").succeeds(), "3");
        assert_eq!(exec(host, &[], "readlink /proc/self/fd/0").succeeds(), "/dev/null");
        assert_eq!(host.sh("printf 'a\nb\n' | (appc -c web exec -- cat; cat)").succeeds(), "a\nb");
    });
}

#[test]
fn a_hundred_megabytes_go_in_and_out_whole() {
    in_sandbox(|host| {
        host.start("web");
        let bytes = format!("yes | head -c {}", amount(100_000_000));
        let sum = host.sh(&format!("{bytes} | md5sum")).succeeds();
        assert_eq!(host.sh(&format!("{bytes} | appc -c web exec -i -- md5sum")).succeeds(), sum);
        assert_eq!(host.sh(&format!("{bytes} | appc -c web exec -i -- cat | md5sum")).succeeds(), sum);
        assert_eq!(host.sh(&format!("appc -c web exec -- sh -c '{bytes}' | md5sum")).succeeds(), sum);
    });
}

#[test]
fn variables_directory_user_and_limits_are_as_they_are_asked_for() {
    in_sandbox(|host| {
        host.start("web");
        let options = ["-e", "A=two words", "-w", "/tmp", "-u", "1000:1001"];
        let said = exec(host, &options, "echo $A $(pwd) $(id -u):$(id -g)").succeeds();
        assert_eq!(said, "two words /tmp 1000:1001");
        let limits = ["--rlimit", "nofile=100:200", "--rlimit", "core=0"];
        assert_eq!(exec(host, &limits, "echo $(ulimit -Sn; ulimit -Hn; ulimit -Sc)").succeeds(), "100 200 0");
        let said = host.appc(["-c", "web", "run", "--rlimit", "nofile=64", "--", "sh", "-c", "ulimit -n"]).succeeds();
        assert_eq!(said, "64");
        let most = exec(host, &[], "ulimit -Hn").succeeds();
        let greedy = format!("nofile=1024:{}0", most);
        host.appc(["-c", "web", "exec", "--rlimit", &greedy, "--", "true"]).refuses(125, &[&greedy, &most]);
        host.appc(["-c", "web", "exec", "--rlimit", "files=1", "--", "true"]).fails(2);
    });
}

#[test]
fn a_host_with_a_low_limit_of_open_files_starts_containers_all_the_same() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh("ulimit -n 512; appc start web").succeeds();
        assert_eq!(exec(host, &[], "echo $(ulimit -Sn; ulimit -Hn)").succeeds(), "512 512");
    });
}

#[test]
fn one_commands_end_ends_no_other() {
    in_sandbox(|host| {
        host.start("web");
        let cat = ["-c", "web", "exec", "-i", "--", "cat"];
        let [mut first, mut second] = [host.spawn("appc", cat), host.spawn("appc", cat)];
        let say = |running: &mut appcontainers_tests::Running, word: &str| {
            std::io::Write::write_all(running.stdin.as_mut().unwrap(), word.as_bytes()).unwrap();
            assert_eq!(running.read_until(word), word.as_bytes());
        };
        say(&mut first, "one");
        say(&mut second, "two");
        exec(host, &[], "exit 3").fails(3);
        first.signal(Signal::TERM);
        assert!(first.wait_at_most(allowed(LIMIT)));
        assert_eq!(first.wait().code, 143);
        say(&mut second, "three");
        assert_eq!(second.wait().code, 0);
        host.appc(["-c", "web", "exec", "--", "true"]).succeeds();
    });
}

#[test]
fn what_a_command_leaves_behind_holds_nobody_up_and_is_reaped() {
    in_sandbox(|host| {
        host.start("web");
        let begin = Instant::now();
        assert_eq!(exec(host, &[], "sleep 1000 & echo out").succeeds(), "out");
        assert_eq!(exec(host, &["-t"], "trap '' HUP; sleep 1000 & echo out").succeeds(), "out\r");
        assert!(begin.elapsed() < allowed(LIMIT) / 2);
        exec(host, &[], "until [ $(pidof sleep | wc -w) = 2 ]; do :; done; killall sleep").succeeds();
        let none = "until ! grep -q 'State:.Z' /proc/[0-9]*/status; do :; done; while pidof sleep; do :; done";
        exec(host, &[], none).succeeds();
    });
}

#[test]
fn a_server_is_reached_from_the_host() {
    in_sandbox(|host| {
        host.start("web");
        exec(host, &[], "mkdir -p /srv && echo hello > /srv/word").succeeds();
        let server = host.spawn("appc", ["-c", "web", "exec", "--", "httpd", "-f", "-p", "8000", "-h", "/srv"]);
        let address = host.inspect("web")["ip"].as_str().unwrap().to_owned();
        let get = format!("busybox timeout 3 busybox wget -q -O - http://{address}:8000/word");
        let got = eventually("the server", || Some(host.sh(&get)).filter(|got| got.code == 0));
        assert_eq!(got.text(), "hello");
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code, 143);
    });
}

/// Packs the host's C compiler, and what it needs to make a program, at the paths where that is here.
const PACK_COMPILER: &str = r#"set -e
programs=$(for name in cc1 collect2 as ld; do readlink -f "$(command -v "$(cc -print-prog-name=$name)")"; done)
programs="$programs $(readlink -f "$(command -v cc)")"
libraries=$(ldd $programs | grep -o '/[^ ):]* ')
parts=$(for name in Scrt1.o crti.o crtn.o crtbeginS.o crtendS.o libgcc.a libgcc_s.so libgcc_s.so.1 libc.so libc.so.6 \
    libc_nonshared.a liblto_plugin.so; do cc -print-file-name=$name; done | grep /)
headers=$(echo '#include <stdio.h>' | cc -x c -M - | grep -o '/[^ ]*')
for name in cc as ld; do ln -s "$(readlink -f "$(command -v $name)")" $name; done
tar -chPf compiler.tar --transform 's,^\(cc\|as\|ld\)$,/usr/bin/\1,' cc as ld \
    $(realpath -s $programs $libraries $parts $headers | sort -u)"#;

#[test]
fn a_compiler_makes_a_program_that_runs() {
    in_sandbox(|host| {
        host.start("web");
        host.sh(PACK_COMPILER).succeeds();
        host.appc(["-c", "web", "load-archive", "compiler.tar", "--into", "/"]).succeeds();
        let source =
            "int printf(const char *, ...); int main(int n, char **w) { return printf(\"%d %s\\n\", n, w[1]); }";
        fs::write(host.file("hello.c"), source).unwrap();
        host.sh("appc -c web exec -i -- cc -x c -o /root/hello - < hello.c").succeeds();
        let ran = exec(host, &[], "./hello world");
        assert_eq!((ran.code, ran.text()), (8, "2 world".to_owned()));
        let broken = host.sh("echo 'int main(' | appc -c web exec -i -- cc -x c -o /root/broken -");
        assert!(broken.fails(1).contains("error"));
    });
}

#[test]
fn the_terminal_inside_is_as_large_as_the_one_outside_and_follows_it() {
    in_sandbox(|host| {
        host.start("web");
        let line = format!("echo $TERM; tty; stty size; trap \"stty size; exit 5\" WINCH; echo ready; {FOR_EVER}");
        let mut console = host.console(&format!("stty rows 30 cols 100; appc -c web exec -it -- sh -c '{line}'"));
        assert_eq!(console.until("ready\r\n"), "vt100\r\n/dev/pts/0\r\n30 100\r\n");
        console.resize(50, 132);
        assert_eq!(console.wait(), (5, "50 132\r\n".to_owned()));
    });
}

#[test]
fn what_is_typed_is_the_commands_and_what_it_does_is_its_terminals() {
    in_sandbox(|host| {
        host.start("web");
        let line = format!("trap \"echo caught; exit 7\" INT; echo ready; {FOR_EVER}");
        let mut console = host.console(&format!("appc -c web exec -it -- sh -c '{line}'; echo appc said $?; exit 9"));
        console.until("ready\r\n");
        assert!(console.is_raw());
        console.type_in("\x03");
        assert_eq!(console.wait(), (9, "^Ccaught\r\nappc said 7\r\n".to_owned()));
        // The end of what is typed.
        for command in ["exec -it", "run -t"] {
            let mut console = host.console(&format!("appc -c web {command} -- sh -c 'stty -echo; echo ready; wc -c'"));
            console.until("ready\r\n");
            console.type_in("four\n\x04");
            assert_eq!(console.wait(), (0, "5\r\n".to_owned()));
        }
    });
}

#[test]
fn an_interactive_shell_has_job_control() {
    in_sandbox(|host| {
        host.start("web");
        let mut console = host.console("appc -c web exec -it -e PS1='prompt>' -- sh");
        console.until("prompt>");
        console.type_in("stty -echo\n");
        console.until("prompt>");
        // The sum is in what it prints, and not in what is typed.
        console.type_in(&format!("sh -c 'trap \"echo on $((1 + 1))\" CONT; echo job $((1 + 1)); {FOR_EVER}'\n"));
        console.until("job 2\r\n");
        console.type_in("\x1a");
        console.until("Stopped");
        console.until("prompt>");
        console.type_in("fg\n");
        console.until("on 2\r\n");
        console.type_in("\x03");
        console.until("prompt>");
        console.type_in("echo code $?; exit 4\n");
        assert_eq!(console.wait(), (4, "code 130\r\n".to_owned()));
    });
}

/// Runs `appc WORDS` on a terminal between two looks at its settings; the console once the command has said `ready`, and
/// the pid of appc.
fn between_looks(host: &Host, words: &str) -> (appcontainers_tests::Console, Pid) {
    fs::write(host.file("appc-with-pid"), format!("echo $$ > pid; exec appc {words}")).unwrap();
    let line = "stty -a > before; sh appc-with-pid; echo code $?; stty -a > after; cmp before after && echo same";
    let mut console = host.console(line);
    console.until("ready");
    assert!(console.is_raw());
    let pid = fs::read_to_string(host.file("pid")).unwrap().trim().parse().unwrap();
    (console, Pid::from_raw(pid).unwrap())
}

#[test]
fn the_terminal_is_as_it_was_when_the_command_ends() {
    in_sandbox(|host| {
        host.start("web");
        let words = "-c web exec -it -- sh -c 'stty raw -echo; echo ready; read line; exit 3'";
        let (mut console, _) = between_looks(host, words);
        console.type_in("\n");
        assert_eq!(console.wait(), (0, "\ncode 3\r\nsame\r\n".to_owned()));
        // Also when it never began.
        fs::write(host.file("fails"), "stty -a > before; appc -c web exec -it -- nosuchprogram; stty -a > after")
            .unwrap();
        assert_eq!(host.console("sh fails; cmp before after").wait().0, 0);
    });
}

#[test]
fn the_terminal_is_as_it_was_when_a_signal_ends_it_all() {
    in_sandbox(|host| {
        host.start("web");
        // A program that is ready when it says so: a shell that is about to execute another program drops an INT.
        host.sh_in("web", "echo ready > /root/ready").succeeds();
        const WAIT: &str = "-c web exec -it -- tail -f /root/ready";
        for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131)] {
            let (console, appc) = between_looks(host, WAIT);
            kill_process(appc, signal).unwrap();
            let (ended, seen) = console.wait();
            assert_eq!(
                (ended, seen.contains(&format!("code {code}\r\n")), seen.ends_with("same\r\n")),
                (0, true, true)
            );
        }
        // And when the container is killed.
        let (console, _) = between_looks(host, WAIT);
        host.appc(["rm", "-f", "web"]).succeeds();
        let (_, seen) = console.wait();
        assert!(seen.contains("code 125\r\n") && seen.ends_with("same\r\n"), "{seen}");
    });
}

#[test]
fn what_runs_on_a_terminal_ends_when_appc_is_killed() {
    in_sandbox(|host| {
        host.start("web");
        let mut console = host.console("echo $$ > pid; exec appc -c web exec -it -e PS1='prompt>' -- sh");
        console.until("prompt>");
        console.type_in("sh -c 'echo job $((1 + 1)); sleep 1000'\n");
        console.until("job 2\r\n");
        let pid = fs::read_to_string(host.file("pid")).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        eventually("the shell's and its job's end", || (exec(host, &[], "pidof sleep").code == 1).then_some(()));
    });
}

#[test]
fn a_terminal_goes_on_when_the_monitor_is_killed() {
    in_sandbox(|host| {
        host.start("web");
        let mut console = host.console("appc -c web exec -it -- sh -c 'echo ready; cat; stty size'");
        console.until("ready\r\n");
        host.kill_monitor("web");
        console.resize(40, 90);
        console.type_in("typed after its end\n");
        console.until("typed after its end\r\ntyped after its end\r\n");
        console.type_in("\x04");
        assert_eq!(console.wait(), (0, "40 90\r\n".to_owned()));
    });
}

#[test]
fn a_terminal_is_given_also_where_there_is_none_outside() {
    in_sandbox(|host| {
        host.start("web");
        let done = host.appc(["-c", "web", "exec", "-it", "--", "sh", "-c", "tty; stty size; echo $TERM; wc -c"]);
        assert_eq!((done.code, done.text().as_str()), (0, "/dev/pts/0\r\n24 80\r\nxterm\r\n0\r"));
        assert!(String::from_utf8_lossy(&done.stderr).contains("no terminal"), "{}", done.transcript());
        // One that nobody types on needs no word about that.
        let done = host.appc(["-c", "web", "exec", "-t", "--", "tty"]);
        assert_eq!((done.stdout.as_slice(), done.stderr.as_slice()), (&b"/dev/pts/0\r\n"[..], &b""[..]));
    });
}

#[test]
fn a_run_in_a_stopped_container_may_have_a_terminal() {
    in_sandbox(|host| {
        host.provision("web");
        let console = host.console("stty rows 31 cols 101; appc -c web run -it -- sh -c 'stty size; exit 6'");
        assert_eq!(console.wait(), (6, "31 101\r\n".to_owned()));
        assert_eq!(host.inspect("web")["status"], "stopped");
    });
}

#[test]
fn the_shell_is_a_login_shell_of_its_user() {
    in_sandbox(|host| {
        host.start("web");
        exec(host, &[], "echo 'echo profile was read; PS1=\"prompt>\"' > /etc/profile").succeeds();
        exec(host, &[], "echo 'app:x:500:500::/srv/app:/bin/ash' >> /etc/passwd; mkdir -p /srv/app").succeeds();
        exec(host, &[], "echo 'odd:x:501:501::/:/bin/nosuchshell' >> /etc/passwd").succeeds();
        for (options, expected) in [
            ("", "-sh root /root vt100 80 -\r\n"),
            ("-u app", "-ash app /srv/app vt100 80 -\r\n"),
            ("-u odd", "-sh odd / vt100 80 -\r\n"),
            ("-u 4711", "-sh 4711 / vt100 80 -\r\n"),
        ] {
            let mut console = host.console(&format!("appc -c web shell {options}"));
            assert!(console.until("prompt>").contains("profile was read\r\n"));
            console.type_in("stty -echo\n");
            console.until("prompt>");
            console.type_in("echo $0 $USER $(pwd) $TERM $(stty size | cut -d ' ' -f 2) -; exit 9\n");
            let (code, seen) = console.wait();
            assert_eq!((code, seen.as_str()), (9, expected), "{options}");
        }
    });
}
