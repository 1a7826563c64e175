//! Commands on a terminal.

use appcontainers_wire::{
    ExitStatus, ProcessId, SpawnFailure, TerminalSize,
    agent::{OUTPUT_WINDOW_BYTES, ToAgent},
};
use nix::sys::signal::Signal;

use crate::monitor::{Bench, Known, on_terminal, shell};

const ALL_THREE: &str = "tty; for stream in 0 1 2; do [ -t $stream ] && printf $stream; done";

#[test]
fn a_command_has_a_terminal_of_its_own_with_the_size_that_was_asked_for() {
    let mut bench = Bench::start();
    let known = bench.run(on_terminal(&format!("stty size; {ALL_THREE}; echo; echo $TERM; echo err >&2")));
    assert_eq!(known.text(), "24 80\r\n/dev/pts/0\r\n012\r\nxterm\r\nerr\r\n");
    assert_eq!((known.stderr.as_slice(), known.exit), (&b""[..], Some(ExitStatus::Code(0))));
    // It is the session's, and nobody else's.
    let mut given = on_terminal("echo to the terminal > /dev/tty; echo $TERM; ps -o tty= -p $$ | tr -d ' '");
    given.env = vec!["TERM=vt100".to_owned()];
    assert_eq!(bench.run(given).text(), "to the terminal\r\nvt100\r\npts/0\r\n");
    assert_eq!(bench.run(shell("ps -o tty= -p 1; : < /dev/tty")).text(), "?\n");
}

#[test]
fn the_terminal_is_its_users() {
    let mut bench = Bench::start();
    let mut owner = |user: &str| {
        let mut spec = on_terminal("stat -c '%u:%g %a' $(tty); echo again > $(tty)");
        spec.user = Some(user.to_owned());
        bench.run(spec).text().to_owned()
    };
    assert_eq!(owner("nobody"), "65534:5 620\r\nagain\r\n");
    assert_eq!(owner("root"), "0:5 620\r\nagain\r\n");
}

#[test]
fn in_a_user_namespace_all_is_the_same() {
    let mut bench = Bench::start_in_user_namespace();
    let mut other = on_terminal(&format!("{ALL_THREE}; stat -c ' %u:%g %a' $(tty)"));
    other.user = Some("33:44".to_owned());
    assert_eq!(bench.run(other).text(), "/dev/pts/0\r\n012 33:5 620\r\n");
}

#[test]
fn a_new_size_is_seen_and_announced() {
    let mut bench = Bench::start();
    let id = bench.spawn(on_terminal("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done"));
    bench.until_printed(id, "ready");
    let size = TerminalSize { rows: 50, columns: 132 };
    bench.send(&ToAgent::Resize { process: ProcessId(id), size }, &[]);
    bench.end_of(id);
    assert_eq!(bench.known[&id].text(), "ready\r\n50 132\r\n");
    // For a process without a terminal, and for none at all, nothing happens.
    let id = bench.spawn(shell("echo ready; sleep 1000"));
    bench.until_printed(id, "ready");
    for process in [id, 99].map(ProcessId) {
        bench.send(&ToAgent::Resize { process, size }, &[]);
    }
    assert_eq!(bench.run(shell("true")).exit, Some(ExitStatus::Code(0)));
}

#[test]
fn a_shell_has_job_control() {
    let mut bench = Bench::start();
    let id = bench.spawn(on_terminal("PS1='prompt>' exec sh -i"));
    bench.until_printed(id, "prompt>");
    bench.input(id, "sleep 1000\n");
    bench.until_printed(id, "sleep 1000\r\n");
    bench.run(shell("until pidof sleep; do :; done"));
    bench.input(id, "\x1a");
    bench.until_printed(id, "Stopped");
    bench.input(id, "kill -KILL %1; fg; exit 3\n");
    assert_eq!(bench.end_of(id), ExitStatus::Code(3));
    let text = bench.known[&id].text();
    assert!(!text.contains("job control"), "{text}");
}

