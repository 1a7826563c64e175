//! The examples and the demo do what they say, and leave nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use appcontainers::Paths;
use appcontainers_tests::{Archive, Host, LIMIT, eventually, in_sandbox_for};
use serde_json::Value;

/// Building the examples may take a while where nothing has built them yet.
const BUILD_LIMIT: Duration = Duration::from_secs(600);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The program of an example of the library, built if it is not.
fn example(host: &Host, name: &str) -> PathBuf {
    if let Some(program) = host.built_before(name) {
        return program;
    }
    let mut cargo = host.command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo.args(["build", "--quiet", "--locked", "--offline", "-p", "appcontainers", "--message-format=json"]);
    cargo.args(["--example", name]).current_dir(repository());
    let said = host.start_command(cargo, BUILD_LIMIT).wait().succeeds();
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs: Vec<_> =
        messages.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?))).collect();
    programs.into_iter().find(|path| path.ends_with(format!("examples/{name}"))).expect("cargo names the program")
}

/// A command that runs an example beside the programs under test.
fn command(host: &Host, program: &Path) -> Command {
    let mut command = host.command(program.to_str().unwrap());
    command.env("APPC_LIBEXEC", host.programs());
    command
}

/// `app.tar.gz`: a program that installs itself, and that serves what it has installed.
fn archive(host: &Host) {
    let app = "#!/bin/sh\ncase $1 in\ninstall) echo menu > menu;;\nserve) cat menu > served; exec sleep 1000;;\nesac\n";
    Archive::new().program("app", app).write(host.file("app.tar"));
    host.sh("gzip app.tar").succeeds();
}

#[test]
fn the_librarys_examples_build_an_image_and_run_it() {
    in_sandbox_for(BUILD_LIMIT, |host| {
        archive(host);
        let mut build = command(host, &example(host, "build_image"));
        build.args(["app.tar.gz", "./app install", "app.aimg"]);
        let name = host.start_command(build, LIMIT).wait().succeeds();
        assert_eq!(host.containers(), [name.as_str()]);
        assert_eq!(host.in_container(&name, ["cat", "menu"]).succeeds(), "menu");
        host.appc(["rm", &name]).succeeds();

        let run = command(host, &example(host, "run_image"));
        let mut words = vec![format!("APPC_LIBEXEC={}", host.programs().display())];
        words.extend([run.get_program().to_str().unwrap(), "app.aimg", "./app serve"].map(str::to_owned));
        let mut running = host.spawn("env", words);
        let said = String::from_utf8(running.read_until("press Enter to stop it\n")).unwrap();
        let guest = host.json(["ls"])[0].clone();
        let [name, ip, status] = ["name", "ip", "status"].map(|key| guest[key].as_str().unwrap());
        assert_eq!(said, format!("{name} runs at {ip}; press Enter to stop it\n"));
        assert_eq!(status, "running");
        eventually("it serves", || (host.in_container(name, ["cat", "served"]).text() == "menu").then_some(()));
        running.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        assert_eq!(running.wait().succeeds(), "");
        assert!(host.containers().is_empty());
    });
}

#[test]
fn the_librarys_examples_say_what_went_wrong() {
    in_sandbox_for(BUILD_LIMIT, |host| {
        archive(host);
        let [build, run] = ["build_image", "run_image"].map(|name| example(host, name));
        let fails = |program: &Path, arguments: &[&str], words: &str| {
            let mut command = command(host, program);
            command.args(arguments);
            let said = host.start_command(command, LIMIT).wait().fails(1);
            assert!(said.contains(words), "{words} is not in\n{said}");
        };
        fails(&build, &[], "usage: build_image");
        fails(&run, &["app.aimg"], "usage: run_image");
        fails(&run, &["app.aimg", "true"], "app.aimg");
        fails(&build, &["nosuch.tar", "true", "app.aimg"], "nosuch.tar");
        fails(&build, &["app.tar.gz", "exit 3", "app.aimg"], "exit 3");
        assert!(!host.file("app.aimg").exists());
    });
}

