//! The journal of events, of any bytes, beginning with any number: readers get events in order and without a hole or an error, and
//! the next event has the next number. The first 8 bytes are the number.
#![no_main]

use std::fs;

use appcontainers::{
    ContainerName, Paths,
    event::{Events, NewEvent, Since, append},
};
use libfuzzer_sys::fuzz_target;

fn numbers(paths: &Paths) -> (Vec<u64>, bool) {
    let mut numbers = Vec::new();
    let Ok(events) = Events::open(paths, Since::Oldest) else { return (numbers, false) };
    for event in events {
        match event {
            Ok(event) => numbers.push(event.number),
            Err(_) => return (numbers, false),
        }
    }
    (numbers, true)
}

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first_chunk() else { return };
    let first = u64::from_le_bytes(*first);
    let place = tempfile::tempdir().expect("a directory");
    let paths = Paths::new(place.path().join("root"), place.path().join("run"));
    fs::create_dir_all(paths.events()).expect("a directory");
    fs::write(paths.events().join(format!("{first:020}.jsonl")), bytes).expect("a file");
    let (before, is_sound) = numbers(&paths);
    assert!(before.iter().copied().eq((first..).take(before.len())), "{before:?}");
    let name: ContainerName = "web".parse().expect("a name");
    if let Ok(event) = append(&paths, &NewEvent::new(&name, "start"))
        && is_sound
    {
        // What is named by no event's number is no part of the journal.
        let expected = before.last().map_or(if (1..u64::MAX).contains(&first) { first } else { 1 }, |last| last + 1);
        assert_eq!(event.number, expected);
        assert_eq!(numbers(&paths), ([before, vec![expected]].concat(), true));
    }
});
