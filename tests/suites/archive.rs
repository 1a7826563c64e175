//! `appc load-archive`: files come into a container as they were packed, and never anywhere else.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf};

use appcontainers_tests::{Archive, Host, LIMIT, in_sandbox};
use tar::EntryType;

/// A tar of a small program in `app/`, made by the host's tar; `options` choose the compression.
fn pack(host: &Host, name: &str, options: &str) {
    host.sh(&format!(
        "mkdir -p app/data && printf '#!/bin/sh\\ncat $(dirname $0)/data/menu\\n' > app/shop && chmod 755 app/shop
         printf 'espresso\\n' > app/data/menu && ln -sf data/menu app/link && ln -f app/data/menu app/hard
         tar c {options} -f {name} app"
    ))
    .succeeds();
}

#[test]
fn every_compression_is_unpacked_into_the_users_home() {
    in_sandbox(|host| {
        for (name, options) in [
            ("app.tar", ""),
            ("app.tar.gz", "-z"),
            ("app.tar.zst", "--zstd"),
            ("app.tar.xz", "-J"),
            // The content says what it is, not the name.
            ("misnamed.tar.gz", "-J"),
            ("nosuffix", "-z"),
            ("app-v7.tar", "--format=v7"),
            ("app-ustar.tar", "--format=ustar"),
            ("app-pax.tar", "--format=pax"),
            ("app-gnu.tar", "--format=gnu"),
        ] {
            pack(host, name, options);
            let container = format!("c-{}", name.to_lowercase());
            host.provision(&container);
            assert_eq!(host.appc(["-c", &container, "load-archive", name]).succeeds(), "");
            assert_eq!(host.in_container(&container, ["./app/shop"]).succeeds(), "espresso");
            assert_eq!(host.sh_in(&container, "readlink app/link; stat -c %h app/hard").succeeds(), "data/menu\n2");
            host.appc(["rm", &container]).succeeds();
        }
    });
}

#[test]
fn an_unsupported_compression_is_named() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh("printf 'BZh91AY&SY' > app.tar.bz2; head -c 2000 /dev/zero >> app.tar.bz2").succeeds();
        host.appc(["-c", "web", "load-archive", "app.tar.bz2"]).refuses(1, &["app.tar.bz2", "bzip2"]);
    });
}

#[test]
fn standard_input_and_another_directory() {
    in_sandbox(|host| {
        pack(host, "app.tar.gz", "-z");
        host.provision("web");
        host.sh("cat app.tar.gz | appc -c web load-archive - --into /srv").succeeds();
        assert_eq!(host.in_container("web", ["/srv/app/shop"]).succeeds(), "espresso");
        host.appc(["-c", "web", "load-archive", "app.tar.gz", "--into", "/opt/deep/er"]).succeeds();
        assert_eq!(host.in_container("web", ["/opt/deep/er/app/shop"]).succeeds(), "espresso");
        host.sh("appc -c web load-archive - < /dev/null").refuses(1, &["standard input", "empty"]);
    });
}

#[test]
fn the_two_words_of_the_readme_do_it_without_a_name() {
    in_sandbox(|host| {
        pack(host, "app.tar.gz", "-z");
        let name = host.sh("appc provision && appc load-archive app.tar.gz").succeeds();
        assert_eq!(host.in_container(&name, ["./app/shop"]).succeeds(), "espresso");
    });
}

#[test]
fn a_running_container_gets_its_files_too() {
    in_sandbox(|host| {
        pack(host, "app.tar.gz", "-z");
        host.start("web");
        host.appc(["-c", "web", "load-archive", "app.tar.gz"]).succeeds();
        assert_eq!(host.in_container("web", ["./app/shop"]).succeeds(), "espresso");
        assert_eq!(host.inspect("web")["status"], "running");
        // In a stopped one nothing runs afterwards either, and its startup commands did not.
        host.provision("api");
        host.appc(["-c", "api", "startup-command", "add", "echo x > /root/started"]).succeeds();
        host.appc(["-c", "api", "load-archive", "app.tar.gz"]).succeeds();
        assert_eq!(host.inspect("api")["status"], "stopped");
        assert_eq!(host.in_container("api", ["ls", "/root"]).succeeds(), "app");
    });
}

#[test]
fn owners_modes_times_and_kinds_come_as_they_were_packed() {
    in_sandbox(|host| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_path("owned").unwrap();
        header.set_mode(0o4751);
        header.set_uid(1234);
        header.set_gid(4321);
        header.set_mtime(1_234_567_890);
        header.set_size(3);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(b"abc");
        bytes.resize(1024, 0);
        bytes.extend(Archive::new().fifo("pipe").directory("dir").symlink("link", "/nowhere").finish());
        fs::write(host.file("a.tar"), bytes).unwrap();
        host.provision("web");
        host.appc(["-c", "web", "load-archive", "a.tar"]).succeeds();
        let said = host.sh_in("web", "stat -c '%u:%g %a %Y %F' owned pipe dir; readlink link").succeeds();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[0], "1234:4321 4751 1234567890 regular file");
        assert!(lines[1].starts_with("0:0 644 ") && lines[1].ends_with(" fifo"), "{said}");
        assert!(lines[2].starts_with("0:0 755 ") && lines[2].ends_with(" directory"), "{said}");
        assert_eq!(lines[3], "/nowhere");
    });
}

