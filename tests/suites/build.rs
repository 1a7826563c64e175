//! Building images of app files: steps, layers, the cache, and what becomes of a build that is ended in the middle.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use appcontainers_tests::{Host, LIMIT, clear_up, eventually, in_sandbox, in_sandbox_for, kill_at_each_step};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

/// A test of many commands.
const LONG: Duration = Duration::from_secs(600);

/// Two steps, a copy between them, and a file.
const SHOP: &str = r#"
name = "shop"
startup = ["exec sleep 1000"]

[env]
GREETING = "hello"

[[steps]]
run = "mkdir -p /srv/made && echo one $GREETING > /srv/made/one"

[[steps]]
copy = { from = "site", to = "/srv/site", owner = "1:2" }

[[steps]]
run = """
cat /srv/made/one /srv/site/index > /srv/made/all
rm /srv/made/one
"""

[[files]]
from = "shop.sh"
to = "/usr/local/bin/shop"
mode = "0755"
"#;

/// The app file and what it copies.
fn shop(host: &Host) {
    write(host, "appc.toml", SHOP);
    write(host, "site/index", "index\n");
    write(host, "site/deep/page", "page\n");
    write(host, "shop.sh", "#!/bin/sh\ncat /srv/made/all\n");
}

fn write(host: &Host, name: &str, text: &str) {
    let path = host.file(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Builds, and says of each step whether it was remembered.
#[track_caller]
fn cached(host: &Host, words: &[&str]) -> Vec<bool> {
    steps(&host.json([&["build"], words].concat())).iter().map(|step| step["cached"].as_bool().unwrap()).collect()
}

fn steps(built: &Value) -> Vec<Value> {
    built["steps"].as_array().unwrap().clone()
}

fn layers_of(built: &Value) -> Vec<String> {
    steps(built).iter().map(|step| step["layer"].as_str().unwrap_or("none").to_owned()).collect()
}

fn layer_file(host: &Host, digest: &str) -> PathBuf {
    host.paths().layers().join(format!("{}.sqfs", digest.replace(':', "-")))
}

/// How many containers were ever made.
fn made(host: &Host) -> usize {
    let events = host.appc(["events", "--json"]).succeeds();
    events.lines().filter(|line| line.contains("\"create\"")).count()
}

#[test]
fn an_image_has_what_its_steps_and_copies_made() {
    in_sandbox(|host| {
        shop(host);
        let built = host.json(["build", "-o", "shop.aimg"]);
        assert_eq!(built["image"]["name"], "shop");
        assert_eq!(
            steps(&built).iter().map(|step| step["line"].as_u64().unwrap()).collect::<Vec<_>>(),
            [8, 11, 14, 20]
        );
        assert_eq!(host.containers(), [""; 0]);
        let run = |line: &str| host.appc(["run", "--rm", "--image", "shop", "--", "sh", "-c", line]).succeeds();
        assert_eq!(run("shop; echo $GREETING"), "one hello\nindex\nhello");
        assert_eq!(
            run("ls /srv/made; stat -c '%u:%g' /srv/site/deep/page; stat -c '%u:%g %a' /usr/local/bin/shop"),
            "all\n1:2\n0:0 755"
        );
        let image = host.json(["image", "inspect", "shop.aimg"]);
        assert_eq!(image["config"]["startup_commands"][0], "exec sleep 1000");
        assert_eq!(image["config"]["env"]["GREETING"], "hello");
        // The file has all of it: another installation needs nothing else.
        let elsewhere = host.elsewhere();
        elsewhere.appc(["setup"]).succeeds();
        assert_eq!(
            elsewhere.appc(["run", "--rm", "--image", "shop.aimg", "--", "shop"]).succeeds(),
            "one hello\nindex"
        );
    });
}

#[test]
fn where_nothing_has_changed_no_container_is_started() {
    in_sandbox(|host| {
        shop(host);
        let first = host.json(["build"]);
        assert_eq!(made(host), 1);
        let second = host.json(["build"]);
        assert!(steps(&second).iter().all(|step| step["cached"] == true), "{second}");
        assert_eq!((made(host), &second["image"]), (1, &first["image"]));
        // Times of files that are copied say nothing, and neither does who has them.
        host.sh("touch site/index && chown 7:7 shop.sh").succeeds();
        assert_eq!(cached(host, &[]), [true; 4]);
        // From what has changed on, all is done.
        write(host, "site/index", "other\n");
        assert_eq!(cached(host, &[]), [true, false, false, false]);
        assert_eq!(host.appc(["run", "--rm", "--image", "shop", "--", "shop"]).succeeds(), "one hello\nother");
        write(host, "appc.toml", &SHOP.replace("one $GREETING", "two"));
        assert_eq!(cached(host, &[])[..3], [false, false, false]);
        // What was built before is still remembered.
        write(host, "appc.toml", SHOP);
        write(host, "site/index", "index\n");
        assert_eq!(host.json(["build"])["image"]["name"], "shop");
        assert_eq!(cached(host, &[]), [true; 4]);
        host.sh("chmod 600 site/index").succeeds();
        assert_eq!(cached(host, &[])[..2], [true, false]);
        write(host, "site/new", "");
        assert_eq!(cached(host, &[])[..2], [true, false]);
        assert_eq!(cached(host, &["--no-cache"]), [false; 4]);
        assert_eq!(cached(host, &[]), [true; 4]);
        assert_eq!(host.containers(), [""; 0]);
    });
}

#[test]
fn the_same_inputs_give_the_same_layers_anywhere() {
    in_sandbox(|host| {
        shop(host);
        let elsewhere = host.elsewhere();
        let (one, other) = (host.json(["build"]), elsewhere.json(["build"]));
        assert_eq!(layers_of(&one), layers_of(&other));
        assert_eq!(layers_of(&host.json(["build", "--no-cache"])), layers_of(&one));
        // With a time that is said, the image is of that time, and the same whenever it is built.
        let said = |host: &Host| host.json(["build", "--source-date-epoch", "1700000000"])["image"]["digest"].clone();
        let first = said(host);
        host.appc(["image", "rm", "shop"]).succeeds();
        host.appc(["gc", "--build-cache"]).succeeds();
        assert_eq!(said(host), first);
        let mut command = host.command("appc");
        command.args(["build", "--json"]).env("SOURCE_DATE_EPOCH", "1700000000");
        let by_variable = host.start_command(command, LIMIT).wait().succeeds();
        assert!(by_variable.contains(said(host).as_str().unwrap()), "{by_variable}");
    });
}

#[test]
fn no_time_in_a_layer_is_later_than_what_was_said() {
    in_sandbox(|host| {
        write(
            host,
            "appc.toml",
            "source_date_epoch = 1600000000\n[[steps]]\nrun = 'echo $SOURCE_DATE_EPOCH > /new; touch -d @1234567890 /old'\n",
        );
        let built = host.json(["build", "--tag", "timed"]);
        let listed =
            host.run("unsquashfs", ["-lln", "-UTC", layer_file(host, &layers_of(&built)[0]).to_str().unwrap()]);
        let listed = listed.succeeds();
        let time = |name: &str| {
            let line =
                listed.lines().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("no {name}: {listed}"));
            line.split_whitespace().skip(3).take(2).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(time("/new"), "2020-09-13 12:26");
        assert_eq!(time("squashfs-root"), "2020-09-13 12:26");
        assert_eq!(time("/old"), "2009-02-13 23:31");
        assert_eq!(built["image"]["created"], "2020-09-13T12:26:40Z");
        let new = host.appc(["run", "--rm", "--image", "timed", "--", "cat", "/new"]).succeeds();
        assert_eq!(new, "1600000000");
    });
}

#[test]
fn a_step_that_fails_is_named_and_what_went_before_is_kept() {
    in_sandbox(|host| {
        write(
            host,
            "appc.toml",
            "[[steps]]\nrun = 'echo first'\n\n[[steps]]\nrun = '''\necho said >&2\nfalse\nexit 7\n'''\n",
        );
        let said = host.appc(["build"]).fails(1);
        let last = said.lines().last().unwrap();
        assert_eq!(last, "appc: appc.toml:4: step 2 of 2 failed with exit code 1: run echo said >&2 …");
        assert!(said.contains("\nsaid\n") && said.starts_with("appc: step 1 of 2: run echo first\n"), "{said}");
        assert_eq!(host.containers(), [""; 0]);
        assert_eq!(host.appc(["image", "ls", "--json"]).succeeds(), "[]");
        write(host, "appc.toml", "[[steps]]\nrun = 'echo first'\n\n[[steps]]\nrun = 'exit 7'\n");
        let said = host.appc(["build"]).fails(1);
        assert!(said.contains("step 1 of 2: run echo first (cached)") && said.contains("exit code 7"), "{said}");
        write(host, "appc.toml", "[[steps]]\nrun = 'kill -9 $$'\n");
        assert!(host.appc(["build"]).fails(1).contains("step 1 of 1 was ended by signal 9"));
        write(host, "appc.toml", "[[steps]]\nrun = 'true'\nuser = 'ghost'\n");
        host.appc(["build"]).fails(1);
        write(host, "appc.toml", "[[files]]\nfrom = 'ghost'\nto = '/x'\n");
        let said = host.appc(["build"]).fails(1);
        assert!(
            said.contains("appc.toml:1: step 1 of 1: copy ghost to /x: cannot copy ./ghost: No such file"),
            "{said}"
        );
        write(host, "appc.toml", "[[files]]\nfrom = 'appc.toml'\nto = '/x'\nowner = 'ghost'\n");
        assert!(host.appc(["build"]).fails(1).contains("ghost"));
        write(host, "appc.toml", "base = 'ghost'\n");
        host.appc(["build"]).refuses(1, &["there is no base ghost"]);
        write(host, "appc.toml", "image = './ghost.aimg'\n");
        host.appc(["build"]).refuses(1, &["ghost.aimg"]);
        assert_eq!(host.containers(), [""; 0]);
    });
}

#[test]
fn what_is_wrong_with_the_file_is_said_with_its_place() {
    in_sandbox(|host| {
        for (text, words) in [
            ("name = 'a'\n[[setps]]\n", ["appc.toml:2:3", "`steps`"]),
            ("[[steps]]\nrun = 1\n", ["appc.toml:2:7", "string"]),
            ("[[steps]]\ncopy = { from = '../secret', to = '/x' }\n", ["appc.toml:1:1", "`from`"]),
        ] {
            write(host, "appc.toml", text);
            host.appc(["build"]).refuses(1, &words);
            host.appc(["up"]).refuses(1, &words);
            host.appc(["down"]).refuses(1, &words);
        }
        host.appc(["build", "-f", "missing.toml"]).refuses(1, &["cannot read missing.toml", "No such file"]);
        // Nothing was set up for that.
        assert!(!host.paths().root().exists());
    });
}

#[test]
fn copies_leave_out_what_is_ignored_and_nothing_else() {
    in_sandbox(|host| {
        write(
            host,
            "appc.toml",
            "ignore = ['*.log', '/app/build/', '!keep.log']\n[[steps]]\ncopy = { from = 'app', to = '/app', ignore = ['secret'] }\n",
        );
        for name in ["a.log", "keep.log", "build/x", "src/build/y", "secret", "with space", "ünï"] {
            write(host, &format!("app/{name}"), name);
        }
        host.sh("ln -s /etc/passwd app/link && mkdir app/empty && chmod 4711 app/src/build/y").succeeds();
        host.appc(["build", "--tag", "app"]).succeeds();
        let run = |line: &str| host.appc(["run", "--rm", "--image", "app", "--", "sh", "-c", line]).succeeds();
        let found = run("cd /app && find . | sort");
        let expected =
            [".", "./empty", "./keep.log", "./link", "./src", "./src/build", "./src/build/y", "./with space", "./ünï"];
        assert_eq!(found.lines().collect::<Vec<_>>(), expected);
        assert_eq!(run("readlink /app/link; stat -c %a /app/src/build/y"), "/etc/passwd\n4711");
    });
}

#[test]
fn a_step_without_network_has_none() {
    in_sandbox(|host| {
        write(host, "appc.toml", "[[steps]]\nrun = 'true'\n\n[[steps]]\nrun = 'hostname > /name'\nnetwork = 'none'\n");
        host.appc(["build", "--tag", "offline"]).succeeds();
        let name = host.appc(["run", "--rm", "--image", "offline", "--", "cat", "/name"]).succeeds();
        assert_eq!(name, "build");
        write(host, "appc.toml", "[[steps]]\nrun = 'sleep 1000'\nnetwork = 'none'\n");
        let build = host.spawn("appc", ["build"]);
        let name = eventually("the step runs", || {
            let name = host.containers().into_iter().next()?;
            (host.status(&name) == "running").then_some(name)
        });
        assert_eq!(host.inspect(&name)["network"]["egress"], "none");
        kill_process(build.pid(), Signal::INT).unwrap();
        assert!(build.wait().fails(1).contains("was ended by signal 2"));
        assert_eq!(host.containers(), [""; 0]);
    });
}

#[test]
fn what_a_step_writes_twice_is_a_layer_each_time() {
    in_sandbox(|host| {
        write(
            host,
            "appc.toml",
            "[[steps]]\nrun = 'echo 1 > /f'\n[[steps]]\nrun = 'echo 2 > /f'\n[[steps]]\nrun = 'echo 1 > /f'\n\
             [[steps]]\nrun = 'echo 1 > /f'\n[[steps]]\nrun = 'true'\n",
        );
        let built = host.json(["build", "--tag", "twice"]);
        let layers = layers_of(&built);
        assert_eq!(layers.iter().collect::<BTreeSet<_>>().len(), 4, "{layers:?}");
        assert_eq!(layers[3..], ["none", "none"]);
        assert_eq!(host.appc(["run", "--rm", "--image", "twice", "--", "cat", "/f"]).succeeds(), "1");
        assert_eq!(cached(host, &["--tag", "twice"]), [true; 5]);
        assert_eq!(layers_of(&host.json(["build", "--no-cache"])), layers);
    });
}

#[test]
fn a_cache_that_was_damaged_is_a_step_done_again() {
    in_sandbox(|host| {
        shop(host);
        let built = host.json(["build"]);
        let layers = layers_of(&built);
        let right = |what: &str| {
            let out = host.appc(["run", "--rm", "--image", "shop", "--", "shop"]).succeeds();
            assert_eq!(out, "one hello\nindex", "{what}");
            assert_eq!(cached(host, &[]), [true; 4], "{what}");
            assert_eq!(layers_of(&host.json(["build"])), layers, "{what}");
        };
        let warned = |words: &[&str]| {
            let done = host.appc(["build"]);
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
            done.succeeds();
        };
        // A layer's bytes, of the same length.
        let path = layer_file(host, &layers[0]);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() / 2;
        bytes[last] ^= 0xff;
        fs::write(&path, &bytes).unwrap();
        warned(&["warning", "is damaged", "step 1 of 4: run mkdir -p /srv/made"]);
        right("bytes");
        // Its length.
        fs::OpenOptions::new().append(true).open(&path).unwrap().set_len(4096 * 3).unwrap();
        warned(&["warning", "is damaged"]);
        right("length");
        // The layer itself.
        fs::remove_file(layer_file(host, &layers[1])).unwrap();
        warned(&["warning", "is gone", "step 2 of 4: copy site to /srv/site\n"]);
        right("layer");
        // Only its times: it is read, and is right.
        host.run("touch", [layer_file(host, &layers[1])]).succeeds();
        right("times");
        // What is remembered of steps and of files.
        for entry in fs::read_dir(host.paths().build_cache()).unwrap() {
            fs::write(entry.unwrap().path(), "{\"version\":1,\"layer\":\"nonsense\"").unwrap();
        }
        warned(&["warning", "is not a valid build step's result", "step 1 of 4"]);
        right("entries");
        fs::remove_dir_all(host.paths().build_cache()).unwrap();
        assert_eq!(cached(host, &[]), [false; 4]);
        right("all of it");
        // Damaged with nothing left that could know: the step's own result takes the file's place.
        fs::remove_dir_all(host.paths().build_cache()).unwrap();
        fs::write(&path, &bytes).unwrap();
        let mount = host.paths().layer_mounts();
        host.sh(&format!("umount -l {}/* 2>/dev/null; true", mount.display())).succeeds();
        warned(&["warning", "is damaged: it is replaced"]);
        right("a layer that nobody vouches for");
    });
}

#[test]
fn gc_keeps_what_builds_remember_until_it_is_told() {
    in_sandbox(|host| {
        shop(host);
        host.appc(["build"]).succeeds();
        host.appc(["image", "rm", "shop"]).succeeds();
        assert!(!host.appc(["gc"]).succeeds().contains("layer"));
        assert_eq!(cached(host, &[]), [true; 4]);
        host.appc(["image", "rm", "shop"]).succeeds();
        // What was of no use for 30 days goes.
        host.sh(&format!("touch -d '31 days ago' {}/*", host.paths().build_cache().display())).succeeds();
        let dropped = host.appc(["gc", "--dry-run"]).succeeds();
        assert_eq!(dropped.lines().filter(|line| line.starts_with("layer ")).count(), 4, "{dropped}");
        assert_eq!(cached(host, &[]), [true; 4]);
        host.appc(["image", "rm", "shop"]).succeeds();
        let dropped = host.appc(["gc", "--build-cache"]).succeeds();
        assert_eq!(dropped.lines().filter(|line| line.starts_with("layer ")).count(), 4, "{dropped}");
        assert_eq!(fs::read_dir(host.paths().build_cache()).unwrap().count(), 0);
        assert_eq!(cached(host, &[]), [false; 4]);
        // Layers that the image has stay, whatever is forgotten.
        host.appc(["gc", "--build-cache"]).succeeds();
        host.appc(["run", "--rm", "--image", "shop", "--", "shop"]).succeeds();
    });
}

#[test]
fn builds_at_once_do_not_disturb_each_other() {
    in_sandbox(|host| {
        shop(host);
        host.appc(["setup"]).succeeds();
        let builds: Vec<_> = (0..3).map(|_| host.spawn("appc", ["build"])).collect();
        for build in builds {
            build.wait().succeeds();
        }
        assert_eq!(cached(host, &[]), [true; 4]);
        assert_eq!(host.containers(), [""; 0]);
    });
}

#[test]
fn a_build_that_is_killed_leaves_nothing_and_the_next_goes_on() {
    in_sandbox(|host| {
        write(
            host,
            "appc.toml",
            "[[steps]]\nrun = 'echo 1 > /1'\n[[steps]]\nrun = 'echo 2 > /2; test -e /1 && sleep 1000'\n",
        );
        let build = host.spawn("appc", ["build", "--tag", "killed"]);
        eventually("the second step runs", || {
            let sleeps = Command::new("pgrep").args(["-x", "sleep"]).stdout(Stdio::null()).status().unwrap();
            sleeps.success().then_some(())
        });
        kill_process(build.pid(), Signal::KILL).unwrap();
        build.wait().fails(137);
        let left = host.appc(["gc", "--dry-run"]).succeeds();
        assert!(left.contains("container of a build build-"), "{left}");
        write(host, "appc.toml", "[[steps]]\nrun = 'echo 1 > /1'\n[[steps]]\nrun = 'echo 2 > /2'\n");
        assert_eq!(cached(host, &["--tag", "killed"]), [true, false]);
        // The next build has removed it.
        assert_eq!(host.containers(), [""; 0]);
        clear_up(host);
    });
}

#[test]
fn steps_without_a_user_namespace_give_the_same_layers() {
    in_sandbox(|host| {
        shop(host);
        let built = host.json(["build", "--privileged"]);
        assert_eq!(cached(host, &["--privileged"]), [true; 4]);
        let again = host.json(["build"]);
        assert!(steps(&again).iter().all(|step| step["cached"] == false), "{again}");
        assert_eq!(layers_of(&again), layers_of(&built));
    });
}

#[test]
fn an_image_can_start_from_another_one() {
    in_sandbox(|host| {
        shop(host);
        host.appc(["build", "-o", "shop.aimg"]).succeeds();
        write(
            host,
            "more.toml",
            "name = 'more'\nimage = 'shop'\n[env]\nMORE = 'x'\n[[steps]]\nrun = 'shop > /out; echo $GREETING $MORE >> /out'\n",
        );
        host.appc(["build", "-f", "more.toml"]).succeeds();
        let out = |image: &str| host.appc(["run", "--rm", "--image", image, "--", "cat", "/out"]).succeeds();
        assert_eq!(out("more"), "one hello\nindex\nhello x");
        write(host, "more.toml", "name = 'more'\nimage = './shop.aimg'\n[[steps]]\nrun = 'shop > /out'\n");
        host.appc(["build", "-f", "more.toml"]).succeeds();
        assert_eq!(out("more"), "one hello\nindex");
        assert_eq!(host.json(["image", "inspect", "more"])["base"]["name"], "busybox");
    });
}

#[test]
fn killed_while_it_builds() {
    in_sandbox_for(LONG, |host| {
        shop(host);
        host.appc(["setup"]).succeeds();
        host.appc(["base", "build", "busybox"]).succeeds();
        let mut layers = None;
        kill_at_each_step(
            host,
            17,
            &["build", "--tag", "shop"],
            |_| {
                if !host.json(["image", "ls"]).as_array().unwrap().is_empty() {
                    host.appc(["image", "rm", "shop"]).succeeds();
                }
                host.appc(["gc", "--build-cache"]).succeeds();
            },
            |step, _| {
                // Sometimes gc is first, sometimes the next build.
                if step % 2 == 0 {
                    clear_up(host);
                }
                let built = host.json(["build", "--tag", "shop"]);
                let found = layers_of(&built);
                assert_eq!(layers.get_or_insert_with(|| found.clone()), &found);
                assert_eq!(host.containers(), [""; 0]);
                clear_up(host);
            },
        );
        assert_eq!(host.appc(["run", "--rm", "--image", "shop", "--", "shop"]).succeeds(), "one hello\nindex");
    });
}

#[test]
fn a_full_disk_ends_a_build_and_nothing_is_remembered_wrongly() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        let step = |size: &str| {
            let second = format!("head -c {size} /dev/urandom > /big");
            write(
                host,
                "appc.toml",
                &format!("name = 'full'\n[[steps]]\nrun = 'echo 1 > /1'\n[[steps]]\nrun = '{second}'\n"),
            );
        };
        // Where containers write, and where layers are.
        for place in [host.paths().tmp_overlays(), host.paths().layers()] {
            let disk = host.small_disk(&place, "16m");
            // The directory's mode is another one now.
            host.appc(["setup"]).succeeds();
            step("20000000");
            let said = host.appc(["build"]).fails(1);
            assert!(said.contains("step 2 of 2"), "{said}");
            assert_eq!(host.containers(), [""; 0]);
            // What the build's container had written goes a moment after it.
            clear_up(host);
            step("4000");
            assert_eq!(cached(host, &[]), [true, false]);
            host.appc(["run", "--rm", "--image", "full", "--", "test", "-s", "/big"]).succeeds();
            host.appc(["image", "rm", "full"]).succeeds();
            host.appc(["gc", "--build-cache"]).succeeds();
            host.appc(["base", "rm", "busybox"]).succeeds();
            clear_up(host);
            drop(disk);
        }
    });
}
