//! Secrets: files that a container has in memory alone, with the asked owner and mode, and that are nowhere else to be found.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use appcontainers_tests::{Archive, Host, LIMIT, eventually, in_sandbox, in_sandbox_for};

/// Keeps a secret of these bytes.
#[track_caller]
fn keep(host: &Host, verb: &str, name: &str, value: &str) {
    let mut command = host.command("appc");
    command.args(["secret", verb, name]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut running = command.spawn().unwrap();
    running.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    assert!(running.wait().unwrap().success(), "{verb} {name}");
}

fn status_of(host: &Host, path: &str) -> String {
    host.in_container("web", ["stat", "-c", "%a %u:%g %s", path]).succeeds()
}

#[test]
fn a_container_has_its_secrets_at_every_start_with_the_asked_owner_and_mode() {
    in_sandbox(|host| {
        keep(host, "create", "db", "hunter2\n");
        fs::write(host.file("key.pem"), "-----KEY-----").unwrap();
        host.appc(["secret", "create", "tls", "key.pem"]).succeeds();
        host.appc([
            "provision",
            "--name",
            "web",
            "--secret",
            "db",
            "--secret",
            "tls:/etc/app/key.pem:0440:nobody:root",
        ])
        .succeeds();
        host.appc(["start", "web"]).succeeds();
        for _ in 0..2 {
            assert_eq!(host.in_container("web", ["cat", "/run/secrets/db"]).succeeds(), "hunter2");
            assert_eq!(status_of(host, "/run/secrets/db"), "400 0:0 8");
            assert_eq!(host.in_container("web", ["cat", "/etc/app/key.pem"]).succeeds(), "-----KEY-----");
            let nobody = host.in_container("web", ["id", "-u", "nobody"]).succeeds();
            assert_eq!(status_of(host, "/etc/app/key.pem"), format!("440 {nobody}:0 13"));
            // A monitor that adopts leaves them, a start gives them again.
            host.kill_monitor("web");
            assert_eq!(host.in_container("web", ["cat", "/run/secrets/db"]).succeeds(), "hunter2");
            host.appc(["restart", "web", "--timeout", "0"]).succeeds();
        }
        let line = host.sh_in("web", "grep secrets /proc/mounts").succeeds();
        for option in ["tmpfs", "ro,", "nosuid", "nodev", "noexec"] {
            assert!(line.contains(option), "{option}: {line}");
        }
        // Others in the container, and the container's root, can't do more than they should.
        let run = |user: &str, line: &str| host.appc(["-c", "web", "run", "-u", user, "--", "sh", "-c", line]);
        run("nobody", "cat /run/secrets/db").fails(1);
        run("nobody", "ls /run/secrets").fails(1);
        run("nobody", "cat /etc/app/key.pem").succeeds();
        for line in
            ["echo x > /run/secrets/db", "rm /run/secrets/db", "touch /run/secrets/x", "echo x > /etc/app/key.pem"]
        {
            assert_ne!(run("root", line).code, 0, "{line}");
        }
        // Nor can the host's own users.
        let shown = host.paths().container_run(&"web".parse().unwrap()).join("secrets");
        assert_eq!(shown.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(shown.metadata().unwrap().uid(), 0);
        host.appc(["stop", "web"]).succeeds();
        eventually("the secrets' file system is gone", || {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            (!mounts.contains(shown.to_str().unwrap())).then_some(())
        });
    });
}

#[test]
fn a_command_that_starts_the_container_finds_them_too_and_so_does_a_new_one_of_an_image() {
    in_sandbox(|host| {
        keep(host, "create", "db", "hunter2");
        host.app_image(|_| {});
        let words = ["run", "--rm", "--image", "app.aimg", "--secret", "db::0444"];
        let done = host.appc(words.into_iter().chain(["--", "cat", "/run/secrets/db"]));
        assert_eq!(done.succeeds(), "hunter2");
        host.appc(["load-image", "app", "--name", "web", "--secret", "db:/secret"]).succeeds();
        assert_eq!(host.in_container("web", ["cat", "/secret"]).succeeds(), "hunter2");
        let found = host.inspect("web");
        assert_eq!(found["secrets"][0]["path"], "/secret", "{found}");
        host.appc(["run", "--secret", "db", "--", "true"]).fails(2);
    });
}

#[test]
fn a_secret_is_rotated_in_all_containers_at_once_and_what_is_open_stays() {
    in_sandbox(|host| {
        keep(host, "create", "db", "old");
        for (name, grant) in [("web", "db"), ("api", "db:/etc/db:0444:root")] {
            host.appc(["provision", "--name", name, "--secret", grant]).succeeds();
            host.appc(["start", name]).succeeds();
        }
        host.appc(["provision", "--name", "stopped", "--secret", "db"]).succeeds();
        let files = [("web", "/run/secrets/db"), ("api", "/etc/db")];
        // A reader that never sees anything but the one or the other, and one that has the old one open.
        let watch = |path: &str| {
            format!(
                "exec 3< {path}; while ! [ -e /tmp/stop ]; do v=$(cat {path}) || echo gone; case $v in old|new) ;; *) echo \"bad $v\";; \
                 esac; done; cat <&3"
            )
        };
        let watchers: Vec<_> = files.iter().map(|(name, path)| (name, host.spawn_in(name, &watch(path)))).collect();
        for round in 0..6 {
            keep(host, "rotate", "db", if round % 2 == 0 { "new" } else { "old" });
        }
        keep(host, "rotate", "db", "new");
        for (name, path) in files {
            assert_eq!(host.in_container(name, ["cat", path]).succeeds(), "new");
        }
        for (name, process) in watchers {
            host.in_container(name, ["touch", "/tmp/stop"]).succeeds();
            host.appc(["-c", name, "wait", &process]).succeeds();
            let said = host.appc(["-c", name, "logs", "--process", &process]).succeeds();
            assert_eq!(said, "old", "what is open stays, and nothing else was seen ({name})");
        }
        assert_eq!(host.in_container("stopped", ["cat", "/run/secrets/db"]).succeeds(), "new");
        let events = host.appc(["events"]).succeeds();
        let count = |name: &str| events.lines().filter(|line| line.contains(&format!("{name} secret-rotate"))).count();
        assert_eq!([count("web"), count("api"), count("stopped")], [7, 7, 0], "{events}");
        let found = host.json(["secret", "inspect", "db"]);
        assert_ne!(found["created"], found["changed"]);
    });
}

#[test]
fn secrets_are_given_and_taken_while_it_runs() {
    in_sandbox(|host| {
        host.start("web");
        for (name, value) in [("db", "one"), ("tls", "two")] {
            keep(host, "create", name, value);
        }
        host.appc(["secret", "grant", "web", "db"]).succeeds();
        host.appc(["secret", "grant", "web", "tls:/srv/deep/key"]).succeeds();
        assert_eq!(host.sh_in("web", "cat /run/secrets/db /srv/deep/key").succeeds(), "onetwo");
        host.appc(["secret", "grant", "web", "db:/x"]).refuses(1, &["web", "db", "revoke"]);
        keep(host, "create", "other", "three");
        for place in ["/run/secrets/db", "/srv/deep/key/below", "/srv/deep"] {
            host.appc(["secret", "grant", "web", &format!("other:{place}")]).refuses(1, &[place]);
        }
        host.appc(["secret", "rm", "db"]).refuses(1, &["db", "web", "revoke"]);
        host.appc(["snapshot", "web", "before"]).succeeds();
        host.appc(["secret", "revoke", "web", "tls"]).succeeds();
        assert_eq!(host.in_container("web", ["cat", "/srv/deep/key"]).succeeds(), "", "only what it was shown over");
        host.appc(["secret", "revoke", "web", "db"]).succeeds();
        host.sh_in("web", "test -e /run/secrets/db").fails(1);
        // Also to a container that is what it was when it had it.
        host.appc(["restore", "web", "before"]).succeeds();
        host.sh_in("web", "test -s /run/secrets/db || test -s /srv/deep/key").fails(1);
        host.appc(["secret", "revoke", "web", "db"]).refuses(1, &["web", "db"]);
        let mounts = host.in_container("web", ["cat", "/proc/mounts"]).succeeds();
        assert!(!mounts.contains("appcontainers"), "{mounts}");
        host.appc(["secret", "rm", "db"]).succeeds();
        assert_eq!(host.json(["secret", "ls"]).as_array().unwrap().len(), 2);
        let events = host.appc(["events"]).succeeds();
        assert!(events.contains("secret-grant") && events.contains("secret-revoke"), "{events}");
    });
}

#[test]
fn grants_follow_a_container_to_another_name_and_go_with_it() {
    in_sandbox(|host| {
        keep(host, "create", "db", "hunter2");
        host.appc(["provision", "--name", "web", "--secret", "db"]).succeeds();
        host.appc(["rename", "web", "shop"]).succeeds();
        assert_eq!(host.in_container("shop", ["cat", "/run/secrets/db"]).succeeds(), "hunter2");
        host.appc(["secret", "rm", "db"]).refuses(1, &["shop"]);
        host.appc(["rm", "shop"]).succeeds();
        host.appc(["secret", "rm", "db"]).succeeds();
    });
}

#[test]
fn a_privileged_container_and_a_bridged_one_have_them_too() {
    in_sandbox(|host| {
        keep(host, "create", "db", "hunter2");
        for (name, option) in [("priv", "--privileged"), ("bridged", "--network=bridge")] {
            host.appc(["provision", "--name", name, option, "--secret", "db"]).succeeds();
            assert_eq!(host.in_container(name, ["cat", "/run/secrets/db"]).succeeds(), "hunter2");
        }
    });
}

/// Where an image has a symbolic link, nothing is put, neither there nor where that leads.
#[test]
fn a_symbolic_link_in_the_image_leads_a_secret_nowhere() {
    in_sandbox(|host| {
        keep(host, "create", "db", "hunter2");
        let outside = host.file("outside");
        fs::create_dir(&outside).unwrap();
        let to = outside.to_str().unwrap();
        host.app_image(|name| {
            let archive = Archive::new()
                .directory("inside")
                .symlink("dir", "/inside")
                .symlink("absolute", to)
                .symlink("up", "../../../../../../../../inside")
                .symlink("file", "/inside/file")
                .symlink("passwd", "/etc/passwd");
            archive.write(host.file("links.tar"));
            host.appc(["-c", name, "load-archive", "links.tar", "--into", "/"]).succeeds();
        });
        for (index, path) in ["/dir/db", "/absolute/db", "/up/db", "/file", "/passwd", "/inside"].iter().enumerate() {
            let name = format!("web{index}");
            host.appc(["load-image", "app.aimg", "--name", &name, "--secret", &format!("db:{path}")]).succeeds();
            host.appc(["start", &name]).refuses(1, &[&name, path, "symbolic link"]);
            assert_eq!(host.status(&name), "stopped");
            host.appc(["secret", "revoke", &name, "db"]).succeeds();
            host.appc(["start", &name]).succeeds();
            host.appc(["secret", "grant", &name, &format!("db:{path}")]).refuses(1, &[&name, path]);
            assert_eq!(host.sh_in(&name, "ls /inside; grep -c root: /etc/passwd").succeeds(), "1");
            assert!(host.inspect(&name)["secrets"].as_array().unwrap().is_empty());
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    });
}

/// All of a process's memory that can be read.
fn memory_has(pid: i32, needle: &[u8]) -> bool {
    let Ok(maps) = fs::read_to_string(format!("/proc/{pid}/maps")) else { return false };
    let Ok(mut memory) = File::open(format!("/proc/{pid}/mem")) else { return false };
    maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with('r'))).any(|line| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|number| u64::from_str_radix(number, 16).unwrap());
        let mut bytes = vec![0; (to - from) as usize];
        // vvar and its like can't be read.
        memory.seek(SeekFrom::Start(from)).is_ok() && memory.read_exact(&mut bytes).is_ok() && has(&bytes, needle)
    })
}