#[test]
fn control_c_interrupts_what_runs_in_the_foreground() {
    let mut bench = Bench::start();
    let id = bench.spawn(on_terminal("trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.01; done"));
    bench.until_printed(id, "ready");
    bench.input(id, "\x03");
    assert_eq!(bench.end_of(id), ExitStatus::Code(5));
    assert_eq!(bench.known[&id].text(), "ready\r\n^Cinterrupted\r\n");
}

#[test]
fn an_interrupt_reaches_the_job_in_the_foreground_alone() {
    let mut bench = Bench::start();
    let job = "sh -c 'trap \"echo job got INT; exit 7\" INT; echo ready; while :; do sleep 0.01; done'";
    let id = bench.spawn(on_terminal("stty -echo; PS1='prompt>' exec sh -i"));
    bench.until_printed(id, "prompt>");
    bench.input(id, &format!("{job}\n"));
    bench.until_printed(id, "ready");
    bench.signal(id, Signal::SIGINT);
    bench.until_printed(id, "job got INT");
    bench.input(id, "echo code $?\n");
    bench.until_printed(id, "code 7");
}

#[test]
fn a_hangup_reaches_the_shell_and_the_job_in_its_foreground() {
    let mut bench = Bench::start();
    let id = bench.spawn(on_terminal("stty -echo; PS1='prompt>' exec sh -i"));
    bench.until_printed(id, "prompt>");
    bench.input(id, "sh -c 'trap \"echo job got HUP; exit 8\" HUP; echo ready; while :; do sleep 0.01; done'\n");
    bench.until_printed(id, "ready");
    bench.signal(id, Signal::SIGHUP);
    assert_eq!(bench.end_of(id), ExitStatus::Signal(1));
    bench.until_printed(id, "job got HUP");
}

#[test]
fn a_hangup_wakes_what_is_stopped() {
    let mut bench = Bench::start();
    let id = bench.spawn(on_terminal("trap 'echo got HUP; exit 8' HUP; kill -STOP $$; while :; do sleep 1; done"));
    bench.until("the start", |bench| bench.known[&id].pid.is_some());
    bench.run(shell(&until_stopped(bench.known[&id].pid.unwrap())));
    bench.signal(id, Signal::SIGHUP);
    assert_eq!(bench.end_of(id), ExitStatus::Code(8));
    assert_eq!(bench.known[&id].text(), "got HUP\r\n");
}

fn until_stopped(pid: u32) -> String {
    format!("until grep -q 'T (stopped)' /proc/{pid}/status; do :; done")
}

#[test]
fn the_end_of_input_is_one_for_the_reader_also_in_the_middle_of_a_line() {
    let mut bench = Bench::start();
    for (typed, counted) in [("", "0"), ("abc\n", "4"), ("abc", "3")] {
        let id = bench.spawn(on_terminal("stty -echo; echo ready; wc -c; echo over"));
        bench.until_printed(id, "ready");
        bench.input(id, typed);
        bench.close_input(id);
        assert_eq!(bench.end_of(id), ExitStatus::Code(0));
        assert_eq!(bench.known[&id].text(), format!("ready\r\n{counted}\r\nover\r\n"));
        assert_eq!(bench.known[&id].credit, typed.len() as u64);
    }
}

#[test]
fn the_end_of_input_is_the_character_that_the_terminal_has_for_it() {
    let mut bench = Bench::start();
    let id = bench.spawn(on_terminal("stty -echo eof ^X; echo ready; wc -c"));
    bench.until_printed(id, "ready");
    bench.input(id, "\x04\n");
    bench.close_input(id);
    bench.end_of(id);
    assert_eq!(bench.known[&id].text(), "ready\r\n2\r\n");
}

