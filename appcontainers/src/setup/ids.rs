//! Gives root a range of subordinate ids for containers, and takes it back.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Change, SetupError, account_file::AccountFile};
use crate::{
    Paths,
    network::{IdPool, IdRange, SubordinateIds},
    state::{self, Durability, Versioned},
};

/// Where ids for containers may lie: above those of people, and below 0x7FFE0000, where systemd has
/// ids for foreign images (systemd's UIDS-GIDS.md) and signed 32-bit numbers end.
const SPACE: Range<u64> = 1 << 20..0x7FFE_0000;

/// Where they lie best: useradd takes ranges below 600,100,000 (SUB_UID_MAX in login.defs(5)).
const PREFERRED: Range<u64> = 1 << 30..0x7FFE_0000;

/// The host's files of accounts.
#[derive(Debug, Clone)]
pub(crate) struct AccountFiles {
    pub(crate) subuid: PathBuf,
    pub(crate) subgid: PathBuf,
    pub(crate) passwd: PathBuf,
    pub(crate) group: PathBuf,
}

impl AccountFiles {
    pub(crate) fn of_host() -> Self {
        let etc = |name| Path::new("/etc").join(name);
        Self { subuid: etc("subuid"), subgid: etc("subgid"), passwd: etc("passwd"), group: etc("group") }
    }

    pub(crate) fn subordinate(&self) -> Result<SubordinateIds, SetupError> {
        Ok(SubordinateIds::read(&self.subuid, &self.subgid)?)
    }

    /// Ids of the users and groups that this host's own files name.
    fn accounts(&self) -> Vec<u64> {
        let ids = |path: &Path| -> Vec<u64> {
            let text = fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&text).lines().filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect()
        };
        [ids(&self.passwd), ids(&self.group)].concat()
    }
}

/// What setup added to the files of accounts, so that undoing takes that and no more.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SetupRecord {
    ids_granted: Option<IdPool>,
}

impl Versioned for SetupRecord {
    const KIND: &'static str = "record of the setup";
    const VERSION: u32 = 1;
}

/// The pool that containers' ids come from: the current one while root has it alone, else a new one,
/// granted to root if it is not.
pub(super) fn set_up(
    paths: &Paths,
    files: &AccountFiles,
    current: Option<IdPool>,
) -> Result<(IdPool, Vec<Change>), SetupError> {
    let ids = files.subordinate()?;
    if let Some(pool) = current.filter(|pool| ids.grants_all(&wide(pool))) {
        return Ok((pool, Vec::new()));
    }
    // Another state directory on this host may have got it: ranges are big enough for both.
    if let Some(pool) = pool(PREFERRED).filter(|pool| ids.grants_all(&wide(pool))) {
        return Ok((pool, Vec::new()));
    }
    // A setup that was killed between the two files goes on with what it had begun.
    let begun = state::read::<SetupRecord>(&paths.setup_record())?.and_then(|record| record.ids_granted);
    let begun = begun.filter(|pool| !ids.are_of_others(&wide(pool)));
    let pool = begun.or_else(|| choose(&ids, &files.accounts())).ok_or(SetupError::NoFreeIds)?;
    // Recorded first: a kill in between must not lose what there is to undo.
    let record = SetupRecord { ids_granted: Some(pool) };
    state::write(&paths.setup_record(), &record, Durability::Durable)?;
    let mut changes = Vec::new();
    for path in [&files.subuid, &files.subgid] {
        let added = AccountFile::lock(path).and_then(|file| file.add_line(&line(&pool)));
        if added.map_err(|source| SetupError::Accounts { path: path.clone(), source })? {
            changes.push(Change::IdsGranted { path: path.clone(), base: pool.base, count: pool.count });
        }
    }
    Ok((pool, changes))
}

