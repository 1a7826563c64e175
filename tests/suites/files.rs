//! `appc put`, `fetch` and `tail`: files go in and come out as they are, whether the container runs or not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, io::Write as _};

use appcontainers_tests::{Archive, Host, in_sandbox};
use rustix::process::Signal;

/// Makes a directory `tree` with what is hard to copy. The program with set-user-ID comes last in the tests that follow.
fn grow(host: &Host) {
    host.sh(r#"set -e; mkdir -p tree/sub/empty tree/private; cd tree
        printf '#!/bin/sh\necho it runs\n' > tool; chmod 755 tool; printf secret > private/key; chmod 600 private/key
        ln tool sub/tool; ln tool zz-tool; ln -s tool link; ln -s /nowhere/at/all broken; mkfifo -m 620 sub/fifo
        printf odd > "$(printf 'not utf-8 \377\376\n and a line feed')"; mkdir "$(printf 'long%.0s' $(seq 60))"
        printf start > holes; printf middle | dd of=holes bs=1 seek=30000000 conv=notrunc status=none; truncate -s 50M holes
        : > empty; truncate -s 5M one-hole; head -c 300000 /dev/urandom > random
        chown 1000:1001 private private/key; chown -h 33:34 link; chmod 1770 private; chmod 000 empty
        setfattr -n user.binary -v 0x000aff3d tool; setfattr -n user.dir -v x private
        touch -d '2001-02-03 04:05:06.123456789' random; touch -h -d '1969-01-01 00:00:00.5' link; touch -d '2400-01-01' sub"#)
        .succeeds();
}

/// Fails unless rsync, which is not ours, finds nothing to do to make one directory the other.
#[track_caller]
fn assert_same(host: &Host, one: &str, other: &str) {
    let options = "-aHAXSn --delete --modify-window=-1 --checksum --itemize-changes";
    let changes = host.sh(&format!("rsync {options} {one}/ {other}/")).succeeds();
    assert_eq!(changes, "", "{one} and {other} differ");
    let blocks = |directory: &str| host.sh(&format!("cd {directory} && stat -c '%n %b' holes one-hole")).succeeds();
    assert_eq!(blocks(one), blocks(other), "holes are filled");
}

/// What `stat` says of everything below a directory, on either side.
const LOOK: &str = r#"find . -exec stat -c '%n %a %u:%g %Y %h %s %F' {} \; | grep -v '^\. ' | sort"#;

#[test]
fn a_tree_comes_back_as_it_went_in_and_is_the_same_inside() {
    in_sandbox(|host| {
        grow(host);
        host.provision("web");
        for (state, start) in [("stopped", false), ("running", true)] {
            if start {
                host.appc(["start", "web"]).succeeds();
            }
            assert_eq!(host.appc(["-c", "web", "put", "tree", &format!("/srv/{state}")]).succeeds(), "");
            assert_eq!(host.appc(["-c", "web", "fetch", &format!("/srv/{state}"), state]).succeeds(), "");
            assert_same(host, "tree", state);
            assert_eq!(host.inspect("web")["status"], state);
        }
        for state in ["stopped", "running"] {
            let inside = host.sh_in("web", &format!("cd /srv/{state} && LC_ALL=C && {LOOK}")).succeeds();
            // busybox's own words for what an empty file is.
            let outside =
                host.sh(&format!("cd tree && {LOOK}")).succeeds().replace("regular empty file", "regular file");
            assert_eq!(inside.replace("regular empty file", "regular file"), outside);
        }
        assert_eq!(host.in_container("web", ["/srv/running/sub/tool"]).succeeds(), "it runs");
    });
}

#[test]
fn things_go_where_cp_puts_them() {
    in_sandbox(|host| {
        host.start("web");
        host.sh("mkdir -p dir/sub here; echo one > file; echo two > dir/sub/file").succeeds();
        let put = |source: &str, dest: &str| host.appc(["-c", "web", "put", source, dest]).succeeds();
        for (source, dest) in
            [("file", "/srv"), ("file", "/srv/name"), ("dir", "/srv"), ("dir", "/srv/new"), ("dir/.", "/opt")]
        {
            put(source, dest);
        }
        // From where its commands start.
        put("file", "relative");
        let found = host.sh_in("web", "find /srv /opt /root -type f | sort").succeeds();
        let expected =
            ["/opt/sub/file", "/root/relative", "/srv/dir/sub/file", "/srv/file", "/srv/name", "/srv/new/sub/file"];
        assert_eq!(found, expected.join("\n"));

        let fetch = |source: &str, dest: &str| host.appc(["-c", "web", "fetch", source, dest]).succeeds();
        for (source, dest) in [
            ("/srv/file", "here"),
            ("relative", "here/name"),
            ("/srv/dir", "here"),
            ("/srv/dir", "here/new"),
            ("/opt/.", "here/."),
        ] {
            fetch(source, dest);
        }
        let found = host.sh("find here -type f | sort").succeeds();
        assert_eq!(found, "here/dir/sub/file\nhere/file\nhere/name\nhere/new/sub/file\nhere/sub/file");
        // A file is replaced, and so is a link: what it leads to stays.
        host.sh("echo old > here/old; ln -s old here/link").succeeds();
        fetch("/srv/file", "here/link");
        assert_eq!(host.sh("cat here/old here/link; test ! -L here/link").succeeds(), "old\none");
    });
}

#[test]
fn owners_are_kept_as_numbers_unless_one_is_named() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh("echo x > mine; chown 1234:4321 mine; echo y > far; chown 3000000 far").succeeds();
        host.appc(["-c", "web", "put", "mine", "/srv/kept"]).succeeds();
        host.appc(["-c", "web", "put", "--owner", "nobody", "far", "/srv/given"]).succeeds();
        host.appc(["-c", "web", "put", "--owner", "12:13", "far", "/srv/numbers"]).succeeds();
        let owners = host.sh_in("web", "stat -c %u:%g /srv/kept /srv/given /srv/numbers").succeeds();
        assert_eq!(owners, "1234:4321\n65534:65534\n12:13");
        host.appc(["-c", "web", "put", "far", "/srv"]).refuses(1, &["web", "far", "owner 3000000:0", "ids"]);
        host.appc(["-c", "web", "put", "--owner", "who", "far", "/srv"]).refuses(1, &["user who", "/etc/passwd"]);
        assert_eq!(host.in_container("web", ["ls", "/srv"]).succeeds(), "given\nkept\nnumbers");
        host.appc(["-c", "web", "fetch", "/srv/.", "out"]).succeeds();
        assert_eq!(host.sh("stat -c %u:%g out/*").succeeds(), "65534:65534\n1234:4321\n12:13");
    });
}

