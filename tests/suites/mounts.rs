//! Files and directories of the host in a container: put there and taken out while it runs, with the container's owners, and
//! nowhere but where they belong.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
};

use appcontainers_tests::{Archive, Host, eventually, in_sandbox, tries};

/// A directory of the host's with files of three owners.
fn site(host: &Host) -> String {
    let site = host.file("site");
    fs::create_dir_all(site.join("sub")).unwrap();
    fs::write(site.join("index"), "hello\n").unwrap();
    fs::write(site.join("sub/of-app"), "app\n").unwrap();
    chown(site.join("sub/of-app"), Some(1000), Some(1001)).unwrap();
    fs::write(site.join("closed"), "secret\n").unwrap();
    fs::set_permissions(site.join("closed"), fs::Permissions::from_mode(0o600)).unwrap();
    site.to_str().unwrap().to_owned()
}

/// The options of the mount at `path`, as the container sees them.
fn options(host: &Host, name: &str, path: &str) -> String {
    let line = format!("grep ' {path} ' /proc/self/mountinfo | cut -d ' ' -f 6");
    host.sh_in(name, &line).succeeds()
}

fn mounts(host: &Host, name: &str) -> Vec<String> {
    let inspected = host.inspect(name);
    inspected["mounts"].as_array().unwrap().iter().map(|mount| mount["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_directory_is_mounted_and_unmounted_while_the_container_runs() {
    in_sandbox(|host| {
        let site = site(host);
        host.start("web");
        let before = host.recorded_pid("web", "init");
        host.appc(["mount", "web", &format!("{site}:/srv/www")]).succeeds();
        // What was missing of the path is the container's root's.
        assert_eq!(host.sh_in("web", "stat -c '%u %g %a' /srv; cat /srv/www/index").succeeds(), "0 0 755\nhello");
        assert!(options(host, "web", "/srv/www").contains("rw,nosuid,nodev"));
        let owners = "cd /srv/www; stat -c '%n %u %g' index sub/of-app; cat closed";
        assert_eq!(host.sh_in("web", owners).succeeds(), "index 0 0\nsub/of-app 1000 1001\nsecret");
        // And in the other direction.
        host.sh_in("web", "cd /srv/www; echo new > new; echo other > other; chown 33:34 other").succeeds();
        let owner =
            |file: &str| fs::metadata(host.file("site").join(file)).map(|file| (file.uid(), file.gid())).unwrap();
        assert_eq!((owner("new"), owner("other")), ((0, 0), (33, 34)));
        assert_eq!(mounts(host, "web"), ["/srv/www"]);
        host.appc(["unmount", "web", "/srv/www"]).succeeds();
        assert_eq!(host.sh_in("web", "ls -A /srv/www").succeeds(), "");
        assert!(mounts(host, "web").is_empty());
        assert_eq!(host.recorded_pid("web", "init"), before);
        host.appc(["unmount", "web", "/srv/www"]).refuses(1, &["no mount at /srv/www", "appc inspect web"]);
        let events = host.appc(["--json", "events"]).succeeds();
        assert!(events.contains("\"mount\"") && events.contains("\"unmount\""), "{events}");
    });
}

#[test]
fn a_mount_is_there_from_the_start_on_and_stays_over_restarts() {
    in_sandbox(|host| {
        let site = site(host);
        fs::write(host.file("conf"), "one\n").unwrap();
        let (dir, file) = (format!("{site}:/srv/www"), "conf:/etc/app/app.conf:ro");
        host.appc(["provision", "--name", "web", "--bind", &dir, "--bind", file]).succeeds();
        host.add_startup_command("web", "cat /srv/www/index /etc/app/app.conf > /root/seen");
        host.appc(["start", "web"]).succeeds();
        let seen = || host.sh_in("web", "cat /root/seen").text() == "hello\none";
        eventually("the first process saw it", || seen().then_some(()));
        host.sh_in("web", "rm /root/seen; echo x > /etc/app/app.conf").fails(1);
        host.appc(["restart", "web"]).succeeds();
        eventually("it is there again", || seen().then_some(()));
        // Another name changes nothing, and what was mounted at the start goes while it runs.
        host.appc(["stop", "web"]).succeeds();
        host.appc(["rename", "web", "shop"]).succeeds();
        host.appc(["start", "shop"]).succeeds();
        assert_eq!(host.sh_in("shop", "cat /etc/app/app.conf").succeeds(), "one");
        host.appc(["unmount", "shop", "/etc/app/app.conf"]).succeeds();
        assert_eq!(host.sh_in("shop", "cat /etc/app/app.conf").succeeds(), "");
        // No file of the mount is the container's: neither in its changes nor in an image.
        let changes = host.appc(["-c", "shop", "diff"]).succeeds();
        assert!(!changes.contains("index") && changes.contains("/srv/www"), "{changes}");
        host.appc(["-c", "shop", "save-image", "shop.aimg"]).succeeds();
        host.appc(["rm", "-f", "shop"]).succeeds();
        assert_eq!(fs::read_to_string(host.file("site/index")).unwrap(), "hello\n");
        host.appc(["load-image", "shop.aimg", "--name", "copy"]).succeeds();
        assert!(mounts(host, "copy").is_empty());
        assert_eq!(host.sh_in("copy", "ls -A /srv/www").succeeds(), "");
    });
}

#[test]
fn files_go_where_a_running_container_would_see_them() {
    in_sandbox(|host| {
        let site = site(host);
        host.appc(["provision", "--name", "web", "--bind", &format!("{site}:/srv/www")]).succeeds();
        fs::write(host.file("late"), "late\n").unwrap();
        host.appc(["-c", "web", "put", "late", "/srv/www/"]).succeeds();
        assert_eq!(fs::read_to_string(host.file("site/late")).unwrap(), "late\n");
        assert_eq!(host.sh("appc -c web fetch /srv/www/index - | tar -xO").succeeds(), "hello");
        assert_eq!(host.status("web"), "stopped");
        // A new writable layer leaves them alone.
        host.appc(["reboot", "--fresh", "web"]).succeeds();
        assert_eq!(host.sh_in("web", "cat /srv/www/late").succeeds(), "late");
    });
}

#[test]
fn read_only_is_read_only_also_for_an_init_that_may_mount() {
    in_sandbox(|host| {
        let site = site(host);
        const INIT: &str = "#!/bin/sh\ntrap 'exit 0' PWR USR2\nwhile :; do sleep 600 & wait $!; done\n";
        host.appc(["provision", "--name", "os", "--init", "system", "--bind", &format!("{site}:/first:ro")]).succeeds();
        fs::write(host.file("init.tar"), Archive::new().program("sbin/init", INIT).finish()).unwrap();
        host.sh("appc -c os put - / < init.tar").succeeds();
        host.appc(["start", "os"]).succeeds();
        host.appc(["mount", "os", &format!("{site}:/later:ro")]).succeeds();
        host.sh_in("os", "mkdir /own && mount -t tmpfs tmpfs /own && mount -o remount,bind,ro /own && mount -o remount,bind,rw /own && umount /own").succeeds();
        for path in ["/first", "/later"] {
            assert!(options(host, "os", path).contains("ro,nosuid,nodev"), "{}", options(host, "os", path));
            for line in [
                format!("echo x > {path}/index"),
                format!("touch {path}/new"),
                format!("chmod 777 {path}"),
                format!("mount -o remount,rw {path}"),
                format!("mount -o remount,bind,rw {path}"),
                format!("mount -o remount,bind,ro,suid {path}"),
                format!("mount -o remount,bind,ro,dev {path}"),
                format!("mkdir -p /other && mount -o bind {path} /other && mount -o remount,bind,rw /other"),
                format!("unshare -m mount -o remount,bind,rw {path}"),
            ] {
                assert_ne!(host.sh_in("os", &line).code, 0, "{line}");
                let _ = host.sh_in("os", "umount /other");
            }
            assert!(options(host, "os", path).contains("ro,nosuid,nodev"));
        }
        assert_eq!(fs::read_to_string(host.file("site/index")).unwrap(), "hello\n");
        // What the container has covered is not mistaken for what was mounted.
        host.sh_in("os", "mount -t tmpfs tmpfs /later").succeeds();
        host.appc(["unmount", "os", "/later"]).refuses(1, &["mounted something over it"]);
        host.sh_in("os", "umount /later").succeeds();
        host.appc(["unmount", "os", "/later"]).succeeds();
        // One that the container has taken away itself is gone, and that is fine.
        host.sh_in("os", "umount /first").succeeds();
        host.appc(["unmount", "os", "/first"]).succeeds();
    });
}

#[test]
fn a_link_at_the_target_is_refused_and_the_host_untouched() {
    in_sandbox(|host| {
        let site = site(host);
        let outside = host.file("outside");
        fs::create_dir(&outside).unwrap();
        host.start("web");
        let links = format!(
            "mkdir -p /srv/real; ln -s {0} /srv/out; ln -s real /srv/near; ln -s /proc/1/root /srv/root; ln -s nowhere /srv/lost",
            outside.display()
        );
        host.sh_in("web", &links).succeeds();
        for path in ["/srv/out", "/srv/near", "/srv/near/x", "/srv/root/tmp", "/srv/lost", "/srv/lost/x"] {
            host.appc(["mount", "web", &format!("{site}:{path}")]).refuses(1, &["is a symbolic link", "/srv/"]);
        }
        assert!(mounts(host, "web").is_empty());
        // Nor at a start.
        host.appc(["stop", "web"]).succeeds();
        host.appc(["mount", "web", &format!("{site}:/srv/out/x")]).succeeds();
        host.appc(["start", "web"]).refuses(1, &["cannot start container web", "/srv/out is a symbolic link"]);
        host.appc(["unmount", "web", "/srv/out/x"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        // A file where a directory has to be.
        host.sh_in("web", "echo x > /srv/file").succeeds();
        host.appc(["mount", "web", &format!("{site}:/srv/file")]).refuses(1, &["no directory"]);
        host.appc(["mount", "web", &format!("{site}/index:/srv/real")]).refuses(1, &["no directory"]);
        host.appc(["mount", "web", &format!("{site}:/srv/file/x")]).refuses(1, &["no directory"]);
    });
}

#[test]
fn links_that_are_swapped_in_meanwhile_lead_nowhere() {
    in_sandbox(|host| {
        let site = site(host);
        let outside = host.file("outside");
        fs::create_dir(&outside).unwrap();
        host.start("web");
        let swap = format!(
            "mkdir -p /srv/a/b; cd /srv; echo ready
             while ! [ -e /tmp/enough ]; do mv a real; ln -s {} a; rm a; ln -s /proc/1/root a; rm a; mv real a; done",
            outside.display()
        );
        let begin = || {
            let mut swapping = host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", &swap]);
            swapping.read_until("ready\n");
            swapping
        };
        let mut swapping = begin();
        let mut codes = [0; 2];
        // As long as none came through, it goes on.
        for round in 0..200 {
            if round >= tries(30) && codes[0] > 0 {
                break;
            }
            let done = host.appc(["mount", "web", &format!("{site}:/srv/a/b")]);
            assert!([0, 1].contains(&done.code), "{}", done.transcript());
            codes[usize::from(done.code != 0)] += 1;
            // It may have been moved from under its name just now.
            let unmount = || host.appc(["unmount", "web", "/srv/a/b"]).code == 0;
            if done.code == 0 && !(0..20).any(|_| unmount()) {
                // For good, where the mount made the `a` that was just missing: what was to be it is in there now.
                host.sh_in("web", "touch /tmp/enough").succeeds();
                swapping.wait().succeeds();
                host.sh_in("web", "find /srv -xdev -type l -exec rm {} +").succeeds();
                host.appc(["restart", "web", "--timeout", "0"]).succeeds();
                assert!(unmount());
                host.sh_in("web", "rm -r /srv/* /tmp/enough").succeeds();
                swapping = begin();
            }
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        }
        assert!(codes[0] > 0, "no mount came through: {codes:?}");
        drop(swapping);
        assert_eq!(host.sh("ls site").succeeds(), "closed\nindex\nsub");
    });
}

#[test]
fn a_source_that_is_gone_or_became_a_link_stops_the_start_and_says_what_to_do() {
    in_sandbox(|host| {
        let site = site(host);
        fs::create_dir(host.file("secret")).unwrap();
        symlink(&site, host.file("link")).unwrap();
        // Links are followed when it is said, and never again.
        host.appc(["provision", "--name", "web", "--bind", "link:/srv/www"]).succeeds();
        assert_eq!(host.inspect("web")["mounts"][0]["bind"], site.as_str());
        fs::remove_file(host.file("link")).unwrap();
        host.appc(["start", "web"]).succeeds();
        host.appc(["stop", "web"]).succeeds();
        fs::rename(host.file("site"), host.file("away")).unwrap();
        let hint = "appc unmount web /srv/www";
        host.appc(["start", "web"]).refuses(1, &["cannot open", "site", hint]);
        symlink(host.file("secret"), host.file("site")).unwrap();
        host.appc(["start", "web"]).refuses(1, &["symbolic link", hint]);
        assert_eq!(host.status("web"), "stopped");
        fs::remove_file(host.file("site")).unwrap();
        fs::rename(host.file("away"), host.file("site")).unwrap();
        host.appc(["start", "web"]).succeeds();
        assert_eq!(host.sh_in("web", "cat /srv/www/index").succeeds(), "hello");
        // A file that was replaced on the host is still the one that goes.
        fs::write(host.file("conf"), "one\n").unwrap();
        host.appc(["mount", "web", "conf:/etc/app.conf"]).succeeds();
        fs::write(host.file("conf.new"), "two\n").unwrap();
        fs::rename(host.file("conf.new"), host.file("conf")).unwrap();
        assert_eq!(host.sh_in("web", "cat /etc/app.conf").succeeds(), "one");
        host.appc(["unmount", "web", "/etc/app.conf"]).succeeds();
        assert_eq!(host.sh_in("web", "cat /etc/app.conf").succeeds(), "");
    });
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    in_sandbox(|host| {
        let site = site(host);
        host.start("web");
        host.appc(["mount", "web", "nowhere:/x"]).refuses(1, &["cannot mount", "nowhere"]);
        host.appc(["mount", "web", "/dev/null:/x"]).refuses(1, &["/dev/null", "device"]);
        host.appc(["provision", "--name", "new", "--bind", "nowhere:/x"]).refuses(1, &["nowhere"]);
        host.appc(["provision", "--name", "new", "--volume", "none:/x"])
            .refuses(1, &["no volume none", "volume create"]);
        let twice = format!("{site}:/x");
        host.appc(["provision", "--name", "new", "--bind", &twice, "--bind", &twice]).refuses(1, &["mount at /x"]);
        assert_eq!(host.containers(), ["web"]);
        host.appc(["mount", "web", &format!("{site}:/x/y")]).succeeds();
        host.appc(["mount", "web", &format!("{site}:/x/y")]).refuses(1, &["has a mount at /x/y"]);
        // It would hide that one.
        host.appc(["mount", "web", &format!("{site}:/x")])
            .refuses(1, &["has a mount at /x/y", "appc unmount web /x/y"]);
        host.appc(["mount", "web", &format!("{site}:/x/y/sub/z")]).succeeds();
        host.appc(["unmount", "web", "/x/y"]).refuses(1, &["/x/y/sub/z"]);
        // In the right order at a start.
        host.appc(["restart", "web"]).succeeds();
        assert_eq!(host.sh_in("web", "cat /x/y/index /x/y/sub/z/index").succeeds(), "hello\nhello");
        // A file system that knows no other ids: the test's /etc is an overlay.
        host.appc(["mount", "web", "/etc/hosts:/srv/hosts"]).refuses(1, &["overlayfs", "--privileged"]);
        host.appc(["provision", "--name", "root", "--privileged"]).succeeds();
        host.appc(["start", "root"]).succeeds();
        host.appc(["mount", "root", "/etc/hosts:/srv/hosts:ro"]).succeeds();
        host.sh_in("root", "echo x >> /srv/hosts").fails(1);
        host.appc(["unmount", "root", "/srv/hosts"]).succeeds();
    });
}

#[test]
fn what_is_unmounted_stays_open_to_who_has_it() {
    in_sandbox(|host| {
        let site = site(host);
        host.start("web");
        host.appc(["mount", "web", &format!("{site}:/srv/www")]).succeeds();
        let line = "cd /srv/www; exec 3>>log; echo ready; while :; do echo tick >&3; sleep 0.05; done";
        let mut ticking = host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", line]);
        ticking.read_until("ready\n");
        host.appc(["unmount", "web", "/srv/www"]).succeeds();
        let length = || fs::metadata(host.file("site/log")).map_or(0, |log| log.len());
        let before = length();
        eventually("it goes on", || (length() > before).then_some(()));
        assert_eq!(host.sh_in("web", "ls -A /srv/www").succeeds(), "");
        drop(ticking);
    });
}

#[test]
fn a_monitor_that_dies_changes_nothing_of_what_is_mounted() {
    in_sandbox(|host| {
        let site = site(host);
        host.appc(["provision", "--name", "web", "--bind", &format!("{site}:/first")]).succeeds();
        host.appc(["start", "web"]).succeeds();
        host.kill_monitor("web");
        host.appc(["mount", "web", &format!("{site}:/later")]).succeeds();
        assert_eq!(host.sh_in("web", "cat /first/index /later/index").succeeds(), "hello\nhello");
        host.appc(["unmount", "web", "/first"]).succeeds();
        assert_eq!(host.sh_in("web", "ls -A /first").succeeds(), "");
    });
}