/// Runs the demo where nobody else writes: `/tmp`, `/var/lib` and `/run` are empty and its own. Gives what it said.
fn demo(host: &Host, own_network: bool) -> String {
    // Where the empty directories hide nothing: the repository may be below one of them.
    let (script, programs) = (host.file("demo.sh"), host.file("programs"));
    fs::copy(repository().join("examples/demo.sh"), &script).unwrap();
    fs::create_dir(&programs).unwrap();
    for program in ["appc", "appc-monitor", "appc-agent"] {
        fs::copy(host.programs().join(program), programs.join(program)).unwrap();
    }
    let line = "for directory in /tmp /var/lib /run; do mount -t tmpfs -o mode=0755 tmpfs $directory || exit; done
        \"$0\" || exit
        find /tmp /var/lib /run -name '*appcontainers*' > \"$1\"/left
        echo /sys/fs/cgroup/* /sys/fs/cgroup/*/* > \"$1\"/cgroups";
    let mut command = host.command("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", line]).arg(script).arg(host.file(""));
    command.env("APPC_BIN_DIR", programs);
    command.env("HOST", if own_network { "" } else { "1" }).env_remove("APPC_ROOT").env_remove("APPC_RUN");
    let said = host.start_command(command, LIMIT * 2).wait().succeeds();
    assert_eq!(fs::read_to_string(host.file("left")).unwrap(), "");
    let path = |beginning: &str| {
        let at = said.find(beginning).unwrap_or_else(|| panic!("{beginning} is not in\n{said}"));
        let is_end = |character: char| !(character.is_ascii_alphanumeric() || "/.-".contains(character));
        said[at..].split(is_end).next().unwrap().split("/").take(4).collect::<Vec<_>>().join("/")
    };
    let root = path("/var/lib/appcontainers-demo.");
    let tag = Paths::new(&root, "/run").tag();
    assert!(!fs::read_to_string(host.file("cgroups")).unwrap().contains(&tag), "cgroups of {root} are left");
    let backing = |device: fs::DirEntry| fs::read_to_string(device.path().join("loop/backing_file")).ok();
    let files: Vec<_> = fs::read_dir("/sys/block").unwrap().flatten().filter_map(backing).collect();
    assert!(!files.iter().any(|file| file.contains(&root)), "loop devices are left: {files:?}");
    said
}

/// The lines between one line of the demo that begins so and the next of the same kind.
fn part<'a>(said: &'a str, beginning: &str) -> Vec<&'a str> {
    let lines = said.lines().skip_while(|line| !line.starts_with(beginning)).skip(1);
    lines.take_while(|line| !line.starts_with("$ ") && !line.starts_with("# ")).collect()
}

#[test]
fn the_demo_goes_from_nothing_to_an_app_in_one_file_and_leaves_nothing() {
    in_sandbox_for(LIMIT * 3, |host| {
        let said = demo(host, true);
        assert!(said.contains("\n# In a network namespace of its own"), "{said}");
        let served = part(&said, "$ appc run -- ./app/shop");
        assert!(served.iter().any(|line| line.ends_with(" Ada: espresso   2.20")), "{served:?}");
        assert!(part(&said, "$ cat stderr.txt").contains(&"served so far: 3"));
        assert!(part(&said, "$ appc run -- sh -c 'exit 42'").contains(&"exit code 42"));
        assert!(part(&said, "$ appc diff").contains(&"A /root/app/data/ledger.txt"));
        assert_eq!(part(&said, "$ unsquashfs")[0], "squashfs-root");
        assert!(said.contains("\n# Done"), "{said}");
        let interfaces = host.sh("ls /sys/class/net").succeeds();
        assert!(!interfaces.contains("appc"), "{interfaces}");
    });
}

#[test]
fn the_demo_on_the_hosts_own_network_takes_back_what_it_has_changed() {
    in_sandbox_for(LIMIT * 3, |host| {
        let state = || host.sh("ip -o addr; ip route; nft list ruleset; cat /etc/subuid /etc/subgid").succeeds();
        let before = state();
        let said = demo(host, false);
        assert!(said.contains("\n# On this host's own network"), "{said}");
        assert!(said.contains("\n# Done"), "{said}");
        assert_eq!(state(), before);
    });
}

#[test]
fn the_make_targets_that_the_readme_names_are_there() {
    let root = repository();
    let makefile = fs::read_to_string(root.join("Makefile")).unwrap();
    let mut named = vec!["demo".to_owned(), "test".to_owned()];
    for file in ["README.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let words = text.split("make ").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next());
        let commands = text.lines().filter(|line| line.starts_with("    ") || line.contains('`'));
        let is_command = |word: &&str| commands.clone().any(|line| line.contains(&format!("make {word}")));
        named.extend(words.filter(|word| !word.is_empty()).filter(is_command).map(str::to_owned));
    }
    for target in &named {
        assert!(makefile.contains(&format!("\n{target}:")), "no target {target} in the Makefile");
    }
    assert!(named.len() > 3, "{named:?}");
    for target in ["demo", "test"] {
        let done = Command::new("make").args(["-n", target]).current_dir(&root).output().unwrap();
        assert!(done.status.success(), "make -n {target}: {}", String::from_utf8_lossy(&done.stderr));
    }
}