/// Takes back what [`set_up`] granted.
pub(super) fn undo(paths: &Paths, files: &AccountFiles) -> Result<Vec<Change>, SetupError> {
    let mut changes = Vec::new();
    let record = state::read::<SetupRecord>(&paths.setup_record())?.unwrap_or_default();
    if let Some(pool) = record.ids_granted {
        for path in [&files.subuid, &files.subgid] {
            let removed = AccountFile::lock(path).and_then(|file| file.remove_line(&line(&pool)));
            if removed.map_err(|source| SetupError::Accounts { path: path.clone(), source })? {
                changes.push(Change::IdsTakenBack { path: path.clone(), base: pool.base, count: pool.count });
            }
        }
    }
    Ok(changes)
}

fn line(pool: &IdPool) -> String {
    format!("root:{}:{}", pool.base, pool.count)
}

/// The pool's ids in the numbers that entries of other programs may have.
pub(crate) fn wide(pool: &IdPool) -> Range<u64> {
    u64::from(pool.base)..u64::from(pool.base) + u64::from(pool.count)
}

/// The largest free row of whole ranges, the preferred place first.
fn choose(ids: &SubordinateIds, accounts: &[u64]) -> Option<IdPool> {
    let is_free = |slot: &Range<u64>| !ids.has_any_of(slot) && !accounts.iter().any(|id| slot.contains(id));
    if is_free(&PREFERRED) {
        return pool(PREFERRED);
    }
    let count = u64::from(IdRange::COUNT);
    let mut best: Range<u64> = 0..0;
    let mut open: Option<Range<u64>> = None;
    let mut base = SPACE.start;
    while base + count <= SPACE.end {
        let slot = base..base + count;
        open = is_free(&slot).then(|| open.as_ref().map_or(slot.start, |row| row.start)..slot.end);
        if let Some(row) = open.as_ref().filter(|row| row.end - row.start > best.end - best.start) {
            best = row.clone();
        }
        base += count;
    }
    (!best.is_empty()).then(|| pool(best))?
}

fn pool(ids: Range<u64>) -> Option<IdPool> {
    Some(IdPool { base: ids.start.try_into().ok()?, count: (ids.end - ids.start).try_into().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(entries: &str, accounts: &[u64]) -> Option<IdPool> {
        choose(&SubordinateIds::parse(entries.as_bytes(), entries.as_bytes()), accounts)
    }

    #[test]
    fn the_usual_host_gets_a_billion_ids_above_what_useradd_takes() {
        let pool = chosen("ann:100000:65536\nroot:1000000:1000000\n", &[0, 1000, 65534]).unwrap();
        assert_eq!((pool.base, pool.count), (1 << 30, (1 << 30) - 0x2_0000));
        assert_eq!(pool.base % IdRange::COUNT, 0);
        assert!(pool.count / IdRange::COUNT > 10_000);
    }

    #[test]
    fn ids_of_others_and_of_accounts_are_kept_clear_of() {
        let pool = chosen("ann:1100000000:65536\n", &[1_500_000_000]).unwrap();
        let ids = wide(&pool);
        assert!(!ids.contains(&1_100_000_000) && !ids.contains(&1_500_000_000));
        assert_eq!((pool.base % IdRange::COUNT, pool.count % IdRange::COUNT), (0, 0));
        assert_eq!(pool.base, 1 << 20, "the largest row is the lower one");
    }

    #[test]
    fn a_setup_that_was_killed_between_the_files_goes_on_with_its_pool_and_is_undone_whole() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let paths = Paths::new(at("root"), at("run"));
        std::fs::create_dir(at("root")).unwrap();
        let files =
            AccountFiles { subuid: at("subuid"), subgid: at("subgid"), passwd: at("passwd"), group: at("group") };
        for path in [&files.subuid, &files.subgid, &files.passwd, &files.group] {
            std::fs::write(path, "").unwrap();
        }
        let (pool, _) = set_up(&paths, &files, None).unwrap();
        std::fs::write(&files.subgid, "").unwrap();
        assert_eq!(set_up(&paths, &files, None).unwrap().0, pool);
        undo(&paths, &files).unwrap();
        for path in [&files.subuid, &files.subgid] {
            assert_eq!(std::fs::read_to_string(path).unwrap(), "");
        }
    }

    #[test]
    fn a_host_whose_ids_are_all_taken_gets_none() {
        assert_eq!(chosen("ann:0:4294967295\n", &[]), None);
    }
}
