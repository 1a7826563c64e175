//! Writers and readers of the journal together.

use std::{fs, path::PathBuf, sync::mpsc, thread, time::Duration};

use appcontainers_wire::{ExitStatus, ProcessId};
use serde_json::{Map, Value, json};

use super::{
    Event, EventError, Events, MAX_LINE_BYTES, NewEvent, Since, append,
    journal::{LIMITS, Limits, append_within},
    segment,
};
use crate::{ContainerName, Paths};

fn place() -> (tempfile::TempDir, Paths) {
    let place = tempfile::tempdir().unwrap();
    let paths = Paths::new(place.path(), place.path().join("run"));
    fs::create_dir(paths.events()).unwrap();
    (place, paths)
}

fn name(text: &str) -> ContainerName {
    text.parse().unwrap()
}

fn append_one(paths: &Paths, kind: &str) -> u64 {
    append(paths, &NewEvent::new(&name("web"), kind)).unwrap().number
}

fn read(paths: &Paths, since: Since) -> Vec<Event> {
    Events::open(paths, since).unwrap().map(Result::unwrap).collect()
}

fn numbers(paths: &Paths, since: Since) -> Vec<u64> {
    read(paths, since).iter().map(|event| event.number).collect()
}

fn first_segment(paths: &Paths) -> PathBuf {
    segment::path(&paths.events(), 1)
}

#[test]
fn events_are_numbered_and_read_from_any_number_on() {
    let (_place, paths) = place();
    assert_eq!(read(&paths, Since::Oldest), []);
    assert_eq!(read(&paths, Since::Number(0)), []);
    assert_eq!(["start", "die", "remove"].map(|kind| append_one(&paths, kind)), [1, 2, 3]);
    let kinds: Vec<_> = read(&paths, Since::Number(1)).into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["die", "remove"]);
    assert_eq!(numbers(&paths, Since::Oldest), [1, 2, 3]);
    assert!(numbers(&paths, Since::Number(3)).is_empty());
    let error = Events::open(&paths, Since::Number(4)).unwrap_err();
    assert!(matches!(error, EventError::NotYet { number: 4, last: 3 }), "{error}");
}

#[test]
fn an_events_fields_come_back_and_those_that_are_absent_take_no_room() {
    let (_place, paths) = place();
    append_one(&paths, "start");
    let web = name("web");
    let exit = NewEvent {
        process: Some(ProcessId(3)),
        name: Some("app"),
        status: Some(ExitStatus::Signal(9)),
        details: Map::from_iter([("restarts".to_owned(), Value::from(2))]),
        ..NewEvent::new(&web, "process-exit")
    };
    let written = append(&paths, &exit).unwrap();
    let text = fs::read_to_string(first_segment(&paths)).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [start, exit] = &lines[..] else { panic!("{text}") };
    assert_eq!(*start, json!({"number": 1, "time": start["time"], "container": "web", "kind": "start"}));
    let expected = json!({
        "number": 2, "time": exit["time"], "container": "web", "kind": "process-exit",
        "process": 3, "name": "app", "status": {"signal": 9}, "details": {"restarts": 2},
    });
    assert_eq!(*exit, expected);
    assert_eq!(read(&paths, Since::Number(1)), [written]);
}

#[test]
fn a_time_begins_with_the_first_event_of_it() {
    let (_place, paths) = place();
    for kind in ["one", "two", "three"] {
        append_one(&paths, kind);
        thread::sleep(Duration::from_millis(1));
    }
    let second = read(&paths, Since::Number(1))[0].time;
    assert_eq!(numbers(&paths, Since::Time(second)), [2, 3]);
    let later = second + jiff::SignedDuration::from_secs(60);
    assert!(numbers(&paths, Since::Time(later)).is_empty());
}

