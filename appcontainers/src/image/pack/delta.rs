//! What is special about an overlay's upper directory.

use super::{
    Found, PackError,
    directory::Rules,
    error::shown,
    xattr::{Fate, OVERLAY},
};

/// How a container's ids are seen by the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdShift {
    /// What the container's 0 is on the host.
    pub first: u32,
    /// How many ids the container has.
    pub count: u32,
}

impl IdShift {
    /// A privileged container's: none.
    pub const NONE: Self = Self { first: 0, count: u32::MAX };

    /// The container's view of one of the host's ids; `None` if it is not the container's.
    pub fn to_container(self, id: u32) -> Option<u32> {
        id.checked_sub(self.first).filter(|id| *id < self.count)
    }

    /// The host's view of one of the container's ids; `None` if the container has not so many.
    pub fn to_host(self, id: u32) -> Option<u32> {
        self.first.checked_add(id).filter(|_| id < self.count)
    }
}

pub(super) struct Delta {
    pub(super) ids: IdShift,
}

impl Rules for Delta {
    fn owner(&self, found: &Found) -> Result<(u32, u32), PackError> {
        // Whiteouts belong to whoever mounted the overlay, the host's root.
        if found.is_whiteout() {
            return Ok((0, 0));
        }
        let shift = |kind, id| {
            let IdShift { first, count } = self.ids;
            let foreign = || PackError::ForeignId { path: shown(&found.path), kind, id, first, count };
            self.ids.to_container(id).ok_or_else(foreign)
        };
        Ok((shift("user", found.stat.stx_uid)?, shift("group", found.stat.stx_gid)?))
    }

    fn overlay_attribute(&self, path: &[u8], name: &[u8]) -> Result<Fate, PackError> {
        fate_of_mark(path, name)
    }
}

/// What happens to overlayfs' own attribute `name` where an upper directory becomes another one, or a layer.
pub(crate) fn fate_of_mark(path: &[u8], name: &[u8]) -> Result<Fate, PackError> {
    match name.strip_prefix(OVERLAY) {
        // They name inodes of this host.
        Some(b"origin" | b"impure" | b"uuid" | b"nlink" | b"upper") => Ok(Fate::Drop),
        // The delta would name files by paths, or have none of their data.
        Some(b"redirect" | b"metacopy") => {
            let attribute = String::from_utf8_lossy(name).into_owned();
            Err(PackError::Redirected { path: shown(path), attribute })
        }
        // `opaque`, and what later kernels invent that belongs to a layer.
        _ => Ok(Fate::Keep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_beyond_the_range_is_nobodys() {
        let ids = IdShift { first: 100_000, count: 65_536 };
        assert_eq!(ids.to_container(100_000), Some(0));
        assert_eq!(ids.to_container(165_535), Some(65_535));
        assert_eq!(ids.to_container(165_536), None);
        assert_eq!(ids.to_container(99_999), None);
        assert_eq!(ids.to_container(0), None);
        assert_eq!(ids.to_host(65_535), Some(165_535));
        assert_eq!(ids.to_host(65_536), None);
        assert_eq!(IdShift::NONE.to_container(65_534), Some(65_534));
    }

    #[test]
    fn marks_that_name_inodes_go_and_opaque_stays() {
        let rules = Delta { ids: IdShift::NONE };
        let fate = |name: &[u8]| rules.overlay_attribute(b"d", name).unwrap();
        assert_eq!(fate(b"trusted.overlay.opaque"), Fate::Keep);
        for name in ["origin", "impure", "uuid", "nlink"] {
            assert_eq!(fate(format!("trusted.overlay.{name}").as_bytes()), Fate::Drop);
        }
        let error = rules.overlay_attribute(b"d", b"trusted.overlay.redirect").unwrap_err();
        assert!(matches!(error, PackError::Redirected { .. }));
    }
}
