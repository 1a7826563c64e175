//! Files of one range of ids as those of another. Pure.

use appcontainers_sys::squashfs::Xattr;

use crate::image::pack::{IdShift, PackError, shown, xattr::CAPABILITY};

/// POSIX ACLs (linux/posix_acl_xattr.h): a version, then entries of a tag, permissions and an id, of which two kinds name one.
const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
const ACL_HEADER_BYTES: usize = 4;
const ACL_ENTRY_BYTES: usize = 8;
const ACL_USER: u16 = 0x02;
const ACL_GROUP: u16 = 0x08;

/// A file capability that names the root of a user namespace (linux/capability.h, `vfs_ns_cap_data`) is so long; its last four
/// bytes are that id.
const NAMESPACED_CAPABILITY_BYTES: usize = 24;

/// From one container's ids to those of another one, or of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shift {
    /// Whose the files are.
    pub(crate) from: IdShift,
    /// Whose they are to be.
    pub(crate) to: IdShift,
}

impl Shift {
    /// An owner as the other container's.
    pub(super) fn owner(self, path: &[u8], kind: &'static str, id: u32) -> Result<u32, PackError> {
        let IdShift { first, count } = self.from;
        let foreign = || PackError::ForeignId { path: shown(path), kind, id, first, count };
        self.id(id).ok_or_else(foreign)
    }

    /// Changes the ids that an attribute names.
    pub(super) fn xattr(self, path: &[u8], xattr: &mut Xattr) -> Result<(), PackError> {
        if ACLS.contains(&xattr.name.as_slice()) {
            let entries = xattr.value.get_mut(ACL_HEADER_BYTES..).unwrap_or_default();
            for entry in entries.chunks_exact_mut(ACL_ENTRY_BYTES) {
                let kind = match u16::from_le_bytes([entry[0], entry[1]]) {
                    ACL_USER => "user",
                    ACL_GROUP => "group",
                    _ => continue,
                };
                let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
                entry[4..].copy_from_slice(&self.owner(path, kind, id)?.to_le_bytes());
            }
        } else if xattr.name == CAPABILITY && xattr.value.len() == NAMESPACED_CAPABILITY_BYTES {
            let root = &mut xattr.value[NAMESPACED_CAPABILITY_BYTES - 4..];
            let id = u32::from_le_bytes([root[0], root[1], root[2], root[3]]);
            root.copy_from_slice(&self.owner(path, "user", id)?.to_le_bytes());
        }
        Ok(())
    }

    fn id(self, id: u32) -> Option<u32> {
        self.from.to_container(id).and_then(|id| self.to.to_host(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIFT: Shift =
        Shift { from: IdShift { first: 100_000, count: 65_536 }, to: IdShift { first: 300_000, count: 65_536 } };

    fn shifted(name: &[u8], value: &[u8]) -> Result<Vec<u8>, PackError> {
        let mut xattr = Xattr { name: name.to_owned(), value: value.to_owned() };
        SHIFT.xattr(b"f", &mut xattr).map(|()| xattr.value)
    }

    #[test]
    fn an_owner_is_the_same_one_among_other_ids_and_a_strangers_is_refused() {
        assert_eq!(SHIFT.owner(b"f", "user", 100_033).unwrap(), 300_033);
        assert!(matches!(SHIFT.owner(b"f", "user", 0), Err(PackError::ForeignId { id: 0, .. })));
        assert!(matches!(SHIFT.owner(b"f", "group", 165_536), Err(PackError::ForeignId { .. })));
    }

    #[test]
    fn an_acl_names_the_other_containers_users() {
        let entry = |tag: u16, id: u32| [tag.to_le_bytes().to_vec(), vec![7, 0], id.to_le_bytes().to_vec()].concat();
        let acl = |user: u32, group: u32| {
            let entries = [(1, u32::MAX), (ACL_USER, user), (4, u32::MAX), (ACL_GROUP, group), (16, u32::MAX)];
            let entries = entries.map(|(tag, id)| entry(tag, id));
            [vec![2, 0, 0, 0], entries.concat()].concat()
        };
        for name in ACLS {
            assert_eq!(shifted(name, &acl(100_001, 100_002)).unwrap(), acl(300_001, 300_002));
        }
        assert!(shifted(ACLS[0], &acl(1, 100_002)).is_err());
        // What is no ACL is left to the kernel to refuse.
        assert_eq!(shifted(ACLS[0], b"\x02").unwrap(), b"\x02");
    }

    #[test]
    fn a_capability_names_the_other_containers_root() {
        let capability = |root: u32| [vec![1; 20], root.to_le_bytes().to_vec()].concat();
        assert_eq!(shifted(CAPABILITY, &capability(100_000)).unwrap(), capability(300_000));
        assert_eq!(shifted(CAPABILITY, &[1; 20]).unwrap(), [1; 20]);
        assert_eq!(shifted(b"user.x", &capability(100_000)).unwrap(), capability(100_000));
    }
}
