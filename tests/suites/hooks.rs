//! Programs with callbacks on events: none is missed while they are away, whenever they are killed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{cell::RefCell, fs};

use appcontainers::{
    Error, LogPiece, Service,
    event::{NewEvent, append},
    life::HookError,
};
use appcontainers_tests::{Host, eventually, in_sandbox};
use rustix::process::{Pid, Signal, kill_process};

fn service(host: &Host) -> Service {
    Service::open(host.paths().clone())
}

/// Notes an event of a program's own.
fn note(host: &Host, kind: &str) -> u64 {
    append(host.paths(), &NewEvent::new(&"web".parse().unwrap(), kind)).unwrap().number
}

#[test]
fn what_happened_while_the_program_was_away_is_delivered_in_order() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        note(host, "before");
        let seen = RefCell::new(Vec::new());
        let open = || {
            let note = |event: &appcontainers::Event| {
                seen.borrow_mut().push(event.kind.clone());
                Ok(())
            };
            service(host).hooks("pager").unwrap().on_start(note).on_exit(note)
        };
        assert_eq!(open().run_once().unwrap(), 0, "a new cursor begins with what happens from then on");
        host.start("web");
        host.appc(["-c", "web", "exec", "--", "true"]).succeeds();
        host.appc(["stop", "web"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        assert_eq!(open().run_once().unwrap(), 3);
        assert_eq!(*seen.borrow(), ["start", "process-exit", "start"]);
        assert_eq!(open().run_once().unwrap(), 0);
        // Two programs never share a cursor.
        let first = open();
        let second = service(host).hooks("pager").unwrap_err();
        assert!(matches!(second, Error::Hook(HookError::Busy { .. })), "{second}");
        drop(first);
    });
}

#[test]
fn what_a_callback_refuses_comes_again() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        drop(service(host).hooks("pager").unwrap());
        let numbers: Vec<_> = (0..3).map(|_| note(host, "mine")).collect();
        let (seen, refused) = (RefCell::new(Vec::new()), RefCell::new(Some(numbers[1])));
        let mut hooks = service(host).hooks("pager").unwrap().on("mine", |event| {
            seen.borrow_mut().push(event.number);
            match *refused.borrow() {
                Some(number) if number == event.number => Err("not now".into()),
                _ => Ok(()),
            }
        });
        let error = hooks.run_once().unwrap_err();
        assert!(matches!(&error, Error::Hook(HookError::Callback { number, .. }) if *number == numbers[1]), "{error}");
        assert!(hooks.run_once().is_err());
        *refused.borrow_mut() = None;
        assert_eq!(hooks.run_once().unwrap(), 2);
        drop(hooks);
        assert_eq!(seen.into_inner(), [numbers[0], numbers[1], numbers[1], numbers[1], numbers[2]]);
    });
}

#[test]
fn events_that_the_journal_has_dropped_are_a_gap_with_a_name() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        let at = note(host, "first");
        drop(service(host).hooks("pager").unwrap());
        note(host, "lost");
        let last_lost = note(host, "lost");
        // As when the journal has grown: its oldest file goes.
        let journal = fs::read_dir(host.paths().events()).unwrap().next().unwrap().unwrap().path();
        fs::remove_file(&journal).unwrap();
        let line =
            format!(r#"{{"number":{},"time":"2026-01-02T03:04:05Z","container":"web","kind":"kept"}}"#, last_lost + 1);
        fs::write(journal.with_file_name(format!("{:020}.jsonl", last_lost + 1)), line + "\n").unwrap();
        let mut hooks = service(host).hooks("pager").unwrap().on_any(|_| Ok(()));
        match hooks.run_once().unwrap_err() {
            Error::Hook(HookError::Gap { first, last, .. }) => assert_eq!((first, last), (at + 1, last_lost)),
            error => panic!("{error}"),
        }
        assert_eq!(hooks.skip_gap().unwrap(), 2);
        assert_eq!(hooks.run_once().unwrap(), 1);
    });
}

#[test]
fn output_is_delivered_from_where_the_program_was() {
    in_sandbox(|host| {
        host.start("web");
        host.appc(["-c", "web", "exec", "--", "echo", "before"]).succeeds();
        let seen = RefCell::new(String::new());
        let open = || {
            service(host).hooks("reader").unwrap().on_output(|output| {
                assert_eq!(output.container.as_str(), "web");
                match &output.piece {
                    LogPiece::Output(record) => seen.borrow_mut().push_str(&String::from_utf8_lossy(record.payload)),
                    LogPiece::Dropped { bytes } => panic!("{bytes} bytes are gone"),
                }
                Ok(())
            })
        };
        assert_eq!(open().run_once().unwrap(), 0);
        for word in ["one", "two"] {
            host.appc(["-c", "web", "exec", "--", "echo", word]).succeeds();
        }
        open().run_once().unwrap();
        assert_eq!(*seen.borrow(), "one\ntwo\n");
        host.appc(["-c", "web", "exec", "--", "echo", "three"]).succeeds();
        open().run_once().unwrap();
        assert_eq!(*seen.borrow(), "one\ntwo\nthree\n");
    });
}

/// This test is the program, too: it is killed between its callbacks, and nothing is missed, nor more than one event delivered again.
#[test]
fn a_program_that_is_killed_misses_nothing() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        drop(service(host).hooks("pager").unwrap());
        let (first, file) = (note(host, "mine"), host.file("delivered"));
        let mut last = first;
        for _ in 0..300 {
            last = note(host, "mine");
        }
        let delivered = || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            text.lines().filter_map(|line| line.parse::<u64>().ok()).collect::<Vec<_>>()
        };
        let program = std::env::current_exe().unwrap();
        let mut kills = 0;
        while delivered().last() != Some(&last) {
            let mut command = host.command(program.to_str().unwrap());
            command.args(["--exact", "the_program_that_is_killed", "--ignored", "--nocapture"]);
            command.env("HOOKS_FILE", &file).env("APPC_ROOT", host.paths().root());
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut running = command.spawn().unwrap();
            let before = delivered().len();
            eventually("it goes on", || {
                (delivered().len() > before + 20 || delivered().last() == Some(&last)).then_some(())
            });
            kill_process(Pid::from_child(&running), Signal::KILL).unwrap();
            running.wait().unwrap();
            kills += 1;
        }
        assert!(kills > 3, "{kills}");
        let mut unique = delivered();
        assert!(unique.windows(2).all(|pair| pair[1] == pair[0] + 1 || pair[1] <= pair[0]), "an event was left out");
        assert!(unique.len() <= 301 + kills, "{} deliveries, {kills} kills", unique.len());
        unique.dedup();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique, (first..=last).collect::<Vec<_>>());
    });
}

/// What the test above kills.
#[test]
#[ignore = "it is run, and killed, by another test"]
fn the_program_that_is_killed() {
    use std::io::Write as _;
    let Some(path) = std::env::var_os("HOOKS_FILE") else { return };
    let service = Service::open(appcontainers::Paths::from_env().unwrap());
    let mut hooks = service.hooks("pager").unwrap().on("mine", |event| {
        let mut file = fs::File::options().create(true).append(true).open(&path)?;
        Ok(writeln!(file, "{}", event.number)?)
    });
    let Err(error) = hooks.run();
    panic!("{error}");
}