/// A file beside the container's that nothing may touch, and what is said of it.
struct Canary(PathBuf);

impl Canary {
    fn new(host: &Host) -> Self {
        let path = host.file("canary");
        fs::write(&path, "alive").unwrap();
        Self(path)
    }

    #[track_caller]
    fn assert_alive(&self) {
        assert_eq!(fs::read_to_string(&self.0).unwrap(), "alive");
        for path in ["/evil", "/etc/evil", "/tmp/evil", "/root/evil", "/var/evil"] {
            assert!(!fs::exists(path).unwrap(), "{path} was written on the host");
        }
    }
}

#[test]
fn names_that_climb_out_are_refused_and_nothing_is_written() {
    in_sandbox(|host| {
        let canary = Canary::new(host);
        host.provision("web");
        for name in ["../evil", "a/../../evil", "..", "/../evil", "a/..", "./../../../../../../../../etc/evil"] {
            Archive::new().file("good", b"x").file(name, b"x").write(host.file("a.tar"));
            host.appc(["-c", "web", "load-archive", "a.tar"]).refuses(1, &["a.tar", "'..'"]);
        }
        for target in ["../evil", "a/../../evil", "/../etc/passwd"] {
            Archive::new().file("good", b"x").hard_link("link", target).write(host.file("a.tar"));
            host.appc(["-c", "web", "load-archive", "a.tar"]).refuses(1, &["a.tar", "'..'"]);
        }
        // Not even what came before the bad member.
        assert_eq!(host.in_container("web", ["ls", "-A", "/root"]).succeeds(), "");
        canary.assert_alive();
    });
}

#[test]
fn device_nodes_are_refused_and_nothing_is_written() {
    in_sandbox(|host| {
        host.provision("web");
        for (block, major, minor) in [(true, 254, 0), (true, 8, 0), (false, 1, 1), (false, 0, 0), (false, 1, 3)] {
            Archive::new().file("good", b"x").device("evil", block, major, minor).write(host.file("a.tar"));
            host.appc(["-c", "web", "load-archive", "a.tar"]).refuses(1, &["a.tar", "evil", "device"]);
            assert_eq!(host.in_container("web", ["ls", "-A", "/root"]).succeeds(), "");
        }
    });
}

#[test]
fn absolute_names_are_taken_below_the_directory() {
    in_sandbox(|host| {
        let canary = Canary::new(host);
        let own = canary.0.to_str().unwrap().to_owned();
        host.provision("web");
        Archive::new().file("/etc/evil", b"1").file("//tmp//evil", b"2").file(&own, b"3").write(host.file("a.tar"));
        host.appc(["-c", "web", "load-archive", "a.tar"]).succeeds();
        assert_eq!(host.sh_in("web", "cat /root/etc/evil /root/tmp/evil; ls /etc/evil").text(), "12");
        canary.assert_alive();
        host.appc(["-c", "web", "load-archive", "a.tar", "--into", "/"]).succeeds();
        assert_eq!(host.sh_in("web", "cat /etc/evil /tmp/evil").succeeds(), "12");
        canary.assert_alive();
    });
}

#[test]
fn links_in_an_archive_lead_nowhere_outside() {
    in_sandbox(|host| {
        let canary = Canary::new(host);
        host.provision("web");
        let tricks = || -> Vec<(&str, Archive)> {
            vec![
                ("absolute", Archive::new().symlink("l", "/tmp").file("l/evil", b"x")),
                ("climbing", Archive::new().symlink("l", "../../../../../../..").file("l/tmp/evil", b"x")),
                ("chain", Archive::new().symlink("a", "..").symlink("b", "a/..").file("b/tmp/evil", b"x")),
                ("proc", Archive::new().symlink("l", "/proc/1/root/tmp").file("l/evil", b"x")),
                ("itself", Archive::new().symlink("l", "l").file("l/evil", b"x")),
                ("replaced", Archive::new().directory("d").symlink("d", "/tmp").file("d/evil", b"x")),
                ("file", Archive::new().symlink("evil", "/tmp/evil").file("evil", b"x")),
                ("hard link to link", Archive::new().symlink("s", "/etc/passwd").hard_link("h", "s").file("h", b"x")),
                ("hard link", Archive::new().hard_link("h", "/etc/passwd").file("h", b"evil")),
                ("agent", Archive::new().file("/dev/.appc/agent", b"x").file("/dev/.appc/sock/a", b"x")),
            ]
        };
        // Refused or unpacked below the directory: either is fine.
        let load = |into: &[&str]| {
            for (name, archive) in tricks() {
                archive.write(host.file("a.tar"));
                let done = host.appc([&["-c", "web", "load-archive", "a.tar"], into].concat());
                assert!([0, 1].contains(&done.code), "{name}: {}", done.transcript());
                canary.assert_alive();
            }
        };
        load(&[]);
        // The container's own files beside the directory are as they were, too.
        host.in_container("web", ["ls", "/tmp/evil"]).fails(1);
        assert_eq!(host.in_container("web", ["head", "-c", "5", "/etc/passwd"]).succeeds(), "root:");
        load(&["--into", "/"]);
        host.in_container("web", ["true"]).succeeds();
    });
}