#[test]
fn a_dash_is_a_tar() {
    in_sandbox(|host| {
        grow(host);
        host.provision("web");
        for (number, options) in ["", "-z", "--zstd", "-J"].into_iter().enumerate() {
            let line = format!("tar c {options} --xattrs --sparse tree/private tree/holes | appc -c web put - /mnt");
            host.sh(&line).succeeds();
            assert_eq!(
                host.sh_in("web", "cat /mnt/tree/private/key; rm -r /mnt/tree").succeeds(),
                "secret",
                "{number}"
            );
        }
        host.appc(["-c", "web", "put", "tree", "/srv"]).succeeds();
        host.sh("mkdir out && appc -c web fetch /srv/tree - | tar x -C out --xattrs --xattrs-include='*'").succeeds();
        assert_same(host, "tree", "out/tree");
        // Who reads only the beginning is content with it.
        assert_eq!(host.sh("appc -c web fetch /srv/tree - | head -c 5 | wc -c").succeeds(), "5");
        host.sh("appc -c web put - /srv < /dev/null").refuses(1, &["empty"]);
        host.sh("tar c tree | appc -c web put - /nowhere").refuses(1, &["web", "/nowhere", "No such file"]);
        host.sh("tar c tree | head -c 100000 | appc -c web put - /mnt").refuses(1, &["web", "cut off"]);
        assert_eq!(host.inspect("web")["status"], "stopped");
    });
}

