//! Files of an installation, of any bytes: they are read or refused, and what is read is written and read as the same. The
//! first byte says which file.
#![no_main]

use std::{fs, path::Path};

use appcontainers::{
    ContainerName, Paths,
    network::{ReservationStore, Reservations},
    record::ContainerRecord,
    runtime::StartRecord,
    state::{Durability, HostLock},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    let place = tempfile::tempdir().expect("a directory");
    let paths = Paths::new(place.path().join("root"), place.path().join("run"));
    let name: ContainerName = "web".parse().expect("a name");
    for directory in [paths.container(&name), paths.container_run(&name)] {
        fs::create_dir_all(directory).expect("a directory");
    }
    match which % 4 {
        0 => {
            put(&paths.container_run(&name).join("start.json"), bytes);
            if let Ok(Some(record)) = StartRecord::load(&paths, &name) {
                let _ = record.status();
                record.store(&paths, &name).expect("it can be written");
                assert_eq!(StartRecord::load(&paths, &name).expect("it can be read"), Some(record));
            }
        }
        1 => {
            put(&paths.container(&name).join("container.json"), bytes);
            if let Ok(Some(record)) = ContainerRecord::load(&paths, &name)
                && record.name == name
            {
                record.store(&paths).expect("it can be written");
                assert_eq!(ContainerRecord::load(&paths, &name).expect("it can be read"), Some(record));
            }
        }
        2 => {
            put(&paths.resources(), bytes);
            reservations(&paths, &name);
        }
        _ => {
            put(&paths.resources(), include_bytes!("../seeds/state/resources").get(1..).unwrap_or_default());
            put(&paths.resources().with_extension("journal"), bytes);
            reservations(&paths, &name);
        }
    }
});

fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file");
}

/// Reads them, and releases one: then they are without it.
fn reservations(paths: &Paths, name: &ContainerName) {
    let Ok(before) = Reservations::read(paths) else { return };
    let lock = HostLock::acquire(paths).expect("a lock");
    // Twice: the second time over an index.
    for _ in 0..2 {
        let mut store = ReservationStore::open(paths, &lock).expect("what can be read can be opened");
        if before.get(name).is_some() {
            let _ = store.release(name, Durability::Volatile);
        }
    }
    let after = Reservations::read(paths).expect("it was written");
    assert_eq!(after.get(name), None);
    assert_eq!(after.count(), before.count() - usize::from(before.get(name).is_some()));
}