#[test]
fn what_is_mounted_in_the_container_stays_as_it_is() {
    in_sandbox(|host| {
        host.start("web");
        let before = host.in_container("web", ["cat", "/etc/hosts"]).succeeds();
        Archive::new().file("etc/hosts", b"evil\n").write(host.file("a.tar"));
        let done = host.appc(["-c", "web", "load-archive", "a.tar", "--into", "/"]);
        assert!([0, 1].contains(&done.code), "{}", done.transcript());
        assert_eq!(host.in_container("web", ["cat", "/etc/hosts"]).succeeds(), before);
        host.in_container("web", ["true"]).succeeds();
    });
}

#[test]
fn an_archive_cut_off_anywhere_changes_nothing() {
    in_sandbox(|host| {
        host.start("web");
        host.sh_in("web", "mkdir app; echo old > app/shop").succeeds();
        for (name, options) in [("a.tar", ""), ("a.tar.gz", "-z"), ("a.tar.zst", "--zstd"), ("a.tar.xz", "-J")] {
            pack(host, name, options);
            let whole = fs::read(host.file(name)).unwrap();
            // A tar's padding may go: 512 bytes of a member are what has to be there.
            let end = if options.is_empty() { whole.iter().rposition(|byte| *byte != 0).unwrap() } else { whole.len() };
            for part in [1, end / 4, end / 2, end - 1] {
                fs::write(host.file("cut"), &whole[..part]).unwrap();
                let done = host.appc(["-c", "web", "load-archive", "cut"]);
                done.refuses(1, &["cut"]);
            }
        }
        assert_eq!(host.sh_in("web", "cat app/shop; ls -A app").succeeds(), "old\nshop");
    });
}

#[test]
fn what_is_no_archive_is_refused() {
    in_sandbox(|host| {
        host.start("web");
        let load = |words: &[&str]| host.appc(["-c", "web", "load-archive", "a"]).refuses(1, words);
        fs::write(host.file("a"), b"").unwrap();
        load(&["a", "empty"]);
        fs::write(host.file("a"), [0; 10240]).unwrap();
        load(&["a", "empty"]);
        fs::write(host.file("a"), b"this is just a text, no archive at all\n".repeat(100)).unwrap();
        load(&["a", "no tar archive"]);
        fs::write(host.file("a"), (0..20000u32).map(|n| ((n * n) >> 3) as u8).collect::<Vec<_>>()).unwrap();
        load(&["a"]);
        host.appc(["-c", "web", "load-archive", "nosuch.tar"]).refuses(1, &["nosuch.tar", "No such file"]);
        host.appc(["-c", "web", "load-archive", "."]).refuses(1, &["."]);
        assert_eq!(host.in_container("web", ["ls", "-A", "/root"]).succeeds(), "");
    });
}

#[test]
fn a_bit_that_flipped_in_a_compressed_archive_is_found_before_anything_is_written() {
    in_sandbox(|host| {
        host.start("web");
        for (name, options) in [("a.tar.gz", "-z"), ("a.tar.xz", "-J"), ("a.tar.zst", "-I 'zstd --check'")] {
            host.sh("mkdir -p app; seq 1 30000 > app/numbers").succeeds();
            host.sh(&format!("tar c {options} -f {name} app")).succeeds();
            let whole = fs::read(host.file(name)).unwrap();
            for part in [3, 2] {
                let mut broken = whole.clone();
                broken[whole.len() / part] ^= 0x10;
                fs::write(host.file("broken"), broken).unwrap();
                host.appc(["-c", "web", "load-archive", "broken"]).refuses(1, &["broken"]);
            }
        }
        assert_eq!(host.in_container("web", ["ls", "-A", "/root"]).succeeds(), "");
    });
}

