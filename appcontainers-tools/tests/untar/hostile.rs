//! Archives that want what they must not have, or that are broken.

use std::{fs, os::unix::fs::symlink, process::Command};

use tar::EntryType;

use crate::{archive, refused, run, untar};

const FILE: EntryType = EntryType::Regular;

#[test]
fn names_that_lead_up_are_refused_and_absolute_ones_are_taken_relative() {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("into");
    for name in [&b"../a"[..], b"a/../../b", b"/../a", b".."] {
        let why = refused(&archive(&[(FILE, name, b"", b"x")]), &into);
        assert!(why.contains(&name.escape_ascii().to_string()), "{why}");
    }
    assert!(untar(&archive(&[(FILE, b"/etc/passwd", b"", b"x")]), &into).status.success());
    assert_eq!(fs::read(into.join("etc/passwd")).unwrap(), b"x");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn links_that_lead_out_are_made_but_never_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (into, outside) = (directory.path().join("into"), directory.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "whole").unwrap();
    let absolute = outside.as_os_str().as_encoded_bytes();
    for target in [absolute, &b"../outside"[..], b"/proc/self/root", b"x/../../outside"] {
        let members = [
            (EntryType::Directory, &b"x"[..], &b""[..], &b""[..]),
            (EntryType::Symlink, b"link", target, b""),
            (FILE, b"link/victim", b"", b"broken"),
        ];
        let why = refused(&archive(&members), &into);
        assert!(why.starts_with("link"), "{why}");
    }
    // Through a link to the file itself, and by a hard link through a link.
    symlink(outside.join("victim"), into.join("through")).unwrap();
    assert!(untar(&archive(&[(FILE, b"through", b"", b"new")]), &into).status.success());
    let why = refused(&archive(&[(EntryType::Link, b"hard", b"link/victim", b"")]), &into);
    assert!(why.starts_with("link"), "{why}");
    let why = refused(&archive(&[(EntryType::Link, b"hard", b"../outside/victim", b"")]), &into);
    assert!(why.contains("outside/victim"), "{why}");
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"whole");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_link_that_takes_a_directorys_place_is_seen_by_the_next_member() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    let members = [
        (EntryType::Symlink, &b"now"[..], &b"one"[..], &b""[..]),
        (FILE, b"now/a", b"", b"1"),
        (EntryType::Symlink, b"now", b"two", b""),
        (FILE, b"now/b", b"", b"2"),
    ];
    assert!(untar(&archive(&members), directory.path()).status.success());
    assert!(directory.path().join("one/a").exists() && directory.path().join("two/b").exists());
}

#[test]
fn device_nodes_and_unknown_kinds_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    for kind in [EntryType::Char, EntryType::Block, EntryType::new(b'M')] {
        let why = refused(&archive(&[(kind, b"dev/thing", b"", b"")]), directory.path());
        assert!(why.starts_with("dev/thing: "), "{why}");
    }
    let why =
        refused(&archive(&[(FILE, b"a", b"", b"data"), (EntryType::Link, b"b", b"a", b"data")]), directory.path());
    assert!(why.starts_with("b: "), "{why}");
}

#[test]
fn an_owner_beyond_the_ids_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut header = crate::header(FILE, b"file", b"", 0);
    header.set_uid(1 << 40);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, std::io::empty()).unwrap();
    let why = refused(&builder.into_inner().unwrap(), directory.path());
    assert_eq!(why, format!("file: owner {}:0 is outside of the container's ids", 1_u64 << 40));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_file_does_not_take_a_directorys_place_nor_the_other_way() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("dir")).unwrap();
    fs::write(directory.path().join("file"), "kept").unwrap();
    let why = refused(&archive(&[(FILE, b"dir", b"", b"x")]), directory.path());
    assert_eq!(why, "dir: there is a directory of that name, which is not replaced");
    refused(&archive(&[(EntryType::Directory, b"file", b"", b"")]), directory.path());
    refused(&archive(&[(FILE, b"file/below", b"", b"x")]), directory.path());
    assert_eq!(fs::read(directory.path().join("file")).unwrap(), b"kept");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "a temporary file is left");
}

#[test]
fn an_archive_that_is_cut_anywhere_leaves_whole_files_only() {
    let data = vec![b'n'; 3000];
    let whole = archive(&[(FILE, b"first", b"", &data), (FILE, b"second", b"", &data)]);
    for cut in [1, 511, 513, 1000, 512 + 3000, 3584 + 100, 3584 + 512 + 2999] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("second"), "old").unwrap();
        let why = refused(&whole[..cut], directory.path());
        assert!(why.contains("cut off"), "{cut}: {why}");
        assert_eq!(fs::read(directory.path().join("second")).unwrap(), b"old", "{cut}");
        for file in fs::read_dir(directory.path()).unwrap() {
            let path = file.unwrap().path();
            assert!(path.ends_with("second") || fs::read(&path).unwrap() == data, "{}", path.display());
        }
    }
}

#[test]
fn no_flipped_bit_in_a_header_goes_unseen() {
    let whole = archive(&[(FILE, b"file", b"", b"data")]);
    for at in (0..512).step_by(7) {
        let directory = tempfile::tempdir().unwrap();
        let mut broken = whole.clone();
        broken[at] ^= 4;
        let why = refused(&broken, directory.path());
        assert!(why.contains("header"), "{at}: {why}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_disk_that_fills_ruins_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let tar = directory.path().join("big.tar");
    let members = [(FILE, &b"kept"[..], &b""[..], &vec![1_u8; 4_000_000][..])];
    fs::write(&tar, archive(&members)).unwrap();
    // A file system of one megabyte, in a mount namespace of its own.
    let script = r#"set -e; mkdir "$1/small"; mount -t tmpfs -o size=1m none "$1/small"; printf whole > "$1/small/kept"
        if "$2" untar --into "$1/small" < "$1/big.tar" 2> "$1/error"; then exit 9; fi
        cat "$1/small/kept"; echo; ls -A "$1/small""#;
    let output = run(Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(env!("CARGO_BIN_EXE_appc-agent")));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "whole\nkept\n");
    let why = fs::read_to_string(directory.path().join("error")).unwrap();
    assert_eq!(why, "appc-agent: kept: cannot write it: No space left on device (os error 28)\n");
}

#[test]
fn asked_to_end_it_leaves_no_temporary_file() {
    use std::{io::Write, process::Stdio};
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_appc-agent"))
        .args(["untar", "--into"])
        .arg(directory.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let whole = archive(&[(FILE, b"file", b"", &vec![0; 1_000_000])]);
    let mut stdin = child.stdin.take().unwrap();
    // More than a pipe holds: some of it is read when this comes back.
    stdin.write_all(&whole[..600_000]).unwrap();
    while fs::read_dir(directory.path()).unwrap().count() == 0 {
        std::thread::yield_now();
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