#[test]
fn one_containers_events_can_be_asked_for_also_when_it_is_gone() {
    let (_place, paths) = place();
    for container in ["web", "api", "web"] {
        append(&paths, &NewEvent::new(&name(container), "start")).unwrap();
    }
    let mut events = Events::open(&paths, Since::Oldest).unwrap().of(name("web"));
    let numbers: Vec<_> = events.by_ref().map(|event| event.unwrap().number).collect();
    assert_eq!((numbers, events.number()), (vec![1, 3], 3));
}

#[test]
fn a_torn_tail_is_cut_off_and_its_number_is_given_again() {
    let (_place, paths) = place();
    append_one(&paths, "start");
    let whole = fs::read(first_segment(&paths)).unwrap();
    append_one(&paths, "die");
    let both = fs::read(first_segment(&paths)).unwrap();
    for cut in whole.len()..both.len() {
        fs::write(first_segment(&paths), &both[..cut]).unwrap();
        let mut reader = Events::open(&paths, Since::Oldest).unwrap();
        assert_eq!(reader.by_ref().count(), 1, "cut at {cut}");
        assert_eq!(append_one(&paths, "again"), 2, "cut at {cut}");
        // Also for who has seen the torn one.
        assert_eq!(reader.next().unwrap().unwrap().kind, "again");
    }
}

#[test]
fn a_line_that_is_no_event_or_not_the_next_one_is_reported() {
    let (_place, paths) = place();
    append_one(&paths, "start");
    let good = fs::read(first_segment(&paths)).unwrap();
    for (bytes, at) in [
        ([b"nonsense\n".to_vec(), good.clone()].concat(), 0),
        ([good.clone(), good.clone()].concat(), good.len() as u64),
    ] {
        fs::write(first_segment(&paths), bytes).unwrap();
        let damage = Events::open(&paths, Since::Oldest).unwrap().find_map(Result::err).unwrap();
        assert!(matches!(damage, EventError::Damaged { offset, .. } if offset == at), "{damage}");
    }
}

#[test]
fn an_event_too_long_is_refused_whole() {
    let (_place, paths) = place();
    let long = "x".repeat(MAX_LINE_BYTES);
    let error = append(&paths, &NewEvent { name: Some(&long), ..NewEvent::new(&name("web"), "start") }).unwrap_err();
    assert!(matches!(error, EventError::TooLong { .. }), "{error}");
    assert_eq!(append_one(&paths, "start"), 1);
}

#[test]
fn writers_at_once_leave_no_hole_and_no_double() {
    let (_place, paths) = place();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..25).map(|_| append_one(&paths, "start")).max());
        }
    });
    assert_eq!(numbers(&paths, Since::Oldest), (1..=200).collect::<Vec<_>>());
}

/// Appends events to segments of four events, of which three are kept.
fn append_small(paths: &Paths, count: usize) -> u64 {
    let limits = Limits { segment_bytes: 400, segments: 3, ..LIMITS };
    let web = name("web");
    let last = (0..count).map(|_| append_within(paths, &NewEvent::new(&web, "start"), &limits).unwrap().number).max();
    last.unwrap()
}

#[test]
fn the_oldest_events_go_the_numbers_go_on_and_who_asks_for_them_is_told() {
    let (_place, paths) = place();
    let mut early = Events::open(&paths, Since::Oldest).unwrap();
    append_small(&paths, 2);
    assert_eq!(early.next().unwrap().unwrap().number, 1);
    let last = append_small(&paths, 48);
    assert_eq!(last, 50);
    let segments = segment::list(&paths.events()).unwrap();
    let oldest = segments[0];
    assert_eq!(segments.len(), 3);
    assert!(oldest > 30, "{segments:?}");
    assert_eq!(numbers(&paths, Since::Oldest), (oldest..=50).collect::<Vec<_>>());
    assert_eq!(numbers(&paths, Since::Number(oldest - 1)).len() as u64, 51 - oldest);
    let error = Events::open(&paths, Since::Number(oldest - 2)).unwrap_err();
    assert!(matches!(error, EventError::Gone { number, first } if (number, first) == (oldest - 1, oldest)), "{error}");
    // A reader that was too slow gets what it has open, then is told, and no event without the ones before it.
    let rest: Vec<_> = early.by_ref().take(10).collect();
    let read: Vec<_> = rest.iter().flatten().map(|event| event.number).collect();
    assert_eq!(read, (2..2 + read.len() as u64).collect::<Vec<_>>());
    assert!(matches!(&rest[read.len()], Err(EventError::Gone { first, .. }) if *first == oldest));
}