#[test]
fn a_header_that_lies_is_refused() {
    in_sandbox(|host| {
        host.start("web");
        let good = Archive::new().file("a", &[b'x'; 600]).file("b", b"y").finish();
        for (what, at, byte) in [("checksum", 148, b'7'), ("size", 124, 0xff), ("size", 134, b'9'), ("name", 0, b'q')] {
            let mut bad = good.clone();
            bad[at] = byte;
            fs::write(host.file("a.tar"), bad).unwrap();
            host.appc(["-c", "web", "load-archive", "a.tar"]).refuses(1, &["a.tar"]);
            assert_eq!(host.in_container("web", ["ls", "-A", "/root"]).succeeds(), "", "{what}");
        }
    });
}

/// Where the overlays are is a disk of its own, and small.
#[test]
fn a_disk_that_fills_leaves_the_files_that_were_there_whole() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        let disk = host.small_disk(&host.paths().raw_overlays(), "8m");
        host.provision("web");
        let old = "old\n".repeat(1000);
        Archive::new().file("app/one", old.as_bytes()).file("app/big", old.as_bytes()).write(host.file("old.tar"));
        host.appc(["-c", "web", "load-archive", "old.tar"]).succeeds();
        let new = Archive::new().file("app/one", b"new\n").file("app/big", &vec![b'x'; 20_000_000]);
        new.file("app/after", b"after").write(host.file("new.tar"));
        host.appc(["-c", "web", "load-archive", "new.tar"]).refuses(1, &["app/big", "No space left"]);
        assert_eq!(host.in_container("web", ["cat", "app/big"]).succeeds(), old.trim_end());
        assert_eq!(host.in_container("web", ["ls", "-A", "app"]).succeeds(), "big\none");
        // And there is room again.
        host.sh_in("web", "head -c 4000000 /dev/zero > filler").succeeds();
        host.appc(["rm", "web"]).succeeds();
        drop(disk);
    });
}

#[test]
fn an_archive_of_thousands_of_files_comes_whole() {
    in_sandbox(|host| {
        host.sh("mkdir many; cd many; seq 1 5000 | split -l 1 -a 4; cd ..; tar czf many.tgz many").succeeds();
        host.provision("web");
        host.appc(["-c", "web", "load-archive", "many.tgz"]).succeeds();
        assert_eq!(
            host.sh_in("web", "cat many/* | sort -n | sha256sum").succeeds(),
            host.sh("seq 1 5000 | sha256sum").text()
        );
    });
}

#[test]
fn holes_long_names_and_odd_names_survive() {
    in_sandbox(|host| {
        host.sh(
            "mkdir odd; cd odd; printf 'a' > \"$(printf 'not\\377utf8')\"; printf 'b' > \"$(printf 'line\\nend')\"
             mkdir -p $(printf '%0200d' 1)/$(printf '%0200d' 2); echo deep > $(printf '%0200d' 1)/$(printf '%0200d' 2)/file
             truncate -s 300M sparse; printf end >> sparse; cd ..; tar cSf odd.tar odd",
        )
        .succeeds();
        host.provision("web");
        host.appc(["-c", "web", "load-archive", "odd.tar"]).succeeds();
        let said = host
            .sh_in(
                "web",
                "cd odd; cat \"$(printf 'not\\377utf8')\" \"$(printf 'line\\nend')\"; cat 0*/0*/file; stat -c %s sparse; tail -c 3 sparse; [ $(du -k sparse | cut -f1) -lt 1000 ] && echo holes",
            )
            .succeeds();
        assert_eq!(said, "abdeep\n314572803\nendholes");
    });
}

#[test]
fn the_user_of_the_image_gets_the_files_in_its_own_home() {
    in_sandbox(|host| {
        pack(host, "app.tar.gz", "-z");
        host.provision("web");
        host.appc(["-c", "web", "load-archive", "app.tar.gz", "--into", "~"]).succeeds();
        assert_eq!(host.in_container("web", ["ls", "/root"]).succeeds(), "app");
        host.appc(["-c", "nosuch", "load-archive", "app.tar.gz"]).refuses(1, &["nosuch"]);
        host.appc(["-c", "web", "load-archive", "app.tar.gz", "--into", "/etc/passwd"]).refuses(1, &["/etc/passwd"]);
    });
}

#[test]
fn two_archives_at_once_both_come_whole() {
    in_sandbox(|host| {
        host.sh("for i in 1 2 3 4; do mkdir d$i; seq 1 200000 > d$i/n; tar czf d$i.tgz d$i; done").succeeds();
        host.start("web");
        let load = |n: u32| {
            let mut command = host.command("appc");
            command.args(["-c", "web", "load-archive", &format!("d{n}.tgz")]);
            host.start_command(command, LIMIT)
        };
        let loads: Vec<_> = (1..=4).map(load).collect();
        for load in loads {
            load.wait().succeeds();
        }
        assert_eq!(host.sh_in("web", "cat d*/n | wc -l").succeeds(), "800000");
    });
}
