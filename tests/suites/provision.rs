//! `appc provision`: a container of one's own from nothing, with a name, an address and files that nobody else has.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::HashSet, fs, os::unix::fs::PermissionsExt};

use appcontainers_tests::{Archive, Host, in_sandbox};

#[test]
fn a_fresh_host_needs_no_other_command() {
    in_sandbox(|host| {
        let done = host.appc(["provision"]);
        let name = done.succeeds();
        // The name alone, so that a script can take it.
        assert_eq!(name.lines().count(), 1);
        assert_eq!(host.containers(), std::slice::from_ref(&name));
        assert_eq!(host.in_container(&name, ["cat", "/etc/hostname"]).succeeds(), name);
        let found = host.inspect(&name);
        for field in ["ip", "mac", "id_range", "hostname", "created"] {
            assert!(!found[field].is_null(), "{field}: {found}");
        }
    });
}

#[test]
fn names_are_checked_before_anything_is_made() {
    in_sandbox(|host| {
        for name in ["Web", "../x", "a/b", "", ".a", "-a", "a b", "a\nb", "ä", &"x".repeat(64), "_a"] {
            host.appc(["provision", "--name", name]).fails(2);
        }
        for hostname in ["a_b", "-a", "", "a..b", &"x".repeat(300), "a\u{7}"] {
            host.appc(["provision", "--hostname", hostname]).fails(2);
        }
        assert!(!host.paths().root().exists());
        for name in ["0", "a", "a.b-c_d", &"x".repeat(63)] {
            host.provision(name);
        }
        assert_eq!(host.inspect("a.b-c_d")["hostname"], "a-b-c-d");
    });
}

#[test]
fn a_name_that_is_taken_is_refused_and_its_container_goes_on() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh_in("web", "echo mine > file").succeeds();
        host.appc(["provision", "--name", "web"]).refuses(1, &["web"]);
        assert_eq!(host.in_container("web", ["cat", "file"]).succeeds(), "mine");
        assert_eq!(host.containers(), ["web"]);
    });
}

#[test]
fn a_base_that_is_not_there_is_named_with_what_to_do() {
    in_sandbox(|host| {
        host.appc(["provision", "--base", "nosuch"]).refuses(1, &["nosuch", "appc base"]);
        host.appc(["base", "build", "nosuch"]).refuses(1, &["nosuch"]);
        assert!(host.containers().is_empty());
        host.appc(["doctor"]).succeeds();
    });
}

#[test]
fn the_host_name_is_the_one_that_was_asked_for() {
    in_sandbox(|host| {
        host.appc(["provision", "--name", "web", "--hostname", "shop-7"]).succeeds();
        assert_eq!(host.sh_in("web", "hostname; cat /etc/hostname").succeeds(), "shop-7\nshop-7");
        let hosts = host.in_container("web", ["cat", "/etc/hosts"]).succeeds();
        let ip = host.inspect("web")["ip"].as_str().unwrap().to_owned();
        assert!(hosts.lines().any(|line| line.starts_with(&ip) && line.contains("shop-7")), "{hosts}");
        assert!(hosts.contains("127.0.0.1"), "{hosts}");
    });
}

#[test]
fn a_privileged_container_is_warned_about() {
    in_sandbox(|host| {
        let done = host.appc(["provision", "--name", "web", "--privileged"]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.succeeds(), "web");
        assert!(said.contains("warning") && said.contains("root"), "{said}");
        assert_eq!(host.inspect("web")["privileged"], true);
        assert!(host.inspect("web")["id_range"].is_null());
        assert_eq!(host.sh_in("web", "cat /proc/self/uid_map | tr -s ' '").succeeds().trim(), "0 0 4294967295");
        let done = host.appc(["provision", "--name", "api"]);
        assert_eq!(done.stderr, b"", "{}", done.transcript());
    });
}

#[test]
fn the_sessions_current_container_is_the_one_provisioned_last() {
    in_sandbox(|host| {
        host.appc(["run", "--", "true"]).refuses(125, &["appc provision"]);
        host.provision("one");
        host.provision("two");
        let done = host.appc(["run", "--", "hostname"]);
        assert!(String::from_utf8_lossy(&done.stderr).contains("container two"), "{}", done.transcript());
        assert_eq!(done.succeeds(), "two");
        // Named, it is not said.
        let done = host.sh("APPC_CONTAINER=one appc run -- hostname");
        assert_eq!((done.text().as_str(), done.stderr.as_slice()), ("one", &b""[..]));
        assert_eq!(host.sh("APPC_CONTAINER=one appc -c two run -- hostname").text(), "two");
        // A session of another terminal has one of its own.
        let other =
            host.sh("exec setsid --wait sh -c 'appc run -- true; appc provision --name three; appc run -- hostname'");
        assert!(String::from_utf8_lossy(&other.stderr).contains("no current one"), "{}", other.transcript());
        assert_eq!(other.text(), "three\nthree");
        assert_eq!(host.appc(["run", "--", "hostname"]).succeeds(), "two");
        // One that is gone is nobody's.
        host.appc(["rm", "two"]).succeeds();
        host.appc(["run", "--", "true"]).refuses(125, &["no current one"]);
    });
}

