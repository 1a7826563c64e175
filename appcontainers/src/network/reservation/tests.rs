use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
};

use proptest::prelude::*;

use super::*;
use crate::{network::SubordinateIds, state::HostLock};

const VOLATILE: ReserveOptions = ReserveOptions { privileged: false, durability: Durability::Volatile };

struct Place {
    paths: Paths,
    _directory: tempfile::TempDir,
}

impl Place {
    fn new(subnet: &str, id_ranges: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path().join("root"), directory.path().join("run"));
        fs::create_dir(paths.root()).unwrap();
        let id_pool = IdPool { base: 1 << 30, count: id_ranges * IdRange::COUNT };
        let lock = HostLock::acquire(&paths).unwrap();
        ReservationStore::create(&paths, &lock, PoolSettings::new(subnet.parse().unwrap(), id_pool)).unwrap();
        Self { paths, _directory: directory }
    }

    /// Opens the store with a host whose root may use every id.
    fn with<T>(&self, work: impl FnOnce(&mut ReservationStore<'_>) -> T) -> T {
        let lock = HostLock::acquire(&self.paths).unwrap();
        let mut store = ReservationStore::open(&self.paths, &lock).unwrap();
        store.ids = Some(SubordinateIds::parse(b"root:0:4294967295", b"root:0:4294967295"));
        work(&mut store)
    }

    fn journal(&self) -> PathBuf {
        journal_path(&self.paths)
    }
}

fn name(number: u32) -> ContainerName {
    format!("c{number}").parse().unwrap()
}

fn assert_unique(reservations: &Reservations) {
    let all = reservations.list();
    let ips: BTreeSet<_> = all.iter().map(|reservation| reservation.ip).collect();
    let macs: BTreeSet<_> = all.iter().map(|reservation| reservation.mac).collect();
    let ranges: BTreeSet<_> = all.iter().filter_map(|reservation| reservation.id_range).collect();
    let unprivileged = all.iter().filter(|reservation| reservation.id_range.is_some()).count();
    assert_eq!((ips.len(), macs.len(), ranges.len()), (all.len(), all.len(), unprivileged));
}

#[test]
fn a_reservation_is_there_after_a_reopen_and_gone_after_its_release() {
    let place = Place::new("10.1.0.0/24", 100);
    let web = place.with(|store| store.reserve(&name(1), VOLATILE)).unwrap();
    assert_eq!(web.ip, Ipv4Addr::new(10, 1, 0, 2));
    let pool = Reservations::read(&place.paths).unwrap().settings().id_pool.ids();
    assert!(pool.contains(&web.id_range.unwrap().base()));
    assert_eq!(Reservations::read(&place.paths).unwrap().get(&name(1)), Some(web.clone()));
    let taken = place.with(|store| store.reserve(&name(1), VOLATILE)).unwrap_err();
    assert!(matches!(taken, ReservationError::Taken { .. }), "{taken}");
    place.with(|store| store.rename(&name(1), &name(2), Durability::Durable)).unwrap();
    assert_eq!(Reservations::read(&place.paths).unwrap().list(), [Reservation { name: name(2), ..web }]);
    place.with(|store| store.release(&name(2), Durability::Durable)).unwrap();
    assert_eq!(Reservations::read(&place.paths).unwrap().count(), 0);
    let unknown = place.with(|store| store.release(&name(2), Durability::Durable)).unwrap_err();
    assert!(matches!(unknown, ReservationError::Unknown { .. }), "{unknown}");
}

