//! Commands: their start and their end.

use appcontainers_wire::{ExitStatus, ProcessId, SpawnFailure, agent::ToAgent};

use nix::sys::signal::Signal;

use crate::monitor::{Bench, shell, spec};

#[test]
fn stdout_and_stderr_come_apart_and_before_the_exit() {
    let mut bench = Bench::start();
    let known = bench.run(shell("echo out; echo err >&2; printf end; exit 3"));
    assert_eq!((known.stdout.as_slice(), known.stderr.as_slice()), (&b"out\nend"[..], &b"err\n"[..]));
    assert_eq!(known.exit, Some(ExitStatus::Code(3)));
    assert_eq!(known.at_exit, Some((7, 4)));
}

#[test]
fn the_end_by_a_signal_is_told_as_such() {
    let mut bench = Bench::start();
    assert_eq!(bench.run(shell("kill -9 $$")).exit, Some(ExitStatus::Signal(9)));
}

#[test]
fn what_is_missing_or_not_executable_is_said() {
    let mut bench = Bench::start();
    let mut failure = |program: &str| bench.run(spec(&[program])).failure.clone().unwrap();
    let missing = |program: &str| SpawnFailure::NotFound { program: program.to_owned() };
    assert_eq!(failure("no-such-program"), missing("no-such-program"));
    assert_eq!(failure("/no/such/program"), missing("/no/such/program"));
    assert_eq!(failure("/etc/passwd").shell_code(), 126);
    assert_eq!(failure("/etc").shell_code(), 126);
    assert!(matches!(bench.run(spec(&[])).failure, Some(SpawnFailure::Other { .. })));
    assert!(matches!(bench.run(spec(&["echo", "\0"])).failure, Some(SpawnFailure::NotExecutable { .. })));
}

#[test]
fn a_script_without_an_interpreter_line_is_the_shells_and_one_with_a_missing_interpreter_is_126() {
    let mut bench = Bench::start();
    let plain = bench.script("plain", "echo run by $0");
    let expected = format!("run by {plain}\n");
    assert_eq!(bench.run(spec(&[&plain])).text(), expected);
    let orphan = bench.script("orphan", "#!/no/such/interpreter\n");
    let failure = bench.run(spec(&[&orphan])).failure.clone().unwrap();
    assert_eq!(failure.shell_code(), 126);
    assert!(failure.to_string().contains("interpreter"), "{failure}");
}

#[test]
fn a_user_or_a_working_directory_that_is_not_there_is_named() {
    let mut bench = Bench::start();
    let mut nobody = spec(&["true"]);
    nobody.user = Some("no-such-user".to_owned());
    let failure = bench.run(nobody).failure.clone();
    assert_eq!(failure, Some(SpawnFailure::NoSuchUser { user: "no-such-user".to_owned() }));
    let mut nowhere = spec(&["true"]);
    nowhere.working_dir = Some("/no/such/directory".to_owned());
    let failure = bench.run(nowhere).failure.clone().unwrap();
    assert!(matches!(&failure, SpawnFailure::WorkingDir { path, .. } if path == "/no/such/directory"), "{failure:?}");
}

/// A process is alone until it leads its own group: what was sent to that group was lost then.
#[test]
fn a_signal_that_comes_right_behind_the_order_to_start_is_not_lost() {
    let mut bench = Bench::start();
    for _ in 0..20 {
        let id = bench.spawn(shell("exec sleep 600"));
        bench.signal(id, Signal::SIGHUP);
        bench.until("its end", |bench| bench.known[&id].exit.is_some());
        assert_eq!(bench.known[&id].exit, Some(ExitStatus::Signal(1)));
    }
}

#[test]
fn a_signal_goes_to_the_whole_group() {
    let mut bench = Bench::start();
    let id = bench.spawn(shell("sleep 1000 & echo $!; wait"));
    bench.until("the child", |bench| bench.known[&id].stdout.ends_with(b"\n"));
    bench.send(&ToAgent::Signal { process: ProcessId(id), signal: 15 }, &[]);
    bench.until("the end", |bench| bench.known[&id].exit.is_some());
    assert_eq!(bench.known[&id].exit, Some(ExitStatus::Signal(15)));
    let child = bench.known[&id].text().trim().to_owned();
    let alive = bench.run(shell(&format!("while kill -0 {child} 2>/dev/null; do :; done"))).exit;
    assert_eq!(alive, Some(ExitStatus::Code(0)));
}

#[test]
fn a_hundred_commands_at_once_each_get_their_own_output() {
    let mut bench = Bench::start();
    let ids: Vec<u32> =
        (0..100).map(|number| bench.spawn(shell(&format!("seq {number} 5000; exit {}", number % 50)))).collect();
    bench.until("all ends", |bench| ids.iter().all(|id| bench.known[id].exit.is_some()));
    for (number, id) in ids.iter().enumerate() {
        let expected: String = (number..=5000).map(|line| format!("{line}\n")).collect();
        assert_eq!(bench.known[id].text(), expected, "{number}");
        assert_eq!(bench.known[id].exit, Some(ExitStatus::Code((number % 50) as u8)));
    }
}

#[test]
fn what_is_left_to_pid_1_does_not_stay_a_zombie() {
    let mut bench = Bench::start();
    bench.run(shell("for n in 1 2 3 4 5; do (sleep 0.01 &); done"));
    let script =
        "while cat /proc/[0-9]*/stat 2>/dev/null | grep -q ' Z '; do :; done; while pidof sleep; do :; done; echo none";
    assert!(bench.run(shell(script)).text().ends_with("none\n"));
}

#[test]
fn a_file_operation_is_the_agents_own() {
    let mut bench = Bench::start();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o640);
    header.set_cksum();
    archive.append_data(&mut header, "dir/file", &b"data"[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    let into = bench.directory.path().join("into").to_str().unwrap().to_owned();
    let operation = |argv: &[&str]| {
        let mut operation = spec(argv);
        (operation.file_operation, operation.stdin) = (true, true);
        operation
    };
    let id = bench.spawn(operation(&["untar", "--into", &into]));
    bench.send(&ToAgent::Stdin { process: ProcessId(id) }, &archive);
    bench.send(&ToAgent::StdinClose { process: ProcessId(id) }, &[]);
    bench.until("the end", |bench| bench.known[&id].exit.is_some());
    assert_eq!(bench.known[&id].exit, Some(ExitStatus::Code(0)), "{:?}", bench.known[&id]);
    assert_eq!(std::fs::read(format!("{into}/dir/file")).unwrap(), b"data");
    let id = bench.spawn(operation(&["untar", "--into", &into]));
    bench.send(&ToAgent::Stdin { process: ProcessId(id) }, &archive[..514]);
    bench.send(&ToAgent::StdinClose { process: ProcessId(id) }, &[]);
    bench.until("the end", |bench| bench.known[&id].exit.is_some());
    assert_eq!(bench.known[&id].exit, Some(ExitStatus::Code(1)));
    assert_eq!(bench.known[&id].stderr, b"appc-agent: the archive is cut off after dir/file\n");
    assert!(matches!(bench.run(operation(&["rm"])).failure, Some(SpawnFailure::NotFound { .. })));
}