/// `sudo` gives each command a session of its own: stood in for by a program of its name that does so.
#[test]
fn a_command_behind_sudo_belongs_to_the_callers_session() {
    in_sandbox(|host| {
        fs::write(host.file("sudo.c"), "").unwrap();
        let sudo = host.file("bin/sudo");
        fs::create_dir(host.file("bin")).unwrap();
        // A shell under another name: its process is called sudo.
        fs::copy("/bin/sh", &sudo).unwrap();
        fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).unwrap();
        let behind = |line: &str| host.run(sudo.to_str().unwrap(), ["-c", &format!("setsid --wait {line}; exit $?")]);
        assert_eq!(behind("appc provision --name web").succeeds(), "web");
        assert_eq!(behind("appc run -- hostname").succeeds(), "web");
        assert_eq!(host.appc(["run", "--", "hostname"]).succeeds(), "web");
    });
}

#[test]
fn forty_provisions_at_once_on_a_fresh_host_share_nothing() {
    in_sandbox(|host| {
        let start = |_| {
            let mut command = host.command("appc");
            command.arg("provision");
            host.start_command(command, appcontainers_tests::LIMIT)
        };
        let running: Vec<_> = (0..40).map(start).collect();
        let names: HashSet<_> = running.into_iter().map(|provision| provision.wait().succeeds()).collect();
        assert_eq!(names.len(), 40);
        let listing = host.json(["ls"]);
        for field in ["name", "ip", "mac", "id_range"] {
            let values: HashSet<_> = listing.as_array().unwrap().iter().map(|one| one[field].to_string()).collect();
            assert_eq!(values.len(), 40, "{field} is not unique");
        }
        host.appc(["doctor"]).succeeds();
    });
}

#[test]
fn an_exhausted_network_is_said_and_what_is_removed_comes_free() {
    in_sandbox(|host| {
        host.appc(["setup", "--subnet", "10.77.0.0/29"]).succeeds();
        let mut count = 0;
        let refused = loop {
            let done = host.appc(["provision", "--name", &format!("c{count}")]);
            if done.code != 0 {
                break done;
            }
            count += 1;
            assert!(count < 7, "a /29 has six addresses, and the gateway holds one");
        };
        assert_eq!(count, 5);
        refused.refuses(1, &["10.77.0.0/29"]);
        assert_eq!(host.containers().len(), 5);
        let ip = host.inspect("c2")["ip"].clone();
        host.appc(["rm", "c2"]).succeeds();
        host.provision("again");
        assert_eq!(host.inspect("again")["ip"], ip);
        host.in_container("again", ["true"]).succeeds();
    });
}

fn skeleton(host: &Host, path: &str, content: &str) {
    let path = host.paths().skeletons().join("user").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn skeletons_of_the_three_phases_come_when_they_should() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        skeleton(host, "provision/etc/who.tera", "{{ reservation.name }} at {{ reservation.ip }}\n");
        skeleton(host, "provision/etc/plain", "{{ not a template }}\n");
        skeleton(host, "load/etc/loaded.tera", "loaded {{ reservation.name }}\n");
        skeleton(host, "start/etc/motd.tera", "hello from {{ reservation.hostname }}\n");
        host.provision("web");
        let ip = host.inspect("web")["ip"].as_str().unwrap().to_owned();
        let said = host.sh_in("web", "cat /etc/who /etc/plain /etc/motd; ls /etc/loaded 2>/dev/null").text();
        assert_eq!(said, format!("web at {ip}\n{{{{ not a template }}}}\nhello from web"));
        // What starts show is never in the container's own files, and can't be written.
        host.sh_in("web", "echo x > /etc/motd").fails(1);
        host.sh_in("web", "echo x > /etc/hosts").fails(1);
        let changed = host.appc(["diff", "web"]).succeeds();
        assert!(changed.contains("A /etc/who") && !changed.contains("A /etc/hosts"), "{changed}");
        assert!(!changed.lines().any(|line| line.ends_with("/etc/motd") && host.sh("true").code != 0), "{changed}");
        // What was provisioned is the container's, to be changed and saved; what was loaded comes new.
        host.sh_in("web", "echo mine > /etc/who").succeeds();
        host.appc(["-c", "web", "save-image", "web.aimg"]).succeeds();
        let upper = host.json(["image", "inspect", "web.aimg"])["layers"][1]["offset"].to_string();
        let listed = host.run("unsquashfs", ["-o", &upper, "-l", "web.aimg"]).succeeds();
        for absent in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
            assert!(!listed.contains(absent), "{absent} is in the image: {listed}");
        }
        let name = host.appc(["load-image", "web.aimg"]).succeeds();
        let said = host.sh_in(&name, "cat /etc/who /etc/loaded /etc/motd").succeeds();
        assert_eq!(said, format!("mine\nloaded {name}\nhello from {name}"));
    });
}

