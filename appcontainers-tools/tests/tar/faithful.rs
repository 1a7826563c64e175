//! What goes in comes out.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::FileExt, fs::MetadataExt},
    path::{Path, PathBuf},
    process::Command,
};

use proptest::prelude::*;
use rustix::fs::{CWD, Mode, SeekFrom, Timespec, Timestamps, XattrFlags};

use crate::{
    archive, directory, feed, list, tar,
    tree::{self, Entry},
    untar,
};

#[track_caller]
fn assert_same(before: &BTreeMap<PathBuf, Entry>, after: &BTreeMap<PathBuf, Entry>) {
    assert!(before.keys().eq(after.keys()), "{:?}\n{:?}", before.keys(), after.keys());
    for (path, entry) in before {
        let got = &after[path];
        assert!(entry == got, "{}: {:?}", path.display(), (got.mode, got.owner, got.mtime, got.links, &got.xattrs));
    }
}

/// The parts of a file that have data.
fn data(path: &Path) -> Vec<(u64, u64)> {
    let file = fs::File::open(path).unwrap();
    let mut parts = Vec::new();
    let mut at = 0;
    while let Ok(start) = rustix::fs::seek(&file, SeekFrom::Data(at)) {
        at = rustix::fs::seek(&file, SeekFrom::Hole(start)).unwrap();
        parts.push((start, at));
    }
    parts
}

#[test]
fn a_tree_comes_out_as_it_was() {
    let [from, to] = [(); 2].map(|()| directory());
    let source = from.path().join("tree");
    fs::create_dir(&source).unwrap();
    tree::grow(&source);
    untar(&archive(&source), to.path(), &[]);
    assert_same(&tree::read(from.path()), &tree::read(to.path()));
    assert_eq!(data(&source.join("holes")), data(&to.path().join("tree/holes")));
}

#[test]
fn gnu_tar_reads_all_of_it() {
    let [from, to] = [(); 2].map(|()| directory());
    let source = from.path().join("tree");
    fs::create_dir(&source).unwrap();
    tree::grow(&source);
    rustix::fs::setxattr(source.join("bin"), "user.a=b%3D%", b"x=y", XattrFlags::empty()).unwrap();
    feed(Command::new("tar").args(["-xp", "--xattrs", "-C"]).arg(to.path()), &archive(&source));
    assert_same(&tree::read(from.path()), &tree::read(to.path()));
    assert_eq!(data(&source.join("holes")), data(&to.path().join("tree/holes")));
}

#[test]
fn one_file_a_link_and_a_fifo_are_archives_too() {
    let [from, to] = [(); 2].map(|()| directory());
    fs::write(from.path().join("file"), "data").unwrap();
    std::os::unix::fs::symlink("file", from.path().join("link")).unwrap();
    rustix::fs::mkfifoat(CWD, from.path().join("fifo"), Mode::RUSR).unwrap();
    for name in ["file", "link", "fifo"] {
        untar(&archive(&from.path().join(name)), to.path(), &[]);
    }
    assert_same(&tree::read(from.path()), &tree::read(to.path()));
}

#[test]
fn what_the_tree_is_called_depends_on_how_it_is_asked_for() {
    let from = directory();
    fs::create_dir(from.path().join("dir")).unwrap();
    fs::write(from.path().join("dir/a"), "").unwrap();
    std::os::unix::fs::symlink("dir", from.path().join("link")).unwrap();
    let listed = |path: &str| list(&archive(&from.path().join(path)));
    assert_eq!(listed("dir"), ["dir/", "dir/a"]);
    assert_eq!(listed("dir/"), ["dir/", "dir/a"]);
    assert_eq!(listed("dir/."), ["./", "./a"]);
    assert_eq!(listed("link"), ["link"]);
    assert_eq!(listed("link/"), ["link/", "link/a"]);
    for missing in ["none", "none/a", "dir/none"] {
        let output = tar(&from.path().join(missing));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        let said = String::from_utf8(output.stderr).unwrap();
        let path = from.path().join(missing);
        assert_eq!(said, format!("appc-agent: {}: No such file or directory (os error 2)\n", path.display()));
    }
}

