//! Containers without a user namespace: all that there is for others is there for them, and a kernel that can't map the ids of
//! layers is enough.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use appcontainers_tests::{Archive, Host, eventually, in_sandbox};
use serde_json::Value;

fn checks(host: &Host) -> Vec<Value> {
    serde_json::from_slice(&host.appc(["--json", "doctor"]).stdout).unwrap()
}

fn check<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check {name}"))
}

fn provision(host: &Host, name: &str) {
    assert_eq!(host.appc(["provision", "--name", name, "--privileged"]).succeeds(), name);
}

/// True on every host: where the kernel can't map ids, that is the one thing that doctor complains of, and what it says to do about it
/// works.
#[test]
fn doctor_says_what_is_missing_and_a_start_says_the_same() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        let found = checks(host);
        let unfit: Vec<_> = found.iter().filter(|check| check["verdict"] == "unfit").collect();
        if check(&found, "id-mapped-layers")["verdict"] == "fit" {
            assert!(unfit.is_empty(), "{unfit:?}");
            host.appc(["provision", "--name", "web"]).succeeds();
            assert_eq!(host.in_container("web", ["echo", "works"]).succeeds(), "works");
            return;
        }
        assert_eq!(unfit.len(), 1, "{unfit:?}");
        assert!(unfit[0]["detail"].as_str().unwrap().contains("Invalid argument"), "{}", unfit[0]);
        let mend = unfit[0]["mend"].as_str().unwrap();
        assert!(
            mend.contains("6.12") && mend.contains("bookworm-backports") && mend.contains("--privileged"),
            "{mend}"
        );
        host.appc(["doctor"]).fails(1);

        let hints = ["cannot map the ids", "appc doctor", "6.12", "--privileged"];
        host.appc(["provision", "--name", "web"]).refuses(1, &hints);
        // Nothing is left of it, not even its name.
        assert!(host.containers().is_empty());
        assert_eq!(host.appc(["gc"]).succeeds(), "");
        provision(host, "web");
        host.appc(["-c", "web", "save-image", "app.aimg"]).succeeds();
        host.appc(["load-image", "app.aimg", "--name", "app"]).refuses(1, &hints);
        host.appc(["run", "--rm", "--image", "app.aimg", "--", "true"]).refuses(125, &hints);
        assert_eq!(host.containers(), ["web"]);
    });
}

#[test]
fn an_app_is_loaded_run_saved_and_run_from_its_file() {
    in_sandbox(|host| {
        provision(host, "web");
        let app = "#!/bin/sh\necho \"serve $*\"; id -u; exit 7\n";
        Archive::new().program("app", app).file("menu", b"tea\n").write(host.file("app.tar"));
        host.appc(["-c", "web", "load-archive", "app.tar"]).succeeds();
        let ran = host.in_container("web", ["./app", "tea"]);
        assert_eq!((ran.code, ran.text()), (7, "serve tea\n0".to_owned()));
        host.sh_in("web", "echo kept > /srv-note; chown 1234 /srv-note").succeeds();
        host.appc(["-c", "web", "save-image", "app.aimg"]).succeeds();

        let ran = host.appc(["run", "--rm", "--privileged", "--image", "app.aimg", "--", "./app", "late"]);
        assert_eq!((ran.code, ran.text()), (7, "serve late\n0".to_owned()));
        assert_eq!(host.appc(["load-image", "app", "--name", "other", "--privileged"]).succeeds(), "other");
        assert_eq!(host.inspect("other")["privileged"], true);
        assert_eq!(host.sh_in("other", "cat /srv-note; stat -c %u /srv-note").succeeds(), "kept\n1234");
        // The option is for the container that the image becomes.
        host.appc(["-c", "web", "run", "--privileged", "--", "true"]).fails(2);
    });
}

#[test]
fn processes_files_output_and_a_killed_monitor_are_as_in_any_container() {
    in_sandbox(|host| {
        provision(host, "web");
        host.appc(["start", "web"]).succeeds();
        fs::write(host.file("note"), "from outside\n").unwrap();
        host.appc(["-c", "web", "put", "note", "/root"]).succeeds();
        host.sh_in("web", "sed -i s/outside/inside/ /root/note").succeeds();
        host.appc(["-c", "web", "fetch", "/root/note", "back"]).succeeds();
        assert_eq!(fs::read_to_string(host.file("back")).unwrap(), "from inside\n");

        host.appc([
            "-c",
            "web",
            "spawn",
            "--",
            "sh",
            "-c",
            "echo begin; until [ -e /root/go ]; do sleep 0.1; done; echo end",
        ])
        .succeeds();
        let monitor = host.monitor("web").unwrap();
        rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
        eventually("the monitor is gone", || (host.monitor("web") != Some(monitor)).then_some(()));
        host.sh_in("web", "touch /root/go").succeeds();
        eventually("its output", || (host.appc(["-c", "web", "logs"]).text().ends_with("begin\nend")).then_some(()));
        let ip = host.inspect("web")["ip"].as_str().unwrap().to_owned();
        assert!(host.sh_in("web", "ip -o addr show eth0").succeeds().contains(&format!("{ip}/32")));
        host.appc(["stop", "web"]).succeeds();
        assert_eq!(host.inspect("web")["status"], "stopped");
        assert_eq!(host.in_container("web", ["cat", "/root/note"]).succeeds(), "from inside");
    });
}

#[test]
fn the_hosts_root_in_a_container_is_confined_all_the_same() {
    in_sandbox(|host| {
        provision(host, "web");
        for line in ["mount -t tmpfs none /mnt", "mknod /root/disk b 254 0", "echo x > /proc/sysrq-trigger", "dmesg -c"]
        {
            let tried = host.sh_in("web", line);
            assert_ne!(tried.code, 0, "{}", tried.transcript());
        }
        let capabilities = host.sh_in("web", "grep CapEff /proc/self/status").succeeds();
        let bits = u64::from_str_radix(capabilities.split_whitespace().nth(1).unwrap(), 16).unwrap();
        assert_eq!(bits & (1 << 21), 0, "CAP_SYS_ADMIN: {capabilities}");
        if fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.trim() == "Y") {
            let profile = host.sh_in("web", "cat /proc/self/attr/current").succeeds();
            assert!(profile.starts_with("lxc-container-default-cgns (enforce)"), "{profile}");
        }
    });
}