/// As images of hosts with systemd-resolved have it: what the link leads to is not there.
#[test]
fn what_a_start_shows_covers_links_and_the_image_keeps_them() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        skeleton(host, "start/etc/resolv.conf", "nameserver 192.0.2.53\n");
        skeleton(host, "start/etc/linked/word", "shown\n");
        let links = |resolv_conf| {
            let archive = Archive::new().directory("srv").file("srv/word", b"of the image\n");
            archive.symlink("etc/linked", "/srv").symlink("etc/resolv.conf", resolv_conf).write(host.file("links.tar"));
        };
        for (n, resolv_conf) in ["../run/systemd/resolve/stub-resolv.conf", "/etc/passwd", "."].iter().enumerate() {
            let (name, saved) = (format!("web{n}"), format!("saved{n}.aimg"));
            links(resolv_conf);
            host.provision(&name);
            host.appc(["-c", &name, "load-archive", "links.tar", "--into", "/"]).succeeds();
            let upper = || host.sh(&format!("cd {}/{name}/upper && find . -ls", host.paths().raw_overlays().display()));
            let (before, changed) = (upper().succeeds(), host.appc(["diff", &name]).succeeds());
            host.appc(["-c", &name, "save-image", "before.aimg"]).succeeds();

            host.appc(["start", &name]).succeeds();
            assert_eq!(host.in_container(&name, ["cat", "/etc/resolv.conf"]).stdout, b"nameserver 192.0.2.53\n");
            assert_eq!(host.in_container(&name, ["cat", "/srv/word"]).stdout, b"shown\n");
            host.sh_in(&name, "grep -q ^root: /etc/passwd; test ! -L /etc/resolv.conf").succeeds();
            host.sh_in(&name, "echo x > /etc/resolv.conf").fails(1);
            host.sh_in(&name, "rm /etc/resolv.conf").fails(1);
            host.appc(["-c", &name, "save-image", &saved]).succeeds();
            assert_eq!((upper().succeeds(), host.appc(["diff", &name]).succeeds()), (before, changed));
            let layers = |file: &str| host.json(["image", "inspect", file])["layers"].clone();
            assert_eq!(layers("before.aimg"), layers(&saved));
            // And where the link comes from a layer.
            let loaded = host.appc(["load-image", &saved, "--name", &format!("loaded{n}")]).succeeds();
            assert_eq!(host.in_container(&loaded, ["cat", "/etc/resolv.conf"]).stdout, b"nameserver 192.0.2.53\n");
            assert_eq!(host.appc(["diff", &loaded]).succeeds(), "");
        }
    });
}

#[test]
fn a_broken_template_stops_a_provision_and_leaves_nothing() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        skeleton(host, "provision/etc/bad.tera", "fine\n{{ reservation.nosuch }}\n");
        host.appc(["provision", "--name", "web"]).refuses(1, &["bad.tera"]);
        assert!(host.containers().is_empty());
        skeleton(host, "provision/etc/bad.tera", "{% if %}");
        host.appc(["provision", "--name", "web"]).refuses(1, &["bad.tera"]);
        skeleton(host, "provision/etc/bad.tera", "{{ get_env(name=\"PATH\") }}{% include \"/etc/shadow\" %}");
        host.appc(["provision", "--name", "web"]).refuses(1, &["bad.tera"]);
        fs::remove_file(host.paths().skeletons().join("user/provision/etc/bad.tera")).unwrap();
        host.provision("web");
        assert_eq!(host.appc(["gc"]).succeeds(), "");
    });
}

#[test]
fn a_renamed_container_keeps_all_but_its_name() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh_in("web", "echo mine > file").succeeds();
        let before = host.inspect("web");
        host.appc(["rename", "web", "shop"]).succeeds();
        let after = host.inspect("shop");
        for field in ["ip", "mac", "id_range", "created", "layers"] {
            assert_eq!(after[field], before[field], "{field}");
        }
        assert_eq!(host.containers(), ["shop"]);
        assert_eq!(host.in_container("shop", ["cat", "file"]).succeeds(), "mine");
        host.in_container("web", ["true"]).refuses(125, &["web"]);
        host.provision("web");
        host.appc(["rename", "web", "shop"]).refuses(1, &["shop"]);
        host.appc(["rename", "nosuch", "other"]).refuses(1, &["nosuch"]);
        assert_eq!(host.containers(), ["shop", "web"]);
    });
}
