//! What happens to extended attributes on the way into a squashfs. Pure but for [`read`].

use std::io;

use appcontainers_sys::squashfs::Xattr;
use rustix::{
    fs::{lgetxattr, llistxattr},
    io::Errno,
};

/// What overlayfs marks its files with.
pub(crate) const OVERLAY: &[u8] = b"trusted.overlay.";
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// What to do with an attribute.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Keep,
    /// Nobody misses it.
    Drop,
    /// squashfs can't hold it; someone may miss it.
    Report,
}

/// Of any attribute but overlayfs's own.
pub(super) fn fate(name: &[u8]) -> Fate {
    // A label means something only under the policy of the host that gave it.
    let label = name == b"security.selinux" || name.starts_with(b"security.SMACK64");
    let storable = [b"user.".as_slice(), b"trusted.", b"security."].iter().any(|prefix| name.starts_with(prefix));
    match () {
        () if label => Fate::Drop,
        () if storable => Fate::Keep,
        () => Fate::Report,
    }
}

/// A file capability as version 2: version 3 names the root of a user namespace, and under another id range the kernel
/// answers EOVERFLOW. `None` if it is no capability (linux/capability.h, `vfs_ns_cap_data`).
pub(super) fn portable(xattr: Xattr) -> Option<Xattr> {
    const REVISION_MASK: u32 = 0xff00_0000;
    const REVISION_2: u32 = 0x0200_0000;
    if xattr.name != CAPABILITY {
        return Some(xattr);
    }
    let magic = u32::from_le_bytes(xattr.value.first_chunk().copied()?);
    let value = match (magic & REVISION_MASK, xattr.value.len()) {
        (0x0100_0000, 12) | (REVISION_2, 20) => xattr.value,
        (0x0300_0000, 24) => {
            let magic = magic & !REVISION_MASK | REVISION_2;
            [&magic.to_le_bytes(), &xattr.value[4..20]].concat()
        }
        _ => return None,
    };
    Some(Xattr { name: xattr.name, value })
}

/// All attributes of what `path` names, itself if it is a link; sorted by name.
pub(crate) fn read(path: &std::ffi::CStr) -> io::Result<Vec<Xattr>> {
    let mut xattrs = Vec::new();
    let mut names = vec![0; 1024];
    let length = loop {
        match llistxattr(path, names.as_mut_slice()) {
            Err(Errno::RANGE) => names.resize(names.len() * 4, 0),
            Err(Errno::OPNOTSUPP) => return Ok(xattrs),
            result => break result?,
        }
    };
    let mut value = vec![0; 65536];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match lgetxattr(path, name, value.as_mut_slice()) {
            Ok(length) => xattrs.push(Xattr { name: name.to_owned(), value: value[..length].to_owned() }),
            // It went between the two calls.
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    xattrs.sort();
    Ok(xattrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(value: &[u8]) -> Option<Vec<u8>> {
        portable(Xattr { name: CAPABILITY.to_owned(), value: value.to_owned() }).map(|xattr| xattr.value)
    }

    #[test]
    fn a_capability_loses_the_root_of_its_namespace() {
        let v3 = b"\x01\0\0\x03\x00\x20\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\xa0\x86\x01\0";
        let v2 = b"\x01\0\0\x02\x00\x20\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0";
        assert_eq!(capability(v3).as_deref(), Some(v2.as_slice()));
        assert_eq!(capability(v2).as_deref(), Some(v2.as_slice()));
    }

    #[test]
    fn what_is_no_capability_is_refused() {
        for bad in [b"".as_slice(), b"\x01\0\0", b"\x01\0\0\x02", &[0; 20], &[3; 20], &[4; 24]] {
            assert_eq!(capability(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn acls_are_reported_and_labels_are_not() {
        assert_eq!(fate(b"system.posix_acl_access"), Fate::Report);
        assert_eq!(fate(b"security.selinux"), Fate::Drop);
        assert_eq!(fate(b"user.mime_type"), Fate::Keep);
    }
}