#[test]
fn a_writer_killed_between_two_segments_leaves_no_hole() {
    let (_place, paths) = place();
    append_small(&paths, 3);
    fs::write(segment::path(&paths.events(), 4), "").unwrap();
    assert!(numbers(&paths, Since::Number(3)).is_empty());
    assert_eq!(append_small(&paths, 1), 4);
    fs::write(segment::path(&paths.events(), 5), "{\"number\":5,").unwrap();
    assert_eq!(append_small(&paths, 1), 5);
    assert_eq!(numbers(&paths, Since::Oldest), [1, 2, 3, 4, 5]);
}

#[test]
fn a_follower_sees_every_event_in_order_over_all_segments() {
    let (_place, paths) = place();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut events = Events::open(&paths, Since::Oldest).unwrap();
            let mut last = 0;
            while last < 300 {
                for event in &mut events {
                    last += 1;
                    assert_eq!(event.unwrap().number, last);
                    sender.send(last).unwrap();
                }
                assert!(events.wait(Some(Duration::from_secs(10))).unwrap(), "no event after {last}");
            }
        });
        for round in 0..30 {
            // Never so far ahead that the follower's segments are gone.
            append_small(&paths, 10);
            while receiver.recv().unwrap() < round * 10 + 10 {}
        }
        // One more wakes it when it has seen the last and waits once more.
        append_one(&paths, "end");
    });
}

#[test]
fn a_wait_without_an_event_ends_in_time() {
    let (_place, paths) = place();
    let mut events = Events::open(&paths, Since::Oldest).unwrap();
    assert!(events.wait(Some(Duration::ZERO)).unwrap());
    assert!(!events.wait(Some(Duration::from_millis(5))).unwrap());
    append_one(&paths, "start");
    assert!(events.wait(None).unwrap());
    fs::remove_dir_all(paths.events()).unwrap();
    assert!(events.wait(None).is_err(), "waits for a journal that is gone");
}

#[test]
fn a_writer_that_was_stopped_in_the_middle_does_not_stop_the_others_for_ever() {
    let (_place, paths) = place();
    fs::create_dir(paths.run()).unwrap();
    let _held = crate::state::JournalLock::acquire_within(&paths, Duration::ZERO).unwrap();
    let limits = Limits { wait: Duration::from_millis(5), ..LIMITS };
    let error = append_within(&paths, &NewEvent::new(&name("web"), "start"), &limits).unwrap_err();
    assert!(matches!(error, EventError::Lock(_)), "{error}");
}

#[test]
fn a_journal_that_has_come_to_the_last_number_is_damaged() {
    for number in [u64::MAX, u64::MAX - 1, 0] {
        let (_place, paths) = place();
        append_one(&paths, "start");
        let line = fs::read_to_string(first_segment(&paths)).unwrap();
        fs::remove_file(first_segment(&paths)).unwrap();
        let line = line.replace("\"number\":1,", &format!("\"number\":{number},"));
        fs::write(segment::path(&paths.events(), number), &line).unwrap();
        // One that can't be a segment's number is none's.
        let is_segment = number == u64::MAX - 1;
        let expected = if is_segment { vec![number] } else { Vec::new() };
        assert_eq!(numbers(&paths, Since::Oldest), expected);
        assert_eq!(
            Events::open(&paths, Since::Oldest).unwrap().number(),
            expected.first().map_or(0, |first| first - 1)
        );
        let appended = append(&paths, &NewEvent::new(&name("web"), "die"));
        assert_eq!(matches!(appended, Err(EventError::Damaged { .. })), is_segment, "{appended:?}");
    }
}
