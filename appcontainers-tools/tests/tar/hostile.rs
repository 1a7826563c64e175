//! Trees that others change meanwhile, and that have what does not belong in an archive.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::fs::{CWD, Mode, RenameFlags};

use crate::{agent, archive, directory, in_namespace, list, tar, untar};

/// What must never be in an archive.
const SECRET: &[u8] = b"a secret outside of the tree";

fn has_secret(archive: &[u8]) -> bool {
    archive.windows(SECRET.len()).any(|window| window == SECRET)
}

#[test]
fn links_that_take_a_names_place_while_it_is_walked_lead_nowhere() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("outside/deep")).unwrap();
    fs::create_dir_all(path("tree/dir/deep")).unwrap();
    for (name, bytes) in [("outside", SECRET), ("tree/dir", b"x")] {
        fs::write(path(name).join("file"), bytes).unwrap();
        fs::write(path(name).join("deep/file"), bytes).unwrap();
    }
    fs::write(path("tree/file"), "x").unwrap();
    symlink(path("outside"), path("tree/dir-link")).unwrap();
    symlink("../outside/file", path("tree/file-link")).unwrap();
    symlink("../../outside/deep", path("tree/dir/deep-link")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // By open directories: through a path, one that is a link at the time would be renamed for good.
        for (parent, name) in [("tree", "dir"), ("tree", "file"), ("tree/dir", "deep")] {
            let parent = fs::File::open(path(parent)).unwrap();
            let stop = &stop;
            scope.spawn(move || {
                let link = format!("{name}-link");
                while !stop.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(&parent, name, &parent, &link, RenameFlags::EXCHANGE).unwrap();
                }
            });
        }
        let done = std::panic::catch_unwind(|| {
            for _ in 0..300 {
                let output = tar(&path("tree"));
                assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
                assert!(!has_secret(&output.stdout));
                assert!(list(&output.stdout).iter().all(|name| name.starts_with("tree/")));
            }
        });
        stop.store(true, Ordering::Relaxed);
        done.unwrap();
    });
}

#[test]
fn other_file_systems_and_sockets_are_left_out_and_said_and_files_that_are_mounted_are_not() {
    let directory = directory();
    let script = r#"cd "$1"; mkdir -p tree/tmp tree/proc tree/dev; : > tree/hosts; : > tree/dev/null; echo mine > hosts
        mount -t tmpfs none tree/tmp; mkdir tree/tmp/a; mount -t proc none tree/proc
        mount --bind hosts tree/hosts; mount --bind /dev/null tree/dev/null
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("tree/socket")'
        "$2" tar "$1/tree" > a.tar 2> said
        "$2" tar "$1/tree/tmp" > b.tar
        tar -tf a.tar | sort; tar -xOf a.tar tree/hosts; tar -tf b.tar; sort said"#;
    let said = in_namespace(script, &[directory.path().as_os_str(), env!("CARGO_BIN_EXE_appc-agent").as_ref()]);
    let left_out = [
        "tree/dev/null: what is mounted there",
        "tree/proc: what is mounted there",
        "tree/socket: a socket",
        "tree/tmp: what is mounted there",
    ];
    let left_out = left_out.map(|what| format!("appc-agent: {what} is left out\n")).concat();
    assert_eq!(said, format!("tree/\ntree/dev/\ntree/hosts\nmine\ntmp/\ntmp/a/\n{left_out}"));
}

#[test]
fn a_tree_that_is_deeper_than_a_path_may_be_is_cut_there_and_said() {
    let from = directory();
    let name = "d".repeat(200);
    let mut at = rustix::fs::openat(CWD, from.path(), rustix::fs::OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..30 {
        rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &name, rustix::fs::OFlags::PATH, Mode::empty()).unwrap();
    }
    let output = tar(&from.path().join(&name));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with("d: its path is too long\n") && said.lines().count() == 1, "{said}");
    let deepest = list(&output.stdout).into_iter().last().unwrap();
    assert!((3800..4096).contains(&deepest.len()), "{}", deepest.len());
}

#[test]
fn a_tree_with_a_thousand_levels_needs_no_privilege() {
    let [from, to] = [(); 2].map(|()| directory());
    fs::create_dir_all(from.path().join("d/".repeat(1200))).unwrap();
    let archive = archive(&from.path().join("d"));
    assert_eq!(list(&archive).len(), 1200);
    untar(&archive, to.path(), &[]);
    assert!(to.path().join("d/".repeat(1200)).is_dir());
    // rm(1) and the test's own clean-up are not asked to recurse that deep on a small stack.
    for root in [&from, &to] {
        assert!(std::process::Command::new("rm").arg("-r").arg(root.path().join("d")).status().unwrap().success());
    }
}

#[test]
fn memory_does_not_grow_with_a_file_nor_with_a_tree() {
    let directory = directory();
    // The program's own file is some megabytes; all that it may map is 48.
    let script = r#"mount -t tmpfs none "$1"; cd "$1"; mkdir tree to; head -c 300000000 /dev/zero | tr '\0' x > tree/big
        (cd tree; seq -f "$(printf 'd%.0s' $(seq 200))%.0f" 20000 | xargs mkdir)
        prlimit --as=50000000 "$2" tar "$1/tree" | prlimit --as=50000000 "$2" untar --to "$1/to"
        ls to/tree | wc -l; cmp tree/big to/tree/big"#;
    let counted = in_namespace(script, &[directory.path().as_os_str(), env!("CARGO_BIN_EXE_appc-agent").as_ref()]);
    assert_eq!(counted, "20001\n");
}

#[test]
fn control_characters_in_names_are_kept_in_the_archive_and_not_in_messages() {
    let from = directory();
    let name = std::ffi::OsStr::from_bytes(b"\x1b[2J\n\xff");
    let path = from.path().join(name);
    std::os::unix::net::UnixListener::bind(&path).unwrap();
    let output = tar(from.path());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with("/\\x1b[2J\\n\\xff: a socket is left out\n"), "{said}");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "x").unwrap();
    let to = directory();
    untar(&archive(from.path()), &to.path().join("copy"), &[]);
    assert_eq!(fs::read(to.path().join("copy").join(name)).unwrap(), b"x");
}

#[test]
fn no_path_and_two_are_wrong_usage() {
    for arguments in [&[][..], &["/a", "/b"]] {
        let output = agent().arg("tar").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "appc-agent: tar takes --user USER and one PATH\n");
    }
}