fn has(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Every file below a directory, none of other file systems, whose content has `needle`.
fn files_with(top: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![top.to_owned()];
    let mut looked_at = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let (path, status) = (entry.path(), entry.metadata().unwrap());
            if status.is_dir() {
                if status.dev() == top.metadata().unwrap().dev() {
                    directories.push(path);
                }
            } else if status.is_file() {
                looked_at += 1;
                if fs::read(&path).is_ok_and(|bytes| has(&bytes, needle)) {
                    found.push(path);
                }
            }
        }
    }
    assert!(looked_at > 0, "nothing in {}", top.display());
    found
}

fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id() as i32)
        .collect()
}

#[test]
fn the_text_of_a_secret_is_nowhere_but_in_the_containers_memory() {
    // Put together at run time, so that this program does not have it.
    const HALVES: [&str; 2] = ["correct-horse-", "battery-staple-4711"];
    in_sandbox_for(Duration::from_secs(300), |host| {
        let [first, second] = ["first-", "second-"].map(|which| [which, HALVES[0], HALVES[1]].concat());
        let needle = [HALVES[0], HALVES[1]].concat();
        let needle = needle.as_bytes();
        keep(host, "create", "db", &first);
        host.appc(["provision", "--name", "web", "--secret", "db", "--secret", "db"]).refuses(1, &["db"]);
        host.appc(["provision", "--name", "web", "--secret", "db:/etc/db:0400:root"]).succeeds();
        host.appc(["provision", "--name", "api", "--secret", "db"]).succeeds();
        // Arguments and environments of all that a start runs, also of what lives for a moment.
        let mut command = host.command("strace");
        command.args(["-f", "-o", "trace", "-s", "100000", "-v", "-e", "trace=execve", "appc", "start", "web"]);
        traced(host, command);
        assert!(!has(&fs::read(host.file("trace")).unwrap(), needle));
        for name in ["web", "api"] {
            host.appc(["start", name]).succeeds();
        }
        keep(host, "rotate", "db", &second);
        assert_eq!(host.in_container("web", ["wc", "-c", "/etc/db"]).succeeds(), format!("{} /etc/db", second.len()));
        assert_eq!(host.sh_in("api", "wc -c < /run/secrets/db").succeeds(), second.len().to_string());
        for (name, options) in [("web", &[][..]), ("api", &["--thin"])] {
            let image = format!("{name}.aimg");
            host.appc([&["-c", name, "save-image", &image], options].concat()).succeeds();
        }
        // Saving has put the layers of both into the store: all that is in them, as files.
        fs::create_dir(host.file("unpacked")).unwrap();
        for layer in fs::read_dir(host.paths().layers()).unwrap().flatten() {
            let into = host.file("unpacked").join(layer.file_name());
            host.run("unsquashfs", ["-d".as_ref(), into.as_path(), &layer.path()]).succeeds();
        }
        let diff = host.appc(["-c", "web", "diff"]).succeeds();
        assert!(!has(diff.as_bytes(), needle) && !diff.contains("/run/secrets"), "{diff}");
        // What it was shown over has nothing in it.
        let unpacked = fs::read_dir(host.file("unpacked")).unwrap().flatten();
        let placeholders: Vec<_> = unpacked.filter_map(|layer| layer.path().join("etc/db").metadata().ok()).collect();
        assert!(placeholders.len() == 1 && placeholders[0].len() == 0, "{placeholders:?}");

        for top in [host.paths().root(), host.paths().run(), &host.file("")] {
            assert_eq!(files_with(top, needle), Vec::<PathBuf>::new());
        }
        // The search itself finds what is there.
        let inside = host.paths().container_run(&"web".parse().unwrap()).join("secrets");
        assert_eq!(files_with(&inside, needle).len(), 1);
        assert_eq!(files_with(&inside, first.as_bytes()).len(), 0);
        for name in ["web", "api"] {
            let inspected = host.appc(["inspect", name]).succeeds() + &host.inspect(name).to_string();
            assert!(!has(inspected.as_bytes(), needle));
        }
        let listed = host.appc(["events"]).succeeds() + &host.appc(["secret", "ls"]).succeeds();
        assert!(!has(listed.as_bytes(), needle));
        for pid in processes() {
            for file in ["environ", "cmdline"] {
                let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                assert!(!has(&bytes, needle), "{file} of {pid}: {}", String::from_utf8_lossy(&bytes));
            }
        }
        // The monitors, LXC's monitors, the agents: all that there is but the test itself, which knows the text.
        let [monitor, init] =
            ["monitor", "init"].map(|which| host.recorded_pid("web", which).unwrap().as_raw_nonzero().get());
        let mut looked_at = Vec::new();
        for pid in processes() {
            let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            assert!(!memory_has(pid, needle), "the memory of {}, {pid}", program.display());
            looked_at.push(pid);
        }
        assert!(looked_at.contains(&monitor) && looked_at.contains(&init) && looked_at.len() >= 6, "{looked_at:?}");
        assert!(memory_has(monitor, b"appcontainers"), "the search finds what is there");
    });
}