#[test]
fn a_megabyte_is_typed_through_a_terminal() {
    let mut bench = Bench::start();
    let id = bench.spawn(on_terminal("stty raw -echo; echo ready; head -c 1000000 | md5sum"));
    bench.until_printed(id, "ready");
    let bytes: String = (0..100_000).map(|number| format!("{number:09}\n")).collect();
    for chunk in bytes.as_bytes().chunks(50_000) {
        bench.send(&ToAgent::Stdin { process: ProcessId(id) }, chunk);
    }
    bench.end_of(id);
    let expected = bench.run(shell("seq -f %09g 0 99999 | md5sum")).text().to_owned();
    assert_eq!(bench.known[&id].text(), format!("ready\n{expected}"));
    assert_eq!(bench.known[&id].credit, 1_000_000);
}

#[test]
fn without_input_nobody_types() {
    let mut bench = Bench::start();
    let mut mute = on_terminal(&format!("{ALL_THREE}; echo; read line; echo got $line"));
    mute.stdin = false;
    let id = bench.spawn(mute);
    bench.until_printed(id, "012\r\n");
    bench.input(id, "words\n");
    bench.close_input(id);
    bench.until("credit", |bench| bench.known[&id].credit == 6);
    bench.signal(id, Signal::SIGKILL);
    assert_eq!(bench.end_of(id), ExitStatus::Signal(9));
    assert_eq!(bench.known[&id].text(), "/dev/pts/0\r\n012\r\n");
}

fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\r\n")).collect()
}

#[test]
fn the_exit_comes_after_the_last_byte() {
    let mut bench = Bench::start();
    let expected = numbers(200_000);
    assert!(bench.run(on_terminal("seq 1 200000")).text() == expected);
    let expected = numbers(1000);
    for _ in 0..50 {
        let known = bench.run(on_terminal("seq 1 1000; exit 3"));
        assert_eq!((known.exit, known.at_exit), (Some(ExitStatus::Code(3)), Some((expected.len(), 0))));
        assert!(known.text() == expected);
    }
}

#[test]
fn a_child_that_keeps_the_terminal_does_not_hold_up_the_exit() {
    let mut bench = Bench::start();
    let expected = numbers(1000);
    for _ in 0..20 {
        let id = bench.spawn(on_terminal("(trap '' HUP; exec sleep 1000) & seq 1 1000; exit 4"));
        assert_eq!(bench.end_of(id), ExitStatus::Code(4));
        assert!(bench.known[&id].text() == expected);
    }
}

#[test]
fn a_child_that_writes_without_end_does_not_hold_up_the_exit_and_loses_nothing() {
    let mut bench = Bench::start();
    let id =
        bench.spawn(on_terminal("stty -echo; (trap '' HUP; echo $(sh -c 'echo $PPID'); exec yes) & read line; exit 4"));
    bench.until_printed(id, "y\r\n");
    bench.input(id, "\n");
    assert_eq!(bench.end_of(id), ExitStatus::Code(4));
    let more = bench.known[&id].stdout.len() + 3_000_000;
    bench.until("more of the child's", |bench| bench.known[&id].stdout.len() > more);
    let text = bench.known[&id].text();
    let (child, rest) = text.split_once("\r\n").unwrap();
    assert!(rest.as_bytes().chunks_exact(3).all(|line| line == b"y\r\n"));
    bench.run(shell(&format!("kill {child}")));
}

