//! `--confine`: as on the host, where the directory is all that there is.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    process::Output,
};

use tar::EntryType;
use tempfile::TempDir;

use crate::{archive, header, untar_with};

const FILE: EntryType = EntryType::Regular;

/// A directory `to` beside a directory `outside` with a file.
fn place() -> TempDir {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::create_dir(place.path().join("to")).unwrap();
    fs::create_dir(place.path().join("outside")).unwrap();
    fs::write(place.path().join("outside/victim"), "whole").unwrap();
    place
}

fn confined(archive: &[u8], place: &Path, options: &[&str]) -> Output {
    let to = place.join("to");
    untar_with(archive, &[&["--to", to.to_str().unwrap(), "--confine"], options].concat())
}

#[track_caller]
fn assert_outside_is_whole(place: &Path) {
    assert_eq!(fs::read(place.join("outside/victim")).unwrap(), b"whole");
    assert_eq!(fs::read_dir(place.join("outside")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(place).unwrap().count(), 2);
}

#[test]
fn no_link_is_followed_wherever_it_leads() {
    for target in ["..", "../outside", "/", "/etc", "other", ".", "/proc/self/root"] {
        let place = place();
        fs::create_dir(place.path().join("to/other")).unwrap();
        let members = [
            (EntryType::Directory, &b"top/"[..], &b""[..], &b""[..]),
            (EntryType::Symlink, b"top/link", target.as_bytes(), b""),
            (FILE, b"top/link/victim", b"", b"broken"),
        ];
        let output = confined(&archive(&members), place.path(), &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, "appc-agent: top/link: a symbolic link on its way is not followed\n", "{target}");
        assert_outside_is_whole(place.path());
        assert_eq!(fs::read_dir(place.path().join("to/other")).unwrap().count(), 0);
    }
}

#[test]
fn links_that_were_there_before_are_not_followed_either() {
    let place = place();
    symlink("../outside", place.path().join("to/top")).unwrap();
    symlink(place.path().join("outside/victim"), place.path().join("to/file")).unwrap();
    let members = [(EntryType::Directory, &b"top/"[..], &b""[..], &b""[..]), (FILE, b"top/victim", b"", b"broken")];
    assert_eq!(confined(&archive(&members), place.path(), &[]).status.code(), Some(1));
    // A file takes a link's place.
    assert!(confined(&archive(&[(FILE, b"file", b"", b"new")]), place.path(), &[]).status.success());
    assert!(fs::symlink_metadata(place.path().join("to/file")).unwrap().is_file());
    assert_outside_is_whole(place.path());
}

#[test]
fn names_that_lead_up_and_hard_links_to_elsewhere_are_refused() {
    let place = place();
    for (kind, name, link) in [
        (FILE, &b"../outside/victim"[..], &b""[..]),
        (FILE, b"top/../../outside/victim", b""),
        (EntryType::Link, b"top", b"../outside/victim"),
        (EntryType::Link, b"top", b"outside/victim"),
        (EntryType::Char, b"top", b""),
        (EntryType::Block, b"top", b""),
    ] {
        let output = confined(&archive(&[(kind, name, link, b"")]), place.path(), &[]);
        assert_eq!(output.status.code(), Some(1), "{}", name.escape_ascii());
        assert_eq!(fs::read_dir(place.path().join("to")).unwrap().count(), 0);
    }
    assert_outside_is_whole(place.path());
}

/// A program with set-user-ID and a file capability, a directory with set-group-ID, and a plain file.
fn privileged() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let entries = [
        ("top/", EntryType::Directory, 0o2755, &[][..]),
        ("top/suid", FILE, 0o6755, &[]),
        ("top/caps", FILE, 0o755, &[("SCHILY.xattr.security.capability", &capability[..])]),
        ("top/plain", FILE, 0o755, &[("SCHILY.xattr.user.a", &b"b"[..])]),
    ];
    for (name, kind, mode, xattrs) in entries {
        if !xattrs.is_empty() {
            builder.append_pax_extensions(xattrs.iter().copied()).unwrap();
        }
        let mut header = header(kind, name.as_bytes(), b"", 0);
        header.set_mode(mode);
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn xattr(path: &Path, name: &str) -> usize {
    rustix::fs::getxattr(path, name, Vec::with_capacity(100).spare_capacity_mut()).map_or(0, |(value, _)| value.len())
}

#[test]
fn what_grants_rights_is_dropped_and_said_once() {
    let place = place();
    let output = confined(&privileged(), place.path(), &[]);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "appc-agent: top/suid and 1 more: set-user-ID and set-group-ID bits and attributes that grant rights were not kept\n"
    );
    let top = place.path().join("to/top");
    let mode = |name: &str| fs::metadata(top.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("."), mode("suid"), mode("caps"), mode("plain")), (0o2755, 0o755, 0o755, 0o755));
    assert_eq!((xattr(&top.join("caps"), "security.capability"), xattr(&top.join("plain"), "user.a")), (0, 1));
}

#[test]
fn what_grants_rights_is_kept_where_that_is_asked_for() {
    let place = place();
    let output = confined(&privileged(), place.path(), &["--keep-privileges"]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let top = place.path().join("to/top");
    assert_eq!(fs::metadata(top.join("suid")).unwrap().mode() & 0o7777, 0o6755);
    assert_eq!(xattr(&top.join("caps"), "security.capability"), 20);
}
