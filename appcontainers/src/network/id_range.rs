//! Ranges of user and group ids on the host that stand for a container's own 0 to 65535.
//!
//! They come out of root's entries in `/etc/subuid` and `/etc/subgid` (subuid(5)), the same numbers
//! for users and groups, and never overlap an entry of anyone else there.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::pool::Slots;

/// A container's ids on the host: `base` is its root, `base + 65535` its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "IdRangeFields")]
pub struct IdRange {
    base: u32,
    count: u32,
}

#[derive(Deserialize)]
struct IdRangeFields {
    base: u32,
    count: u32,
}

impl TryFrom<IdRangeFields> for IdRange {
    type Error = &'static str;
    fn try_from(fields: IdRangeFields) -> Result<Self, Self::Error> {
        Self::new(fields.base).filter(|range| range.count == fields.count).ok_or("not a range of 65536 ids")
    }
}

/// A file's owner in a container that its range has no id for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}: its owner {id} is beyond the {} ids of a container; change its owner, or use --privileged",
    path.display(), IdRange::COUNT
)]
pub struct IdBeyondRange {
    /// The file.
    pub path: PathBuf,
    /// The user or group id.
    pub id: u32,
}

impl IdRange {
    /// How many ids a container has.
    pub const COUNT: u32 = 65_536;

    /// The range that begins at `base`; `None` if its end is beyond what the kernel counts.
    pub fn new(base: u32) -> Option<Self> {
        // The last 32-bit id means "no id" (chown(2)).
        (base <= u32::MAX - Self::COUNT).then_some(Self { base, count: Self::COUNT })
    }

    /// The host's id of the container's root.
    pub fn base(&self) -> u32 {
        self.base
    }

    /// How many ids there are: [`Self::COUNT`].
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The host's id for a container's id; `path` is the file that has it, for the error.
    pub fn on_host(&self, id: u32, path: &Path) -> Result<u32, IdBeyondRange> {
        if id < self.count { Ok(self.base + id) } else { Err(IdBeyondRange { path: path.to_owned(), id }) }
    }

    fn ids(&self) -> Range<u64> {
        u64::from(self.base)..u64::from(self.base) + u64::from(self.count)
    }
}

/// Why the subordinate ids are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubordinateIdsError {
    /// A file is there and can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Who may use which subordinate ids: what `/etc/subuid` and `/etc/subgid` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubordinateIds {
    /// Root's ranges in each file.
    roots: [Vec<Range<u64>>; 2],
    /// Everyone else's, of both files.
    others: Vec<Range<u64>>,
}

impl SubordinateIds {
    /// What this host's `/etc/subuid` and `/etc/subgid` say.
    pub fn of_host() -> Result<Self, SubordinateIdsError> {
        Self::read(Path::new("/etc/subuid"), Path::new("/etc/subgid"))
    }

    /// Reads both files; a missing one has no entries.
    pub fn read(subuid: &Path, subgid: &Path) -> Result<Self, SubordinateIdsError> {
        let read = |path: &Path| match fs::read(path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(SubordinateIdsError::Read { path: path.to_owned(), source }),
        };
        Ok(Self::parse(&read(subuid)?, &read(subgid)?))
    }

    /// What the files' bytes say. As newuidmap(1) does it, a line that is no entry counts for nothing.
    pub fn parse(subuid: &[u8], subgid: &[u8]) -> Self {
        let mut ids = Self::default();
        for (which, bytes) in [subuid, subgid].into_iter().enumerate() {
            for (owner, range) in String::from_utf8_lossy(bytes).lines().filter_map(parse_entry) {
                match owner {
                    "root" | "0" => ids.roots[which].push(range),
                    _ => ids.others.push(range),
                }
            }
        }
        ids
    }

    /// Whether root may use the range in both files and nobody else in either.
    pub fn grants(&self, range: IdRange) -> bool {
        self.grants_all(&range.ids())
    }

    /// The same of any row of ids; several entries that only together have them don't count.
    pub fn grants_all(&self, ids: &Range<u64>) -> bool {
        let granted = |entries: &Vec<Range<u64>>| entries.iter().any(|e| e.start <= ids.start && ids.end <= e.end);
        self.roots.iter().all(granted) && !self.are_of_others(ids)
    }

    /// Whether any entry but root's has an id of `ids`.
    pub fn are_of_others(&self, ids: &Range<u64>) -> bool {
        self.others.iter().any(|other| overlap(other, ids))
    }