#[test]
fn what_is_left_in_a_terminal_when_the_window_is_full_comes_before_the_exit() {
    let mut bench = Bench::start();
    bench.acknowledge = false;
    let dd = "exec dd if=/dev/zero bs=512 count=10000 status=none";
    let id = bench.spawn(on_terminal(&format!("stty -opost; (trap '' HUP; exec sleep 1000) & {dd}")));
    let is_full = |known: &Known| known.times.len() == 256 || known.stdout.len() as u64 == OUTPUT_WINDOW_BYTES;
    bench.until("a full window", |bench| is_full(&bench.known[&id]));
    let pid = bench.known[&id].pid.unwrap();
    // It sleeps when the terminal is full, too.
    bench.run(shell(&format!("until grep -q '^State:.S' /proc/{pid}/status; do :; done")));
    let written: usize =
        bench.run(shell(&format!("sed -n 's/wchar: //p' /proc/{pid}/io"))).text().trim().parse().unwrap();
    bench.signal(id, Signal::SIGKILL);
    bench.run(shell(&format!("while kill -0 {pid}; do :; done")));
    assert_eq!(bench.known[&id].exit, None);
    bench.acknowledge = true;
    bench.acknowledge_all();
    assert_eq!(bench.end_of(id), ExitStatus::Signal(9));
    let (at_exit, _) = bench.known[&id].at_exit.unwrap();
    assert!(at_exit >= written && written >= 256 * 512, "{written} bytes were written, {at_exit} came before the exit");
}

#[test]
fn a_command_that_closes_its_terminal_may_open_it_again() {
    let mut bench = Bench::start();
    let script = "t=$(tty); exec <&- >&- 2>&-; until [ -e \"$GO\" ]; do sleep 0.01; done; echo back > $t; exit 2";
    let go = bench.directory.path().join("go");
    let mut spec = on_terminal(script);
    spec.env = vec![format!("GO={}", go.display())];
    let id = bench.spawn(spec);
    bench.until("the start", |bench| bench.known[&id].pid.is_some());
    bench.run(shell(&format!("while [ -e /proc/{}/fd/2 ]; do :; done", bench.known[&id].pid.unwrap())));
    std::fs::write(go, "").unwrap();
    assert_eq!(bench.end_of(id), ExitStatus::Code(2));
    assert_eq!(bench.known[&id].text(), "back\r\n");
}

#[test]
fn what_the_container_does_to_its_mounts_turns_no_terminal_elsewhere() {
    let mut bench = Bench::start();
    assert_eq!(bench.run(shell("mount --bind /dev/null /dev/pts/ptmx")).exit, Some(ExitStatus::Code(0)));
    let failure = bench.run(on_terminal("true")).failure.clone();
    assert!(matches!(failure, Some(SpawnFailure::Other { .. })), "{failure:?}");
    assert_eq!(bench.run(shell("umount /dev/pts/ptmx; mount -t tmpfs none /dev/pts")).exit, Some(ExitStatus::Code(0)));
    assert_eq!(bench.run(on_terminal("stty size")).text(), "24 80\r\n");
}

#[test]
fn a_login_shell_is_the_users_own() {
    let mut bench = Bench::start();
    let mut login = |user: &str, script: &str| {
        let mut spec = on_terminal("");
        spec.argv = ["-c", script].map(str::to_owned).to_vec();
        (spec.login_shell, spec.user) = (true, Some(user.to_owned()));
        let known = bench.run(spec);
        (known.text().to_owned(), known.exit)
    };
    let (text, exit) = login("4321:8765", "echo $0 $SHELL $LOGNAME $TERM; exit 3");
    assert_eq!((text.as_str(), exit), ("-sh /bin/sh 4321 xterm\r\n", Some(ExitStatus::Code(3))));
    // nologin says so, whatever it is asked to run.
    assert_eq!(login("daemon", "echo in").1, Some(ExitStatus::Code(1)));
}

#[test]
fn a_stopped_process_holds_up_nothing_and_goes_on() {
    let mut bench = Bench::start();
    for spec in [shell("echo ready; kill -STOP $$; exit 5"), on_terminal("echo ready; kill -STOP $$; exit 5")] {
        let id = bench.spawn(spec);
        bench.until_printed(id, "ready");
        bench.run(shell(&until_stopped(bench.known[&id].pid.unwrap())));
        assert_eq!(bench.known[&id].exit, None);
        bench.signal(id, Signal::SIGCONT);
        assert_eq!(bench.end_of(id), ExitStatus::Code(5));
    }
}
