//! What a file has besides its data: read from one, given to its copy.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::fs::fchown,
    },
};

use appcontainers_sys::squashfs::Xattr;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, StatxTimestamp, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod,
    fsetxattr, futimens, lsetxattr, utimensat,
};

use super::shift::Shift;
use crate::image::{
    Hasher,
    pack::{Found, PackError, Walk, fate_of_mark, xattr},
};

/// What a file has besides its data.
pub(super) struct Attributes {
    uid: u32,
    gid: u32,
    permissions: u32,
    times: Timestamps,
    xattrs: Vec<Xattr>,
}

impl Attributes {
    pub(super) fn read(walk: &Walk<'_>, found: &Found) -> Result<Self, PackError> {
        let stat = &found.stat;
        let mut xattrs = Vec::new();
        for attribute in walk.with_proc_path(&found.path, "read the attributes of", xattr::read)? {
            let is_mark = attribute.name.starts_with(xattr::OVERLAY);
            if !is_mark || fate_of_mark(&found.path, &attribute.name)? == xattr::Fate::Keep {
                xattrs.push(attribute);
            }
        }
        let time = |time: StatxTimestamp| Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec.into() };
        Ok(Self {
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            permissions: u32::from(stat.stx_mode) & 0o7777,
            times: Timestamps { last_access: time(stat.stx_atime), last_modification: time(stat.stx_mtime) },
            xattrs,
        })
    }

    pub(super) fn add_to(&self, hasher: &mut Hasher, found: &Found, target: Option<&[u8]>) {
        let stat = &found.stat;
        add(hasher, &found.path);
        let is_file = found.file_type() == FileType::RegularFile;
        let numbers = [
            u64::from(stat.stx_mode),
            self.uid.into(),
            self.gid.into(),
            if is_file { stat.stx_size } else { 0 },
            stat.stx_rdev_major.into(),
            stat.stx_rdev_minor.into(),
            stat.stx_mtime.tv_sec as u64,
        ];
        numbers.iter().for_each(|number| hasher.update(&number.to_le_bytes()));
        add(hasher, target.unwrap_or_default());
        for attribute in &self.xattrs {
            add(hasher, &attribute.name);
            add(hasher, &attribute.value);
        }
    }

    /// As they are among other ids.
    pub(super) fn shifted(mut self, found: &Found, shift: Shift) -> Result<Self, PackError> {
        // Whiteouts belong to whoever mounted the overlay, the host's root.
        if !found.is_whiteout() {
            self.uid = shift.owner(&found.path, "user", self.uid)?;
            self.gid = shift.owner(&found.path, "group", self.gid)?;
        }
        for attribute in &mut self.xattrs {
            shift.xattr(&found.path, attribute)?;
        }
        Ok(self)
    }

    /// The mode comes after the owner, which takes bits from it, and so do the attributes: it takes capabilities, too.
    pub(super) fn give_to(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        fchown(file, Some(self.uid), Some(self.gid))?;
        fchmod(file, Mode::from_raw_mode(self.permissions))?;
        for Xattr { name, value } in &self.xattrs {
            fsetxattr(file, name.as_slice(), value, XattrFlags::empty())?;
        }
        Ok(futimens(file, &self.times)?)
    }

    pub(super) fn give_to_name(&self, directory: BorrowedFd<'_>, name: &CString, is_link: bool) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if !is_link {
            chmodat(directory, name, Mode::from_raw_mode(self.permissions), AtFlags::empty())?;
        }
        if !self.xattrs.is_empty() {
            let prefix = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
            let path = CString::new([prefix.as_slice(), name.to_bytes()].concat())?;
            for Xattr { name, value } in &self.xattrs {
                lsetxattr(&path, name.as_slice(), value, XattrFlags::empty())?;
            }
        }
        Ok(utimensat(directory, name, &self.times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// Bytes with their length before them, so that no two lists of such are the same bytes.
pub(super) fn add(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}