    /// Whether any entry, root's too, has an id of `ids`.
    pub fn has_any_of(&self, ids: &Range<u64>) -> bool {
        self.roots.iter().flatten().chain(&self.others).any(|entry| overlap(entry, ids))
    }

    /// The next range after `last` within `pool` that is granted and not taken; ranges begin at
    /// multiples of 65536 from the pool's start.
    pub(super) fn next_free(
        &self,
        pool: &Range<u32>,
        last: Option<IdRange>,
        taken: impl Iterator<Item = IdRange>,
    ) -> Option<IdRange> {
        let mut slots = Slots::new((pool.end.saturating_sub(pool.start)) / IdRange::COUNT);
        let slot = |id: u32| id.checked_sub(pool.start).map(|offset| offset / IdRange::COUNT);
        for range in taken {
            // Both ends: a range of an older pool may lie across two slots of this one.
            slots.take(slot(range.base));
            slots.take(slot(range.base + (range.count - 1)));
        }
        let mut last = last.and_then(|range| slot(range.base));
        loop {
            let free = slots.next_free(last)?;
            match IdRange::new(pool.start + free * IdRange::COUNT) {
                Some(range) if self.grants(range) => return Some(range),
                _ => slots.take(Some(free)),
            }
            last = Some(free);
        }
    }
}

fn parse_entry(line: &str) -> Option<(&str, Range<u64>)> {
    let mut fields = line.trim().split(':');
    let owner = fields.next()?;
    let start: u64 = fields.next()?.parse().ok()?;
    let count: u64 = fields.next()?.parse().ok()?;
    (fields.next().is_none() && !owner.is_empty() && count > 0).then(|| (owner, start..start.saturating_add(count)))
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(base: u32) -> IdRange {
        IdRange::new(base).unwrap()
    }

    #[test]
    fn a_range_is_granted_only_by_both_files_and_only_if_nobody_else_has_an_id_of_it() {
        let subuid = b"root:1000000:200000\nann:1131072:1\n# comment\n";
        let ids = SubordinateIds::parse(subuid, b"0:1000000:131072\n");
        assert!(ids.grants(range(1_000_000)));
        assert!(ids.grants(range(1_065_536)), "ends where ann's begins");
        assert!(!ids.grants(range(1_065_537)));
        assert!(!ids.grants(range(999_999)));
        let without_groups = SubordinateIds::parse(subuid, b"");
        assert!(!without_groups.grants(range(1_000_000)));
    }

    #[test]
    fn an_id_beyond_the_range_names_the_file_that_has_it() {
        let path = Path::new("srv/big");
        assert_eq!(range(1_000_000).on_host(65_535, path), Ok(1_065_535));
        let error = range(1_000_000).on_host(65_536, path).unwrap_err();
        assert!(error.to_string().contains("srv/big") && error.to_string().contains("65536"), "{error}");
    }

    #[test]
    fn a_range_never_reaches_the_id_that_means_none() {
        assert_eq!(IdRange::new(u32::MAX - 65_535), None);
        assert!(IdRange::new(u32::MAX - 65_536).is_some());
    }

    #[test]
    fn a_hole_that_another_user_has_in_the_pool_is_left_out() {
        let entries = b"root:131072:262144\nann:200000:10\n";
        let ids = SubordinateIds::parse(entries, entries);
        let pool = 131_072..393_216;
        let mut taken = Vec::new();
        while let Some(next) = ids.next_free(&pool, taken.last().copied(), taken.iter().copied()) {
            taken.push(next);
        }
        assert_eq!(taken, [range(131_072), range(262_144), range(327_680)]);
    }

    proptest! {
        #[test]
        fn ranges_given_out_never_overlap_and_are_granted(
            entries in prop::collection::vec((0u32..3, 0u32..2_000_000, 1u32..400_000), 0..8), steps in 1usize..20,
        ) {
            let text: String =
                entries.iter().map(|(who, base, count)| format!("{}:{base}:{count}\n", ["root", "ann", "0"][*who as usize])).collect();
            let ids = SubordinateIds::parse(text.as_bytes(), text.as_bytes());
            let mut taken: Vec<IdRange> = Vec::new();
            for _ in 0..steps {
                let Some(next) = ids.next_free(&(0..2_000_000), taken.last().copied(), taken.iter().copied()) else { break };
                prop_assert!(ids.grants(next));
                prop_assert!(taken.iter().all(|other| !overlap(&other.ids(), &next.ids())));
                taken.push(next);
            }
        }
    }
}