#[test]
fn one_reservation_is_found_without_the_others_whatever_has_happened_to_it() {
    let place = Place::new("10.1.0.0/16", 2000);
    let agree = |place: &Place| {
        let all = Reservations::read(&place.paths).unwrap();
        for number in 0..12 {
            assert_eq!(find(&place.paths, &name(number)).unwrap(), (all.settings().clone(), all.get(&name(number))));
        }
    };
    for number in 0..4 {
        place.with(|store| store.reserve(&name(number), VOLATILE)).unwrap();
    }
    agree(&place);
    place.with(|store| store.fold()).unwrap();
    place.with(|store| {
        store.rename(&name(0), &name(10), Durability::Volatile).unwrap();
        store.readdress(&name(1), Ipv4Addr::new(10, 1, 9, 9), Durability::Volatile).unwrap();
        store.release(&name(2), Durability::Volatile).unwrap();
        store.reserve(&name(2), VOLATILE).unwrap();
        store.rename(&name(1), &name(11), Durability::Volatile).unwrap();
        store.reserve(&name(1), VOLATILE).unwrap();
    });
    agree(&place);
    assert_eq!(find(&place.paths, &name(11)).unwrap().1.unwrap().ip, Ipv4Addr::new(10, 1, 9, 9));
    // As somebody with an editor leaves it.
    place.with(|store| store.fold()).unwrap();
    let text = fs::read_to_string(place.paths.resources()).unwrap();
    let pretty: serde_json::Value = serde_json::from_str(&text).unwrap();
    fs::write(place.paths.resources(), serde_json::to_string_pretty(&pretty).unwrap()).unwrap();
    agree(&place);
}

#[test]
fn an_address_is_changed_to_a_free_one_of_the_subnet_alone() {
    let place = Place::new("10.1.0.0/24", 100);
    place.with(|store| {
        store.reserve(&name(1), VOLATILE).unwrap();
        let other = store.reserve(&name(2), VOLATILE).unwrap().ip;
        let mut change = |ip| store.readdress(&name(1), ip, Durability::Volatile);
        assert!(matches!(change(other), Err(ReservationError::AddressTaken { holder, .. }) if holder == name(2)));
        for foreign in ["10.1.0.0", "10.1.0.1", "10.1.0.255", "10.2.0.9"] {
            assert!(
                matches!(change(foreign.parse().unwrap()), Err(ReservationError::ForeignAddress { .. })),
                "{foreign}"
            );
        }
        change(Ipv4Addr::new(10, 1, 0, 99)).unwrap();
    });
    assert_eq!(Reservations::read(&place.paths).unwrap().get(&name(1)).unwrap().ip, Ipv4Addr::new(10, 1, 0, 99));
}

#[test]
fn a_privileged_container_has_no_id_range() {
    let place = Place::new("10.1.0.0/24", 1);
    let options = ReserveOptions { privileged: true, ..VOLATILE };
    assert_eq!(place.with(|store| store.reserve(&name(1), options)).unwrap().id_range, None);
}

#[test]
fn exhausted_addresses_and_ids_are_errors_that_say_what_to_do() {
    let place = Place::new("10.1.0.0/29", 100);
    let error = place.with(|store| (0..6).map(|n| store.reserve(&name(n), VOLATILE)).find_map(Result::err)).unwrap();
    assert!(matches!(error, ReservationError::AddressesExhausted { held: 5, .. }), "{error}");

    let place = Place::new("10.1.0.0/24", 2);
    let error = place.with(|store| (0..3).map(|n| store.reserve(&name(n), VOLATILE)).find_map(Result::err)).unwrap();
    assert!(matches!(error, ReservationError::IdsExhausted { ranges: 2, .. }), "{error}");
    assert!(error.to_string().contains("appc rm"), "{error}");
    assert_eq!(Reservations::read(&place.paths).unwrap().count(), 2);
}

#[test]
fn ids_that_root_lost_in_etc_subuid_are_not_given_out() {
    let place = Place::new("10.1.0.0/24", 2);
    let error = place.with(|store| {
        store.ids = Some(SubordinateIds::parse(b"root:100000:65536", b"root:100000:65536"));
        store.reserve(&name(1), VOLATILE).unwrap_err()
    });
    assert!(matches!(error, ReservationError::IdsNotGranted { .. }), "{error}");
    assert!(error.to_string().contains("/etc/subuid"), "{error}");
}

#[test]
fn a_host_that_is_not_set_up_says_so() {
    let place = Place::new("10.1.0.0/24", 2);
    fs::remove_file(place.paths.resources()).unwrap();
    let error = Reservations::read(&place.paths).unwrap_err();
    assert!(matches!(error, ReservationError::NotSetUp { .. }), "{error}");
}