#[test]
fn a_name_that_is_wrong_is_named_and_nothing_is_written() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh("echo x > file; mkdir dir").succeeds();
        for running in [false, true] {
            if running {
                host.appc(["start", "web"]).succeeds();
            }
            host.appc(["-c", "web", "put", "none", "/srv"]).refuses(1, &["read none", "No such file"]);
            host.appc(["-c", "web", "put", "file", "/no/where"]).refuses(1, &["web", "/no/where", "No such file"]);
            host.appc(["-c", "web", "put", "file", "/srv/new/"]).refuses(1, &["web", "/srv/new/", "no such directory"]);
            host.appc(["-c", "web", "put", "dir", "/etc/passwd"]).refuses(1, &["web", "passwd", "Not a directory"]);
            host.appc(["-c", "web", "fetch", "/none", "."]).refuses(1, &["web", "/none", "No such file"]);
            host.appc(["-c", "web", "fetch", "/etc/passwd", "no/where"])
                .refuses(1, &["host", "no/where", "No such file"]);
            host.appc(["-c", "web", "fetch", "/etc", "file"]).refuses(1, &["host", "file", "Not a directory"]);
            host.appc(["-c", "web", "tail", "/none"]).refuses(1, &["web", "/none", "No such file"]);
            host.appc(["-c", "web", "tail", "/etc"]).refuses(1, &["web", "/etc", "not a regular file"]);
        }
        // What is mounted there is not replaced.
        host.appc(["-c", "web", "put", "file", "/etc/hosts"]).refuses(1, &["web", "file", "busy"]);
        host.appc(["-c", "nobody", "fetch", "/etc", "."]).refuses(1, &["nobody"]);
        assert_eq!(host.sh("ls; cat file").succeeds(), "dir\nfile\nx");
        assert_eq!(host.in_container("web", ["ls", "/srv"]).succeeds(), "");
    });
}

#[test]
fn a_disk_that_fills_is_said_and_leaves_no_half_file() {
    in_sandbox(|host| {
        host.start("web");
        let small = host.file("small");
        let _disk = host.small_disk(&small, "2m");
        host.sh_in("web", "head -c 10000000 /dev/zero > /srv/big").succeeds();
        host.sh("echo old > small/big").succeeds();
        host.appc(["-c", "web", "fetch", "/srv/big", "small"]).refuses(1, &["host", "big", "No space left"]);
        assert_eq!(host.sh("ls -A small; cat small/big").succeeds(), "big\nold");
        host.in_container("web", ["true"]).succeeds();
    });
}

#[test]
fn a_copy_that_waits_holds_nobody_up() {
    in_sandbox(|host| {
        host.start("web");
        let mut put = host.spawn("appc", ["-c", "web", "put", "-", "/srv"]);
        let archive = Archive::new().file("one", b"1").file("two", &[2; 300_000]).finish();
        let mut stdin = put.stdin.take().unwrap();
        stdin.write_all(&archive[..100_000]).unwrap();
        // The first file comes before the second is there.
        host.sh_in("web", "until test -e /srv/one; do :; done").succeeds();
        host.appc(["-c", "web", "fetch", "/srv/one", "."]).succeeds();
        host.appc(["-c", "web", "put", "one", "/opt"]).succeeds();
        stdin.write_all(&archive[100_000..]).unwrap();
        drop(stdin);
        put.wait().succeeds();
        assert_eq!(host.sh_in("web", "cat /opt/one; wc -c < /srv/two").succeeds(), "1300000");
    });
}

#[test]
fn tail_shows_the_end_and_what_is_appended_until_the_container_stops() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh_in("web", "seq 1 1000 > log; echo a b > data").succeeds();
        assert_eq!(host.appc(["-c", "web", "tail", "-n", "2", "log"]).succeeds(), "999\n1000");
        assert_eq!(host.appc(["-c", "web", "tail", "/root/data"]).succeeds(), "a b");
        host.appc(["-c", "web", "tail", "-f", "log"]).refuses(1, &["web", "stopped", "start it"]);
        host.appc(["start", "web"]).succeeds();
        let mut tail = host.spawn("appc", ["-c", "web", "tail", "-f", "-n", "1", "log"]);
        tail.read_until("1000\n");
        host.sh_in("web", "echo appended >> log").succeeds();
        assert_eq!(tail.read_until("\n"), b"appended\n");
        host.sh_in("web", "mv log old; echo last >> old; echo new > log").succeeds();
        assert_eq!(tail.read_until("new\n"), b"last\nnew\n");
        // Another one whose reader has gone does not wait for another line.
        host.sh("appc -c web tail -f log | head -n 1").succeeds();
        // Interrupted, it leaves nothing behind; both are in the same container.
        let other = host.spawn("appc", ["-c", "web", "tail", "-f", "log"]);
        other.signal(Signal::INT);
        assert_eq!(other.wait().code, 130);
        host.appc(["stop", "web"]).succeeds();
        assert_eq!(tail.wait().code, 0);
        assert_eq!(fs::read_dir(host.file(".")).unwrap().count(), 0);
    });
}
