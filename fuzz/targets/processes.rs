//! A container's journal of processes, of any bytes: whoever opens it for writing or goes on with it finds the same, and no
//! number is given twice.
#![no_main]

use std::fs;

use appcontainers::process::{Entry, ProcessJournal, Role, journal_path, read_processes};
use appcontainers_wire::{ProcessSpec, RestartPolicy};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let place = tempfile::tempdir().expect("a directory");
    fs::write(journal_path(place.path()), data).expect("a file");
    let read = read_processes(place.path()).expect("it is there");
    let mut journal = ProcessJournal::open(place.path()).expect("it can be written");
    assert_eq!(*journal.table(), read);
    let process = journal.table().next_id();
    assert!(journal.table().get(process).is_none(), "{process} is given twice");
    if process.0 == u32::MAX {
        // All are used up: no host lives to see that.
        return;
    }
    let entry = Entry::Spawned {
        process,
        time: Timestamp::UNIX_EPOCH,
        role: Role::Background,
        name: None,
        restart: RestartPolicy::Always,
        instead_of: read.records().last().map(|record| record.id),
        spec: ProcessSpec::default(),
        token: None,
        position: 0,
    };
    journal.append(entry).expect("it can be written");
    let table = journal.table().clone();
    drop(journal);
    assert_eq!(read_processes(place.path()).expect("it is there"), table);
    let journal = ProcessJournal::begin(place.path()).expect("it can be written");
    assert!(journal.table().records().all(|record| record.ended.is_some() && !journal.table().awaits_restart(record)));
});
