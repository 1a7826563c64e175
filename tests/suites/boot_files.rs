//! Files and variables that a container is given when it is made: `--file`, `--env`, `--env-file`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use appcontainers_tests::{Host, in_sandbox};

fn write(host: &Host, name: &str, text: &str, mode: u32) {
    let path = host.file(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_is_there_before_the_first_start_rendered_and_with_the_asked_owner() {
    in_sandbox(|host| {
        write(host, "app.conf.tera", "listen {{ reservation.ip }}\nname {{ reservation.name }}\n", 0o644);
        write(host, "run.sh", "#!/bin/sh\necho {{ not rendered }}\n", 0o750);
        host.appc([
            "provision",
            "--name",
            "web",
            "--file",
            "app.conf.tera:/etc/app/",
            "--file",
            "app.conf.tera:/etc/app/other.tera:0640:nobody",
            "--file",
            "run.sh:/srv/deep/run:0700:1000:1001",
            "--file",
            "run.sh:/usr/local/bin/run",
        ])
        .succeeds();
        let ip = host.inspect("web")["ip"].as_str().unwrap().to_owned();
        let expected = format!("listen {ip}\nname web");
        assert_eq!(host.in_container("web", ["cat", "/etc/app/app.conf"]).succeeds(), expected);
        assert_eq!(host.in_container("web", ["cat", "/etc/app/other.tera"]).succeeds(), expected);
        assert!(host.in_container("web", ["cat", "/srv/deep/run"]).succeeds().contains("{{ not rendered }}"));
        let status = |path: &str| host.in_container("web", ["stat", "-c", "%a %u:%g", path]).succeeds();
        let nobody = host.sh_in("web", "id -u nobody; id -g nobody").succeeds().replace('\n', ":");
        assert_eq!(status("/etc/app/app.conf"), "644 0:0");
        assert_eq!(status("/etc/app/other.tera"), format!("640 {nobody}"));
        assert_eq!(status("/srv/deep/run"), "700 1000:1001");
        assert_eq!(status("/usr/local/bin/run"), "750 0:0");
        // They are its own: what is written stays, and a fresh layer has them as they were.
        host.sh_in("web", "echo changed > /etc/app/app.conf").succeeds();
        fs::remove_file(host.file("run.sh")).unwrap();
        host.appc(["reboot", "web", "--fresh"]).succeeds();
        assert_eq!(host.in_container("web", ["cat", "/etc/app/app.conf"]).succeeds(), expected);
        assert_eq!(status("/srv/deep/run"), "700 1000:1001");
        // A clone has what became of them, and its fresh layer has them too.
        host.sh_in("web", "echo changed > /etc/app/app.conf").succeeds();
        host.appc(["clone", "web", "copy"]).succeeds();
        assert_eq!(host.in_container("copy", ["cat", "/etc/app/app.conf"]).succeeds(), "changed");
        host.appc(["reboot", "copy", "--fresh"]).succeeds();
        assert_eq!(host.in_container("copy", ["cat", "/etc/app/app.conf"]).succeeds(), expected);
    });
}

#[test]
fn a_directory_is_copied_with_what_is_in_it() {
    in_sandbox(|host| {
        write(host, "site/index.html", "hello", 0o644);
        write(host, "site/conf/name.tera", "{{ reservation.hostname }}", 0o600);
        write(host, "site/bin/tool", "#!/bin/sh\necho tool\n", 0o755);
        host.app_image(|_| {});
        host.appc(["load-image", "app.aimg", "--name", "web", "--file", "site:/srv/www::nobody"]).succeeds();
        let said = host
            .sh_in("web", "cd /srv/www && cat index.html conf/name && bin/tool && stat -c %U index.html")
            .succeeds();
        assert_eq!(said, "hellowebtool\nnobody");
        let done =
            host.appc(["run", "--rm", "--image", "app", "--file", "site:/srv/", "--", "cat", "/srv/site/index.html"]);
        assert_eq!(done.succeeds(), "hello");
    });
}

#[test]
fn what_is_wrong_with_a_file_is_said_before_anything_is_made() {
    in_sandbox(|host| {
        write(host, "a", "x", 0o644);
        write(host, "dir/b", "x", 0o644);
        write(host, "bad.tera", "{{ nothing }}", 0o644);
        write(host, "linked/b", "x", 0o644);
        symlink("/etc/passwd", host.file("linked/link")).unwrap();
        host.sh("mkfifo pipe").succeeds();
        for (word, code, says) in [
            ("a:etc/a", 2, "no path"),
            ("a:/etc/../a", 2, "no path"),
            ("a:/proc/a", 2, "kernel"),
            ("a:/a:0999", 2, "no mode"),
            ("a:/a:7777", 2, "no mode"),
            ("a:/a:644:x:y:z", 2, "no owner"),
            ("a", 2, "SRC:DEST"),
            ("nosuch:/a", 1, "nosuch"),
            ("pipe:/a", 1, "neither a file nor a directory"),
            ("dir:/a:644", 1, "leave the mode out"),
            ("linked:/a", 1, "link"),
        ] {
            let said = host.appc(["provision", "--name", "web", "--file", word]).fails(code);
            assert!(said.contains(says), "{word}: {said}");
        }
        host.appc(["provision", "--name", "web", "--file", "a:/a", "--file", "dir/b:/a"])
            .refuses(1, &["two files", "/a"]);
        assert!(host.containers().is_empty());
        assert!(!host.paths().root().join("containers/web").exists());
        // What only the container or the template can tell takes back what was begun.
        for (word, says) in [("bad.tera:/a", "bad.tera"), ("a:/a::nosuchuser", "nosuchuser"), ("a:/etc", "etc")] {
            host.appc(["provision", "--name", "web", "--file", word]).refuses(1, &[says]);
            assert!(host.containers().is_empty());
        }
        host.appc(["doctor"]).succeeds();
    });
}

#[test]
fn variables_are_the_containers_own_and_come_from_files_the_command_line_and_here() {
    in_sandbox(|host| {
        let text = "# comment\n\n  A=file\nB=\"quoted\" # no comment\nC=\nHERE\nNOWHERE\nD=a=b\n";
        write(host, "app.env", text, 0o644);
        let mut command = host.command("appc");
        command.args([
            "provision",
            "--name",
            "web",
            "--env-file",
            "app.env",
            "-e",
            "A=line",
            "--env",
            "ALSO",
            "-e",
            "NEITHER",
        ]);
        command.env("HERE", "from here").env("ALSO", "also").env_remove("NOWHERE").env_remove("NEITHER");
        host.start_command(command, appcontainers_tests::LIMIT).wait().succeeds();
        let env = host.inspect("web")["config"]["env"].clone();
        let expected = serde_json::json!({
            "A": "line", "B": "\"quoted\" # no comment", "C": "", "HERE": "from here", "ALSO": "also", "D": "a=b"
        });
        assert_eq!(env, expected);
        assert_eq!(host.sh_in("web", "echo $A $B").succeeds(), "line \"quoted\" # no comment");
        host.add_startup_command("web", "echo $HERE > /here");
        host.appc(["start", "web"]).succeeds();
        appcontainers_tests::eventually("the startup command has run", || {
            (host.in_container("web", ["cat", "/here"]).text() == "from here").then_some(())
        });
        host.appc(["stop", "web"]).succeeds();
        // An image has them, and what is loaded may have others.
        host.appc(["-c", "web", "save-image", "app.aimg"]).succeeds();
        let done = host.appc(["run", "--rm", "--image", "app.aimg", "-e", "A=run", "--", "sh", "-c", "echo $A $HERE"]);
        assert_eq!(done.succeeds(), "run from here");
        host.appc(["load-image", "app", "--name", "guest", "-e", "A=guest"]).succeeds();
        assert_eq!(host.sh_in("guest", "echo $A $HERE").succeeds(), "guest from here");
        host.appc(["-c", "guest", "run", "--env-file", "app.env", "--", "sh", "-c", "echo $A"]).succeeds();
        write(host, "bad.env", "A=1\nexport B=2\n", 0o644);
        host.appc(["provision", "--env-file", "bad.env"]).refuses(1, &["bad.env, line 2"]);
        host.appc(["provision", "--env-file", "nosuch.env"]).refuses(1, &["nosuch.env"]);
        host.appc(["provision", "-e", "A=\u{1b}[2J"]).refuses(1, &["control characters"]);
        host.appc(["provision", "-e", "=x"]).fails(2);
        assert_eq!(host.containers(), ["guest", "web"]);
    });
}
