//! What GNU tar packs comes out as it was.

use std::{fs, os::unix::fs::MetadataExt, process::Command};

use crate::{refused, run, tree, untar};

fn pack(options: &[&str], root: &std::path::Path) -> Vec<u8> {
    run(Command::new("tar").arg("-c").args(options).arg("-C").arg(root).arg(".")).stdout
}

/// Directories here are on whatever file system the tests are, which must hold `user.` attributes.
fn round_trip(options: &[&str], carries_all: bool) {
    let [from, to] = [(); 2].map(|()| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    tree::grow(from.path());
    let output = untar(&pack(options, from.path()), to.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stderr, b"");
    let (mut before, mut after) = (tree::read(from.path()), tree::read(to.path()));
    if !carries_all {
        for entry in before.values_mut().chain(after.values_mut()) {
            entry.mtime.1 = 0;
            entry.xattrs.clear();
        }
    }
    assert!(before.keys().eq(after.keys()), "{:?}\n{:?}", before.keys(), after.keys());
    for (path, entry) in &before {
        let got = &after[path];
        assert!(entry == got, "{}: {:?}", path.display(), (got.mode, got.owner, got.mtime, got.links, &got.xattrs));
    }
    if options.contains(&"--sparse") {
        let blocks = fs::metadata(to.path().join("holes")).unwrap().blocks();
        assert!(blocks * 512 < 2_000_000, "the holes take {blocks} blocks");
    }
}

#[test]
fn posix_archives_carry_everything() {
    round_trip(&["--format=posix", "--xattrs"], true);
}

#[test]
fn gnu_archives_carry_long_names_owners_and_links() {
    round_trip(&["--format=gnu"], false);
}

#[test]
fn holes_come_out_as_holes_in_all_four_ways_to_write_them() {
    round_trip(&["--format=gnu", "--sparse"], false);
    for version in ["0.0", "0.1", "1.0"] {
        round_trip(&["--format=posix", "--xattrs", "--sparse", &format!("--sparse-version={version}")], true);
    }
}

#[test]
fn a_second_time_over_the_first_changes_nothing() {
    let [from, to] = [(); 2].map(|()| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    tree::grow(from.path());
    let archive = pack(&["--format=posix", "--xattrs"], from.path());
    for _ in 0..2 {
        assert!(untar(&archive, to.path()).status.success());
        assert!(tree::read(from.path()) == tree::read(to.path()));
    }
}

#[test]
fn files_and_links_are_replaced_and_directories_are_kept() {
    let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    fs::create_dir_all(from.path().join("usr/bin")).unwrap();
    fs::write(from.path().join("usr/bin/tool"), "new").unwrap();
    fs::write(from.path().join("file"), "new").unwrap();
    fs::create_dir_all(to.path().join("real")).unwrap();
    fs::write(to.path().join("real/kept"), "kept").unwrap();
    fs::write(to.path().join("elsewhere"), "old").unwrap();
    std::os::unix::fs::symlink("real", to.path().join("usr")).unwrap();
    std::os::unix::fs::symlink("elsewhere", to.path().join("file")).unwrap();
    assert!(untar(&pack(&[], from.path()), to.path()).status.success());
    let read = |path: &str| fs::read_to_string(to.path().join(path)).unwrap();
    assert_eq!((read("real/bin/tool"), read("real/kept")), ("new".to_owned(), "kept".to_owned()));
    assert_eq!((read("file"), read("elsewhere")), ("new".to_owned(), "old".to_owned()));
    assert!(fs::symlink_metadata(to.path().join("usr")).unwrap().is_symlink());
}

#[test]
fn the_directory_itself_keeps_its_owner_and_mode() {
    let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    std::os::unix::fs::chown(from.path(), Some(1000), Some(1000)).unwrap();
    fs::write(from.path().join("a"), "").unwrap();
    assert!(untar(&pack(&[], from.path()), to.path()).status.success());
    assert_eq!(fs::metadata(to.path()).unwrap().uid(), 0);
}

#[test]
fn what_is_missing_of_the_directory_is_made() {
    let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    fs::write(from.path().join("a"), "a").unwrap();
    let into = to.path().join("opt/app");
    assert!(untar(&pack(&[], from.path()), &into).status.success());
    assert_eq!(fs::read(into.join("a")).unwrap(), b"a");
    fs::write(to.path().join("file"), "").unwrap();
    let why = refused(&pack(&[], from.path()), &to.path().join("file/below"));
    assert!(why.contains("file/below"), "{why}");
}

#[test]
fn without_a_directory_it_is_the_users_home_made_as_its_own_if_missing() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "data").unwrap();
    fs::write(directory.path().join("passwd"), "root:x:0:0::/root:/bin/sh\napp:x:4321:8765::/root/of/app:/bin/sh\n")
        .unwrap();
    run(Command::new("tar").args(["-cf", "a.tar", "file"]).current_dir(directory.path()));
    // A /root and an /etc/passwd of its own, in a mount namespace of its own.
    let script = r#"set -e; cd "$1"; mount --bind passwd /etc/passwd; mount -t tmpfs none /root
        "$2" untar < a.tar; "$2" untar --into 'sub/dir' < a.tar; "$2" untar --user app < a.tar
        "$2" untar --into '~app' < a.tar; "$2" untar --into '~' --user app < a.tar; "$2" untar --into /root/abs < a.tar
        if "$2" untar --user nobody < a.tar; then exit 9; fi
        cd /root; find . -type f | sort; stat -c %u:%g of of/app"#;
    let output = run(Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(env!("CARGO_BIN_EXE_appc-agent")));
    let files = "./abs/file\n./file\n./of/app/file\n./sub/dir/file\n0:0\n4321:8765\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), files);
    let why = "appc-agent: user nobody is not in the container's /etc/passwd or /etc/group\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), why);
}