#[test]
fn a_newer_file_is_refused_by_its_version() {
    let place = Place::new("10.1.0.0/24", 2);
    fs::write(place.paths.resources(), r#"{"version":2,"reservations":{}}"#).unwrap();
    let error = Reservations::read(&place.paths).unwrap_err();
    assert!(matches!(error, ReservationError::State(crate::state::StateError::Newer { found: 2, .. })), "{error}");
}

#[test]
fn a_folded_journal_that_is_still_there_is_passed_over() {
    let place = Place::new("10.1.0.0/16", 16_000);
    place.with(|store| {
        store.reserve(&name(1), VOLATILE).unwrap();
        store.reserve(&name(2), VOLATILE).unwrap();
        store.release(&name(1), Durability::Volatile).unwrap();
    });
    let journal = fs::read(place.journal()).unwrap();
    place.with(|store| store.fold().unwrap());
    let folded = Reservations::read(&place.paths).unwrap();
    assert_eq!((folded.count(), fs::read(place.journal()).unwrap().len()), (1, 0));
    // What a kill between the snapshot's rename and the journal's leaves.
    fs::write(place.journal(), &journal).unwrap();
    assert_eq!(Reservations::read(&place.paths).unwrap(), folded);
    place.with(|store| store.reserve(&name(1), VOLATILE).unwrap());
    assert_unique(&Reservations::read(&place.paths).unwrap());
    assert_eq!(Reservations::read(&place.paths).unwrap().count(), 2);
}

#[test]
fn a_journal_that_has_lost_an_entry_is_not_believed() {
    let place = Place::new("10.1.0.0/24", 10);
    place.with(|store| (0..3).for_each(|n| drop(store.reserve(&name(n), VOLATILE).unwrap())));
    let journal = fs::read_to_string(place.journal()).unwrap();
    let without_second: String =
        journal.lines().enumerate().filter(|(n, _)| *n != 1).map(|(_, l)| format!("{l}\n")).collect();
    fs::write(place.journal(), without_second).unwrap();
    let error = Reservations::read(&place.paths).unwrap_err();
    assert!(matches!(error, ReservationError::JournalOutOfStep { seq: 3, .. }), "{error}");
}

#[test]
fn the_journal_is_folded_when_it_has_grown_and_the_snapshot_is_one_reservation_a_line() {
    let place = Place::new("10.1.0.0/16", 16_000);
    place.with(|store| (0..1000).for_each(|n| drop(store.reserve(&name(n), VOLATILE).unwrap())));
    let journal = fs::metadata(place.journal()).unwrap().len();
    let snapshot = fs::read_to_string(place.paths.resources()).unwrap();
    assert!(snapshot.len() > 64 * 1024 / 2 && journal <= snapshot.len().max(64 * 1024) as u64, "{journal}");
    let value: serde_json::Value = serde_json::from_str(&snapshot).unwrap();
    assert_eq!(value["reservations"].as_array().unwrap().len(), snapshot.lines().count() - 2);
    assert_eq!(value["version"], 1);
    assert_eq!(value["subnet"], "10.1.0.0/16");
    assert_eq!(Reservations::read(&place.paths).unwrap().count(), 1000);
}

#[test]
fn a_snapshot_laid_out_by_hand_is_read_too() {
    let place = Place::new("10.1.0.0/24", 10);
    place.with(|store| {
        store.reserve(&name(1), VOLATILE).unwrap();
        store.fold().unwrap();
    });
    let before = Reservations::read(&place.paths).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&fs::read(place.paths.resources()).unwrap()).unwrap();
    fs::write(place.paths.resources(), serde_json::to_vec_pretty(&value).unwrap()).unwrap();
    assert_eq!(Reservations::read(&place.paths).unwrap(), before);
}

#[test]
fn the_snapshot_is_read_only_for_what_its_index_does_not_say() {
    let place = Place::new("10.1.0.0/24", 10);
    place.with(|store| {
        (0..3).for_each(|n| drop(store.reserve(&name(n), VOLATILE).unwrap()));
        store.fold().unwrap();
    });
    place.with(|store| {
        store.reserve(&name(3), VOLATILE).unwrap();
        store.release(&name(3), Durability::Volatile).unwrap();
        assert!(store.index.is_some(), "nothing of this is about the snapshot's containers");
        store.release(&name(1), Durability::Volatile).unwrap();
        assert!(store.index.is_none());
    });
    place.with(|store| {
        store.reserve(&name(1), VOLATILE).unwrap();
        assert!(store.index.is_some(), "the journal says that this name is free");
        assert!(matches!(store.reserve(&name(2), VOLATILE), Err(ReservationError::Taken { .. })));
    });
    let all = Reservations::read(&place.paths).unwrap();
    assert_eq!(all.count(), 3);
    assert_unique(&all);
}

