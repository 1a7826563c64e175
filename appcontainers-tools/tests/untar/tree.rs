//! What a directory tree is, as far as an archive can carry it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::Mode;

/// One file, directory, link or fifo.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    /// A file's bytes or a link's target.
    pub(crate) content: Vec<u8>,
    pub(crate) links: u64,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Everything below `root`, by path.
pub(crate) fn read(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut tree = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        for item in fs::read_dir(root.join(&directory)).unwrap() {
            let path = directory.join(item.unwrap().file_name());
            let whole = root.join(&path);
            let metadata = fs::symlink_metadata(&whole).unwrap();
            let content = if metadata.is_file() {
                fs::read(&whole).unwrap()
            } else if metadata.is_symlink() {
                fs::read_link(&whole).unwrap().as_os_str().as_bytes().to_vec()
            } else {
                Vec::new()
            };
            if metadata.is_dir() {
                pending.push(path.clone());
            }
            let entry = Entry {
                mode: metadata.mode(),
                owner: (metadata.uid(), metadata.gid()),
                mtime: (metadata.mtime(), metadata.mtime_nsec()),
                content,
                links: if metadata.is_dir() { 0 } else { metadata.nlink() },
                xattrs: xattrs(&whole),
            };
            tree.insert(path, entry);
        }
    }
    tree
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = Vec::with_capacity(4096);
    rustix::fs::llistxattr(path, rustix::buffer::spare_capacity(&mut names)).unwrap();
    let value = |name: &[u8]| {
        let mut value = Vec::with_capacity(65536);
        rustix::fs::lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)).unwrap();
        value
    };
    names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(|name| (name.to_vec(), value(name))).collect()
}

/// A tree with everything that is hard to carry.
pub(crate) fn grow(root: &Path) {
    use rustix::fs::{CWD, XattrFlags};
    let long = "long".repeat(60);
    for directory in ["bin", "private", &format!("{long}/{long}"), "empty"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let write = |path: &str, bytes: &[u8], mode: u32, owner: u32| {
        let path = root.join(path);
        fs::write(&path, bytes).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner + 1)).unwrap();
        rustix::fs::chmod(&path, Mode::from_raw_mode(mode)).unwrap();
    };
    write("bin/tool", b"#!/bin/sh\n", 0o4755, 0);
    write("bin/group", b"x", 0o2711, 1000);
    write("private/secret", &vec![7; 1_000_003], 0o600, 3_000_000);
    write("private/empty", b"", 0o000, 1000);
    write(&format!("{long}/{long}/{long}"), b"long", 0o644, 0);
    std::os::unix::fs::symlink("../".repeat(60), root.join(&long).join("link")).unwrap();
    std::os::unix::fs::symlink("/nowhere", root.join("absolute")).unwrap();
    std::os::unix::fs::lchown(root.join("absolute"), Some(5), Some(6)).unwrap();
    fs::hard_link(root.join("bin/tool"), root.join("zz-tool")).unwrap();
    fs::hard_link(root.join("bin/tool"), root.join("private/tool")).unwrap();
    rustix::fs::mkfifoat(CWD, root.join("private/fifo"), Mode::from_raw_mode(0o640)).unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"not utf-8 \xff\xfe\n")), "odd").unwrap();
    let holes = fs::File::create(root.join("holes")).unwrap();
    for part in 0..50_u64 {
        std::os::unix::fs::FileExt::write_all_at(&holes, &[b'a' + (part % 26) as u8; 5000], part * 1_000_000).unwrap();
    }
    holes.set_len(60_000_000).unwrap();
    rustix::fs::setxattr(root.join("holes"), "user.lines", b"a\n12 path=b\n\0\xff", XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(root.join("private"), "user.dir", b"", XattrFlags::empty()).unwrap();
    rustix::fs::chmod(root.join("private"), Mode::from_raw_mode(0o1700)).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    for path in ["private/secret", "private", "empty"] {
        fs::File::open(root.join(path)).unwrap().set_modified(old).unwrap();
    }
}
