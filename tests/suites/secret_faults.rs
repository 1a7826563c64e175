//! What goes wrong with secrets: too large, unknown, damaged, a key that is lost or wrong, a full disk, kill -9 at every step. A
//! container never starts without what it is given, and nobody ever has half of a secret.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use appcontainers_tests::{Host, clear_up, in_sandbox, in_sandbox_for, kill_at_each_step, kill_program_at_each_step};

/// A test of hundreds of commands.
const LONG: Duration = Duration::from_secs(400);

fn keep(host: &Host, verb: &str, name: &str, value: &str) {
    fs::write(host.file("value"), value).unwrap();
    host.appc(["secret", verb, name, "value"]).succeeds();
    fs::remove_file(host.file("value")).unwrap();
}

fn web_with_secret(host: &Host) {
    keep(host, "create", "db", "hunter2");
    host.appc(["provision", "--name", "web", "--secret", "db"]).succeeds();
}

fn secret_files(host: &Host) -> Vec<String> {
    let entries = fs::read_dir(host.paths().secrets()).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_no_secret_or_too_large_is_refused_before_anything_is_made() {
    in_sandbox(|host| {
        fs::write(host.file("large"), vec![b'x'; 1024 * 1024 + 1]).unwrap();
        fs::write(host.file("most"), vec![b'x'; 1024 * 1024]).unwrap();
        fs::write(host.file("empty"), "").unwrap();
        host.appc(["secret", "create", "db", "large"]).refuses(1, &["large", "1048576"]);
        host.appc(["secret", "create", "db", "/dev/zero"]).refuses(1, &["/dev/zero", "1048576"]);
        host.appc(["secret", "create", "db", "empty"]).refuses(1, &["empty"]);
        host.appc(["secret", "create", "db", "nosuch"]).refuses(1, &["nosuch", "No such file"]);
        host.appc(["secret", "create", "db", "."]).refuses(1, &["directory"]);
        assert!(secret_files(host).is_empty());
        host.appc(["secret", "create", "db", "most"]).succeeds();
        host.appc(["secret", "create", "db", "most"]).refuses(1, &["db", "rotate"]);
        host.appc(["secret", "rotate", "nosuch", "most"]).refuses(1, &["nosuch", "create"]);
        for words in [["rm", "nosuch"], ["inspect", "nosuch"]] {
            host.appc(["secret"].into_iter().chain(words)).refuses(1, &["no secret nosuch"]);
        }
        host.appc(["provision", "--name", "web", "--secret", "db", "--secret", "nosuch"])
            .refuses(1, &["nosuch", "create"]);
        host.appc(["provision", "--name", "web", "--secret", "db:/a", "--secret", "db:/b"])
            .refuses(1, &["db", "twice"]);
        assert!(host.containers().is_empty());
        // As large as may be, it arrives whole.
        host.appc(["provision", "--name", "web", "--secret", "db"]).succeeds();
        assert_eq!(host.sh_in("web", "wc -c < /run/secrets/db").succeeds(), "1048576");
    });
}

#[test]
fn an_owner_whom_the_container_does_not_know_stops_its_start() {
    in_sandbox(|host| {
        keep(host, "create", "db", "hunter2");
        for owner in ["nosuchuser", "root:nosuchgroup", "70000:0"] {
            let grant = format!("db:::{owner}");
            host.appc(["provision", "--name", "web", "--secret", &grant]).succeeds();
            host.appc(["start", "web"]).refuses(1, &["web", "db", owner]);
            assert_eq!(host.status("web"), "stopped");
            host.appc(["rm", "web"]).succeeds();
        }
        host.start("web");
        host.appc(["secret", "grant", "web", "db:::nosuchuser"]).refuses(1, &["web", "nosuchuser"]);
        assert!(host.inspect("web")["secrets"].as_array().unwrap().is_empty());
    });
}

#[test]
fn without_the_right_key_no_container_starts_and_the_message_says_which_file() {
    in_sandbox(|host| {
        web_with_secret(host);
        let key = host.paths().secret_key();
        let file = key.to_str().unwrap();
        let right = fs::read(&key).unwrap();
        let start = |words: &[&str]| {
            host.appc(["start", "web"]).refuses(1, words);
            assert_eq!(host.status("web"), "stopped");
        };
        fs::remove_file(&key).unwrap();
        start(&["web", file, "lost", "backup"]);
        keep_fails(host, &[file, "lost"]);
        assert!(!key.exists(), "no other key is made in its place");
        let said = host.appc(["doctor"]).fails(1);
        assert!(said.is_empty() || said.contains("secrets"), "{said}");
        for (bad, word) in [("", "64"), ("what is this", "64"), ("zz".repeat(32).as_str(), "64")] {
            fs::write(&key, bad).unwrap();
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
            start(&[file, word]);
        }
        fs::write(&key, "ab".repeat(32)).unwrap();
        start(&[file, "not the key of secret db", "backup"]);
        fs::write(&key, &right).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        start(&[file, "0644", "chmod 600"]);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        host.appc(["doctor"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        // One that runs goes on without the key, and may be stopped.
        fs::remove_file(&key).unwrap();
        assert_eq!(host.in_container("web", ["cat", "/run/secrets/db"]).succeeds(), "hunter2");
        host.appc(["stop", "web"]).succeeds();
        // Without it the secret can still be taken from the container and removed.
        host.appc(["secret", "revoke", "web", "db"]).succeeds();
        host.appc(["secret", "rm", "db"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        keep(host, "create", "db", "another");
    });
}

#[track_caller]
fn keep_fails(host: &Host, words: &[&str]) {
    fs::write(host.file("other"), "x").unwrap();
    host.appc(["secret", "create", "other", "other"]).refuses(1, words);
    host.appc(["secret", "rotate", "db", "other"]).refuses(1, words);
}

#[test]
fn a_damaged_secret_stops_the_start_and_is_mended_by_its_value() {
    in_sandbox(|host| {
        web_with_secret(host);
        keep(host, "create", "other", "swapped");
        let [file, other] = ["db", "other"].map(|name| host.paths().secrets().join(format!("{name}.secret")));
        let whole = fs::read(&file).unwrap();
        let changed = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        };
        let last = whole.len() - 1;
        for bytes in [
            Vec::new(),
            whole[..last].to_vec(),
            changed(last),
            changed(last - 20),
            changed(0),
            fs::read(&other).unwrap(),
        ] {
            fs::write(&file, bytes).unwrap();
            host.appc(["start", "web"])
                .refuses(1, &["web", "secret db is damaged", file.to_str().unwrap(), "rotate db"]);
            assert_eq!(host.status("web"), "stopped");
        }
        keep(host, "rotate", "db", "mended");
        assert_eq!(host.in_container("web", ["cat", "/run/secrets/db"]).succeeds(), "mended");
        fs::write(&file, String::from_utf8_lossy(&whole).replacen("\"version\":1", "\"version\":2", 1).as_bytes())
            .unwrap();
        host.appc(["start", "web"]).refuses(1, &["version 2", "newer"]);
        fs::remove_file(&file).unwrap();
        host.appc(["start", "web"]).refuses(1, &["web", "no secret db"]);
        assert_eq!(host.appc(["secret", "revoke", "web", "db"]).code, 0);
    });
}

#[test]
fn a_full_disk_leaves_the_secret_as_it_was() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        let disk = host.small_disk(&host.paths().secrets(), "64k");
        fs::write(host.file("large"), vec![b'x'; 100_000]).unwrap();
        host.appc(["secret", "create", "big", "large"]).refuses(1, &["big.secret", "No space left"]);
        keep(host, "create", "db", "hunter2");
        host.appc(["provision", "--name", "web", "--secret", "db"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        host.appc(["secret", "rotate", "db", "large"]).refuses(1, &["db.secret", "No space left"]);
        assert_eq!(host.in_container("web", ["cat", "/run/secrets/db"]).succeeds(), "hunter2");
        host.appc(["restart", "web", "--timeout", "0"]).succeeds();
        assert_eq!(host.in_container("web", ["cat", "/run/secrets/db"]).succeeds(), "hunter2");
        assert_eq!(secret_files(host), ["db.secret", "key"], "a temporary file was left");
        host.appc(["rm", "-f", "web"]).succeeds();
        drop(disk);
    });
}

#[test]
fn killed_while_it_makes_a_secret() {
    in_sandbox_for(LONG, |host| {
        host.appc(["setup"]).succeeds();
        fs::write(host.file("value"), "hunter2").unwrap();
        kill_at_each_step(
            host,
            1,
            &["secret", "create", "db", "value"],
            |_| {},
            |_, _| {
                clear_up(host);
                // Whole or absent, and with the key.
                if host.json(["secret", "ls"]).as_array().unwrap().is_empty() {
                    host.appc(["secret", "create", "db", "value"]).succeeds();
                }
                assert_eq!(secret_files(host), ["db.secret", "key"]);
                assert_eq!(host.json(["secret", "inspect", "db"])["bytes"], 7);
                host.appc(["secret", "rm", "db"]).succeeds();
                fs::remove_file(host.paths().secret_key()).unwrap();
            },
        );
    });
}

#[test]
fn killed_while_it_rotates_or_removes_a_secret() {
    in_sandbox_for(LONG, |host| {
        web_with_secret(host);
        host.appc(["provision", "--name", "api", "--secret", "db:/etc/db"]).succeeds();
        for name in ["web", "api"] {
            host.appc(["start", name]).succeeds();
        }
        fs::write(host.file("new"), "new").unwrap();
        kill_at_each_step(
            host,
            2,
            &["secret", "rotate", "db", "new"],
            |_| keep(host, "rotate", "db", "old"),
            |_, _| {
                // The next command of a container completes it: all have what is kept.
                clear_up(host);
                let values = [("web", "/run/secrets/db"), ("api", "/etc/db")]
                    .map(|(name, path)| host.in_container(name, ["cat", path]).succeeds());
                let kept = if host.json(["secret", "inspect", "db"])["bytes"] == 3 {
                    values[0].clone()
                } else {
                    String::new()
                };
                assert!(["old", "new"].contains(&kept.as_str()), "{kept}");
                assert_eq!(values[0], values[1]);
                // As after a start, which reads what is kept.
                host.appc(["restart", "web", "--timeout", "0"]).succeeds();
                assert_eq!(host.in_container("web", ["cat", "/run/secrets/db"]).succeeds(), kept);
            },
        );
        for name in ["web", "api"] {
            host.appc(["secret", "revoke", name, "db"]).succeeds();
        }
        kill_at_each_step(
            host,
            1,
            &["secret", "rm", "db"],
            |_| {
                if host.json(["secret", "ls"]).as_array().unwrap().is_empty() {
                    keep(host, "create", "db", "again");
                }
            },
            |_, _| {
                clear_up(host);
                assert!(secret_files(host).iter().all(|name| ["db.secret", "key"].contains(&name.as_str())));
            },
        );
    });
}

#[test]
fn killed_while_it_gives_a_secret_to_a_running_container() {
    in_sandbox_for(LONG, |host| {
        keep(host, "create", "db", "hunter2");
        host.start("web");
        let has_it = || !host.inspect("web")["secrets"].as_array().unwrap().is_empty();
        let agree = |_: usize, _: &_| {
            clear_up(host);
            // What its configuration says and what it has are one.
            let seen = host.sh_in("web", "cat /etc/db").text();
            assert_eq!(seen, if has_it() { "hunter2" } else { "" });
        };
        kill_at_each_step(
            host,
            1,
            &["secret", "grant", "web", "db:/etc/db"],
            |_| {
                if has_it() {
                    host.appc(["secret", "revoke", "web", "db"]).succeeds();
                }
            },
            agree,
        );
        kill_at_each_step(
            host,
            1,
            &["secret", "revoke", "web", "db"],
            |_| {
                if !has_it() {
                    host.appc(["secret", "grant", "web", "db:/etc/db"]).succeeds();
                }
            },
            agree,
        );
    });
}

/// The process that decrypts and writes, which no command is: the next command has another one do what it did not.
#[test]
fn killed_while_it_writes_secrets_into_a_container() {
    in_sandbox_for(LONG, |host| {
        for (name, value) in [("db", "hunter2"), ("tls", "certificate")] {
            keep(host, "create", name, value);
        }
        host.appc(["provision", "--name", "web", "--secret", "db", "--secret", "tls:/etc/tls:0444:nobody"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        let copy =
            "for name in db tls; do cp root/secrets/$name.secret next && mv next root/secrets/$name.secret; done";
        kill_program_at_each_step(
            host,
            1,
            "appc-monitor",
            &["secrets", "web"],
            // The same values in other files: for whoever compares, they were rotated.
            |_| drop(host.sh(&format!("ln -sfn {} root; {copy}", host.paths().root().display())).succeeds()),
            |_, _| {
                // Before anybody has done it again.
                let init = host.recorded_pid("web", "init").unwrap().as_raw_nonzero();
                let seen = host.sh(&format!("cat /proc/{init}/root/run/secrets/db /proc/{init}/root/etc/tls"));
                assert_eq!(seen.succeeds(), "hunter2certificate");
                clear_up(host);
                assert_eq!(host.sh_in("web", "cat /run/secrets/db /etc/tls").succeeds(), "hunter2certificate");
            },
        );
        host.appc(["secret", "revoke", "web", "tls"]).succeeds();
        assert_eq!(host.in_container("web", ["cat", "/etc/tls"]).succeeds(), "", "nothing is left beneath");
    });
}