#[test]
fn two_hundred_at_once_are_all_unique() {
    let place = Place::new("10.1.0.0/16", 16_000);
    std::thread::scope(|scope| {
        for n in 0..200 {
            let place = &place;
            scope.spawn(move || place.with(|store| store.reserve(&name(n), VOLATILE).unwrap()));
        }
    });
    let all = Reservations::read(&place.paths).unwrap();
    assert_eq!(all.count(), 200);
    assert_unique(&all);
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(u32, bool),
    Release(u32),
    Rename(u32, u32),
    Fold,
    FoldKilledBeforeTheJournal,
    TornTail(Vec<u8>),
    HalfALine(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u32..20, any::<bool>()).prop_map(|(n, privileged)| Step::Reserve(n, privileged)),
        3 => (0u32..20).prop_map(Step::Release),
        2 => (0u32..20, 0u32..20).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => Just(Step::Fold),
        1 => Just(Step::FoldKilledBeforeTheJournal),
        1 => prop::collection::vec(any::<u8>(), 1..200).prop_map(Step::TornTail),
        2 => (1usize..200).prop_map(Step::HalfALine),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_sequence_of_changes_and_kills_breaks_uniqueness_or_loses_a_finished_change(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let place = Place::new("10.1.0.0/27", 16);
        let mut expected = std::collections::BTreeMap::new();
        for step in steps {
            match step {
                Step::Reserve(n, privileged) => {
                    let options = ReserveOptions { privileged, ..VOLATILE };
                    match place.with(|store| store.reserve(&name(n), options)) {
                        Ok(reservation) => prop_assert!(expected.insert(name(n), reservation).is_none()),
                        Err(ReservationError::Taken { .. }) => prop_assert!(expected.contains_key(&name(n))),
                        Err(ReservationError::IdsExhausted { .. }) => prop_assert!(!privileged),
                        Err(error) => panic!("{error}"),
                    }
                }
                Step::Release(n) => {
                    let released = place.with(|store| store.release(&name(n), Durability::Volatile)).is_ok();
                    prop_assert_eq!(released, expected.remove(&name(n)).is_some());
                }
                Step::Rename(from, to) => {
                    if place.with(|store| store.rename(&name(from), &name(to), Durability::Volatile)).is_ok() {
                        let reservation = expected.remove(&name(from)).unwrap();
                        expected.insert(name(to), Reservation { name: name(to), ..reservation });
                    }
                }
                Step::Fold => place.with(|store| store.fold().unwrap()),
                Step::FoldKilledBeforeTheJournal => {
                    let journal = fs::read(place.journal()).unwrap();
                    place.with(|store| store.fold().unwrap());
                    fs::write(place.journal(), journal).unwrap();
                }
                Step::TornTail(mut bytes) => {
                    bytes.retain(|byte| *byte != b'\n');
                    File::options().append(true).open(place.journal()).unwrap().write_all(&bytes).unwrap();
                }
                Step::HalfALine(cut) => {
                    // A reserve that was killed in the middle of its write never happened.
                    place.with(|_| ());
                    let before = fs::read(place.journal()).unwrap();
                    if place.with(|store| store.reserve(&name(99), VOLATILE)).is_ok() {
                        let after = fs::read(place.journal()).unwrap();
                        if after.len() > before.len() {
                            let line = after.len() - before.len();
                            fs::write(place.journal(), &after[..before.len() + cut.min(line - 1)]).unwrap();
                        }
                    }
                }
            }
            let all = Reservations::read(&place.paths).unwrap();
            assert_unique(&all);
            prop_assert_eq!(all.list(), expected.values().cloned().collect::<Vec<_>>());
        }
    }
}