#[test]
fn a_file_of_ten_gibibytes_with_almost_no_data_is_a_small_archive() {
    let [from, to] = [(); 2].map(|()| directory());
    let file = fs::File::create(from.path().join("big")).unwrap();
    file.write_all_at(b"start", 0).unwrap();
    file.write_all_at(b"end", (10 << 30) - 3).unwrap();
    let archive = archive(&from.path().join("big"));
    assert!(archive.len() < 100_000, "{}", archive.len());
    untar(&archive, to.path(), &[]);
    let copy = fs::File::open(to.path().join("big")).unwrap();
    assert_eq!(copy.metadata().unwrap().len(), 10 << 30);
    assert!(copy.metadata().unwrap().blocks() < 100);
    let mut end = [0; 4];
    copy.read_exact_at(&mut end, (10 << 30) - 4).unwrap();
    assert_eq!(&end, b"\0end");
}

/// A file, directory, link or fifo of a tree that chance has made.
#[derive(Debug, Clone)]
struct Made {
    kind: u8,
    /// In which of the directories made before.
    directory: prop::sample::Index,
    name: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, u32),
    /// Where data of how many bytes is.
    data: Vec<(u32, u16)>,
    xattr: Option<Vec<u8>>,
}

fn made() -> impl Strategy<Value = Made> {
    let name = prop::collection::vec((1..=255_u8).prop_filter("no slash", |byte| *byte != b'/'), 1..255);
    let owner = (0..100_000_u32, 0..4_000_000_000_u32);
    // What ext4 holds: years 1901 to 2446.
    let mtime = (-2_000_000_000..15_000_000_000_i64, 0..1_000_000_000_u32);
    let data = prop::collection::vec((0..3_000_000_u32, 1..20_000_u16), 0..5);
    let xattr = prop::option::of(prop::collection::vec(any::<u8>(), 0..200));
    (0..6_u8, any::<prop::sample::Index>(), name, 0..0o10000_u32, owner, mtime, data, xattr).prop_map(
        |(kind, directory, name, mode, owner, mtime, data, xattr)| Made {
            kind,
            directory,
            name,
            mode,
            owner,
            mtime,
            data,
            xattr,
        },
    )
}

/// Makes what chance wants; what a name that is taken can't be is left out.
fn make(root: &Path, all: &[Made]) {
    let mut directories = vec![root.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    let mut done = Vec::new();
    for one in all {
        let path = one.directory.get(&directories).join(std::ffi::OsStr::from_bytes(&one.name));
        if matches!(one.name.as_slice(), b"." | b"..") || path.symlink_metadata().is_ok() {
            continue;
        }
        match one.kind {
            0 | 1 => {
                let file = fs::File::create(&path).unwrap();
                for (offset, length) in &one.data {
                    file.write_all_at(&vec![*length as u8; usize::from(*length)], u64::from(*offset)).unwrap();
                }
                files.push(path.clone());
            }
            2 => {
                fs::create_dir(&path).unwrap();
                directories.push(path.clone());
            }
            3 => std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&one.name), &path).unwrap(),
            4 => rustix::fs::mkfifoat(CWD, &path, Mode::RUSR).unwrap(),
            _ => match files.last() {
                Some(file) => fs::hard_link(file, &path).unwrap(),
                None => continue,
            },
        }
        done.push((path, one));
    }
    // The innermost first, because each entry changes its directory's time.
    for (path, one) in done.iter().rev() {
        std::os::unix::fs::lchown(path, Some(one.owner.0), Some(one.owner.1)).unwrap();
        if let (0..=2, Some(value)) = (one.kind, &one.xattr) {
            rustix::fs::setxattr(path, "user.made", value, XattrFlags::empty()).unwrap();
        }
        if one.kind != 3 {
            rustix::fs::chmod(path, Mode::from_raw_mode(one.mode)).unwrap();
        }
        let time = Timespec { tv_sec: one.mtime.0, tv_nsec: one.mtime.1.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_tree_comes_out_as_it_was(all in prop::collection::vec(made(), 1..40)) {
        let [from, to] = [(); 2].map(|()| directory());
        let source = from.path().join("tree");
        fs::create_dir(&source).unwrap();
        make(&source, &all);
        untar(&archive(&source), &to.path().join("other"), &[]);
        let copy = to.path().join("other");
        // Not where small holes are: the file system may fill those by itself when it writes (ext4 does).
        assert_same(&tree::read(&source), &tree::read(&copy));
    }
}