/// Starts web below strace, and stops it: strace ends with the last of what was started.
fn traced(host: &Host, command: Command) {
    let tracer = host.start_command(command, LIMIT);
    eventually("it runs", || (host.status("web") == "running").then_some(()));
    eventually("it has its secrets", || {
        (host.sh_in("web", "test -s /run/secrets/db || test -s /etc/db").code == 0).then_some(())
    });
    host.appc(["stop", "web", "--timeout", "0"]).succeeds();
    tracer.wait().succeeds();
}

/// The process that decrypts can't be looked into, and leaves no core dump: it says so to the kernel before it reads the key.
#[test]
fn the_process_that_decrypts_forbids_core_dumps_before_it_reads_the_key() {
    in_sandbox(|host| {
        keep(host, "create", "db", "hunter2");
        host.appc(["provision", "--name", "web", "--secret", "db"]).succeeds();
        let mut command = host.command("strace");
        command.args(["-f", "-o", "trace", "-e", "trace=execve,prctl,openat,mlock,madvise", "appc", "start", "web"]);
        traced(host, command);
        let trace = fs::read_to_string(host.file("trace")).unwrap();
        let begin = trace.find("\"secrets\", \"web\"").expect("the process is started");
        let pid = trace[..begin].lines().last().unwrap().split(' ').next().unwrap();
        let own: Vec<_> = trace.lines().filter(|line| line.starts_with(&format!("{pid} "))).collect();
        let at =
            |what: &str| own.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {own:#?}"));
        assert!(at("PR_SET_DUMPABLE, SUID_DUMP_DISABLE") < at("/secrets/key\""));
        assert!(at("MADV_DONTDUMP") > 0 && at("mlock(") > 0);
        // And nobody else reads the key.
        let readers: Vec<_> = trace.lines().filter(|line| line.contains("/secrets/key\"")).collect();
        assert!(readers.iter().all(|line| line.starts_with(&format!("{pid} "))), "{readers:#?}");
    });
}

#[test]
fn the_key_may_be_a_file_elsewhere_or_a_credential_of_systemd() {
    in_sandbox(|host| {
        let elsewhere = host.file("elsewhere.key");
        let with = |variable: &str, value: &Path, words: &[&str]| {
            let mut command = host.command("appc");
            command.args(words).env(variable, value);
            host.start_command(command, LIMIT).wait()
        };
        fs::write(host.file("value"), "hunter2").unwrap();
        let file = |words: &[&str]| with("APPC_SECRET_KEY_FILE", &elsewhere, words);
        file(&["secret", "create", "db", "value"]).succeeds();
        assert_eq!(elsewhere.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(!host.paths().secret_key().exists());
        host.appc(["provision", "--name", "web", "--secret", "db"]).succeeds();
        host.appc(["start", "web"]).refuses(1, &["web", "secrets/key", "APPC_SECRET_KEY_FILE"]);
        file(&["start", "web"]).succeeds();
        assert_eq!(host.in_container("web", ["cat", "/run/secrets/db"]).succeeds(), "hunter2");
        host.appc(["stop", "web"]).succeeds();
        let credentials = host.file("credentials");
        fs::create_dir(&credentials).unwrap();
        fs::rename(&elsewhere, credentials.join("appcontainers-secret-key")).unwrap();
        with("CREDENTIALS_DIRECTORY", &credentials, &["start", "web"]).succeeds();
        assert_eq!(host.in_container("web", ["cat", "/run/secrets/db"]).succeeds(), "hunter2");
        host.appc(["stop", "web"]).succeeds();
        // A link at the usual place is as good.
        std::os::unix::fs::symlink(credentials.join("appcontainers-secret-key"), host.paths().secret_key()).unwrap();
        host.appc(["start", "web"]).succeeds();
    });
}

/// As systemd does: a `/run` that is mounted already stays.
#[test]
fn an_init_of_its_own_finds_the_secrets_in_run() {
    const INIT: &str = "#!/bin/sh\ngrep -q ' /run ' /proc/mounts || mount -t tmpfs tmpfs /run\ncat /run/secrets/db > /root/seen 2>&1\n\
                        trap 'exit 0' PWR USR2\nwhile :; do sleep 600 & wait $!; done\n";
    in_sandbox(|host| {
        keep(host, "create", "db", "hunter2");
        fs::write(host.file("init"), INIT).unwrap();
        let words =
            ["provision", "--name", "os", "--init", "system", "--secret", "db", "--file", "init:/sbin/init:0755"];
        host.appc(words).succeeds();
        host.appc(["start", "os"]).succeeds();
        eventually("its init has seen it", || {
            (host.in_container("os", ["cat", "/root/seen"]).text() == "hunter2").then_some(())
        });
        keep(host, "rotate", "db", "another");
        assert_eq!(host.in_container("os", ["cat", "/run/secrets/db"]).succeeds(), "another");
        // It may mount, and yet not make them writable.
        host.sh_in("os", "mount -o remount,rw,bind,noexec,nosuid,nodev /run/secrets").fails(1);
        host.sh_in("os", "echo x > /run/secrets/db").fails(1);
    });
}
