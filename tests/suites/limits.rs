//! What a container may use of the host: in force from its start, changed while it runs, never lifted from inside.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    time::{Duration, Instant},
};

use appcontainers_tests::{Archive, Host, eventually, in_sandbox, in_sandbox_for, kill_at_each_step};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

const MIB: u64 = 1024 * 1024;

/// What was asked for, and what the kernel says.
fn limits(host: &Host, name: &str) -> (Value, Value) {
    let limits = host.inspect(name)["limits"].clone();
    (limits["asked"].clone(), limits["actual"].clone())
}

#[track_caller]
fn set(host: &Host, name: &str, words: &[&str]) {
    host.appc([&["set", name], words].concat()).succeeds();
}

/// A number out of a file of the container's cgroup, of whichever version the host has: `FILE`, or `FILE WORD` for the number behind
/// a word.
fn counter(host: &Host, name: &str, files: &[(&str, &str)]) -> u64 {
    for (file, word) in files {
        let found = host.cgroup_files(name, &format!("payload/{file}"));
        let text: String = found.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let numbers = text.lines().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok());
        if let Some(number) = numbers.into_iter().next() {
            return number;
        }
    }
    panic!("none of {files:?} is there");
}

fn oom_events(host: &Host) -> Vec<Value> {
    let text = host.appc(["--json", "events"]).succeeds();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["kind"] == "oom").collect()
}

#[test]
fn limits_given_when_it_is_made_are_in_force_and_kept() {
    in_sandbox(|host| {
        let words =
            "memory=64M cpus=0.5 cpuset=0 pids=50 io.read=10M io.write=5M net.egress=1M net.ingress=2M nofile=200";
        let options = words.split(' ').flat_map(|word| ["--limit", word]);
        host.appc(["provision", "--name", "web"].into_iter().chain(options)).succeeds();
        let asked = json!({
            "memory": 64 * MIB, "cpus": 0.5, "cpuset": "0", "pids": 50, "io": {"read": 10 * MIB, "write": 5 * MIB},
            "net": {"egress": MIB, "ingress": 2 * MIB}, "nofile": 200,
        });
        assert_eq!(limits(host, "web"), (asked.clone(), Value::Null));
        host.appc(["start", "web"]).succeeds();
        host.spawn_in("web", "sleep 1000");
        assert_eq!(limits(host, "web"), (asked.clone(), asked.clone()));
        assert_eq!(host.json(["stats", "web"])[0]["memory"]["limit_bytes"], 64 * MIB);
        assert_eq!(host.sh_in("web", "ulimit -n; ulimit -Hn").succeeds(), "200\n200");
        assert_eq!(host.sh_in("web", "grep ^Cpus_allowed_list /proc/self/status").succeeds(), "Cpus_allowed_list:\t0");
        // Those that are changed while it runs are kept as well.
        set(host, "web", &["memory=80M", "cpus=", "net.egress=none", "nofile=300"]);
        host.appc(["restart", "web"]).succeeds();
        host.spawn_in("web", "sleep 1000");
        let (asked, actual) = limits(host, "web");
        assert_eq!(asked, actual);
        assert_eq!((&asked["memory"], &asked["cpus"], &asked["nofile"]), (&json!(80 * MIB), &Value::Null, &json!(300)));
        assert_eq!(asked["net"], json!({"ingress": 2 * MIB}));
    });
}

#[test]
fn an_ephemeral_container_of_run_has_limits_too() {
    in_sandbox(|host| {
        host.provision("web");
        host.appc(["-c", "web", "save-image", "app.aimg"]).succeeds();
        let run = ["run", "--rm", "--image", "app.aimg", "--limit", "nofile=77", "--", "sh", "-c", "ulimit -n"];
        assert_eq!(host.appc(run).succeeds(), "77");
        host.appc(["load-image", "app.aimg", "--name", "api", "--limit", "pids=33"]).succeeds();
        assert_eq!(limits(host, "api").0, json!({"pids": 33}));
        // A limit is said on the host alone: no image has one.
        set(host, "web", &["pids=44"]);
        host.appc(["-c", "web", "save-image", "again.aimg"]).succeeds();
        host.appc(["load-image", "again.aimg", "--name", "copy"]).succeeds();
        assert_eq!(limits(host, "copy").0, json!({}));
        let said = host.appc(["run", "--limit", "pids=33", "--", "true"]).fails(2);
        assert!(said.contains("--image"), "{said}");
    });
}

#[test]
fn who_takes_more_memory_is_killed_and_the_event_names_it() {
    in_sandbox(|host| {
        host.start("web");
        set(host, "web", &["memory=24M"]);
        assert_eq!(host.in_container("web", ["tail", "/dev/zero"]).code, 128 + 9);
        let told = eventually("the event", || oom_events(host).into_iter().next());
        let exited = host.appc(["--json", "events"]).succeeds();
        let exited = exited.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let process =
            exited.filter(|event| event["kind"] == "process-exit").map(|event| event["process"].clone()).next_back();
        assert_eq!((&told["container"], &told["details"]["kills"]), (&json!("web"), &json!(1)));
        assert_eq!(
            (&told["details"]["command"], told["process"].clone()),
            (&json!("tail"), process.unwrap()),
            "{told}"
        );
        assert!(told["details"]["pid"].as_u64().is_some_and(|pid| pid > 1), "{told}");
        // A grandchild is nobody's process, and has a name. The one that waits for it goes on.
        host.sh_in("web", "tail /dev/zero; exit 5").fails(5);
        let told = eventually("another event", || oom_events(host).into_iter().nth(1));
        assert_eq!((&told["details"]["command"], &told["process"]), (&json!("tail"), &Value::Null), "{told}");
        // As soon as it happens: its parent lives, and nothing of ours ends.
        let process = host.spawn_in("web", "(tail /dev/zero); while :; do sleep 1; done");
        let told = eventually("a third event, while its process lives", || oom_events(host).into_iter().nth(2));
        assert_eq!(told["details"]["kills"], 1, "{told}");
        host.appc(["-c", "web", "kill", "-s", "KILL", &process]).succeeds();
        // With room enough nobody is killed.
        set(host, "web", &["memory="]);
        host.sh_in("web", "dd if=/dev/zero of=/dev/null bs=40M count=1").succeeds();
        assert_eq!(oom_events(host).len(), 3);
    });
}

#[test]
fn no_more_processes_than_allowed_are_begun() {
    in_sandbox(|host| {
        host.start("web");
        set(host, "web", &["pids=12"]);
        let many = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do sleep 1000 & done; wait";
        let process = host.spawn_in("web", many);
        host.appc(["-c", "web", "wait", &process]).fails(2);
        let said = host.appc(["-c", "web", "logs", "--process", &process]);
        let said = format!("{}{}", said.text(), String::from_utf8_lossy(&said.stderr));
        assert!(said.contains("fork"), "{said}");
        let used = counter(host, "web", &[("pids.current", "")]);
        assert!(used > 8, "{used}");
        host.appc(["set", "web", "pids=8"]).refuses(1, &["pids=8", &format!("{used} processes"), "keeps its limits"]);
        assert_eq!(limits(host, "web").0, json!({"pids": 12}));
        set(host, "web", &["pids="]);
        let process = host.spawn_in("web", many);
        eventually("all of them run", || (counter(host, "web", &[("pids.current", "")]) > used + 13).then_some(()));
        host.appc(["-c", "web", "kill", "-s", "KILL", &process]).succeeds();
    });
}

#[test]
fn a_busy_loop_gets_its_share_of_a_processor_and_no_more() {
    in_sandbox(|host| {
        host.start("web");
        set(host, "web", &["cpus=0.2"]);
        host.spawn_in("web", "while :; do :; done");
        // In the kernel's own time: how long this takes does not matter.
        let sample = || {
            // A hybrid host counts in version 2's tree, too.
            let used = counter(host, "web", &[("cpu.stat", "usage_usec ")]);
            let periods = counter(host, "web", &[("cpu.stat", "nr_periods ")]);
            let throttled = counter(host, "web", &[("cpu.stat", "nr_throttled ")]);
            (used, periods, throttled)
        };
        let before = sample();
        let after = eventually("twenty periods", || Some(sample()).filter(|after| after.1 >= before.1 + 20));
        let (used, periods) = (after.0 - before.0, after.1 - before.1);
        assert!(after.2 > before.2, "never throttled: {before:?} {after:?}");
        // A period has 100 ms, of which 20 are its own; one more may have begun.
        assert!(used <= (periods + 2) * 20_000 * 13 / 10, "{used} us in {periods} periods");
        set(host, "web", &["cpus="]);
        let freed = sample();
        eventually("more than its share", || (sample().0 > freed.0 + 500_000).then_some(()));
        assert!(sample().2 <= freed.2 + 1, "throttled without a limit");
    });
}

#[test]
fn reading_and_writing_the_disk_takes_its_time() {
    in_sandbox(|host| {
        host.start("web");
        let took = |line: &str| {
            let begun = Instant::now();
            host.sh_in("web", line).succeeds();
            begun.elapsed()
        };
        set(host, "web", &["io.write=1M"]);
        let write = took("dd if=/dev/zero of=/root/file bs=512k count=8 oflag=direct");
        assert!(write >= Duration::from_millis(2500), "4 MiB in {write:?}");
        set(host, "web", &["io.write=none", "io.read=1M"]);
        let read = took("dd if=/root/file of=/dev/null bs=512k iflag=direct");
        assert!(read >= Duration::from_millis(2500), "4 MiB in {read:?}");
        assert_eq!(limits(host, "web").1["io"], json!({"read": MIB}));
        set(host, "web", &["io.read="]);
        assert_eq!(limits(host, "web").1["io"], Value::Null);
    });
}

#[test]
fn a_state_that_is_on_no_disk_has_no_limits_of_one() {
    in_sandbox(|host| {
        let _disk = host.small_disk(host.paths().root(), "64m");
        host.appc(["provision", "--name", "web", "--limit", "io.read=1M"])
            .refuses(1, &["io.read", "tmpfs", "APPC_ROOT"]);
    });
}

/// A container with a server that sends 4 MiB; its address.
fn serving(host: &Host, name: &str) -> String {
    host.provision(name);
    host.sh_in(name, "head -c 4194304 /dev/zero > /srv/file").succeeds();
    host.add_startup_command(name, "exec httpd -f -p 80 -h /srv");
    host.appc(["start", name]).succeeds();
    let ip = host.inspect(name)["ip"].as_str().unwrap().to_owned();
    host.appc(["wait-port", &format!("{name}:80")]).succeeds();
    ip
}

#[test]
fn what_it_sends_and_receives_takes_its_time() {
    in_sandbox(|host| {
        let ip = serving(host, "web");
        let fetch = || {
            let begun = Instant::now();
            let got = host.sh(&format!("busybox wget -q -O - http://{ip}/file | wc -c")).succeeds();
            assert_eq!(got, (4 * MIB).to_string());
            begun.elapsed()
        };
        fetch();
        set(host, "web", &["net.egress=1M"]);
        // A second's worth may come at once.
        let sent = fetch();
        assert!(sent >= Duration::from_secs(2), "4 MiB in {sent:?}");
        assert_eq!(limits(host, "web").1["net"], json!({"egress": MIB}));
        set(host, "web", &["net.egress=none", "net.ingress=1M"]);
        let other = serving(host, "api");
        host.appc(["allow", "web", "api:80"]).succeeds();
        let begun = Instant::now();
        let got = host.sh_in("web", &format!("wget -q -O - http://{other}/file | wc -c")).succeeds();
        assert_eq!(got, (4 * MIB).to_string());
        assert!(begun.elapsed() >= Duration::from_millis(2500), "4 MiB in {:?}", begun.elapsed());
        assert_eq!(limits(host, "web").1["net"], json!({"ingress": MIB}));
        // Both again, and over a restart: nothing of a start is left for the next.
        set(host, "web", &["net.egress=2M"]);
        host.appc(["restart", "web"]).succeeds();
        assert_eq!(limits(host, "web").1["net"], json!({"egress": 2 * MIB, "ingress": MIB}));
        // Whoever flushes the host's rules lets nobody send more.
        host.sh("nft flush ruleset").succeeds();
        host.appc(["ls"]).succeeds();
        assert_eq!(limits(host, "web").1["net"], json!({"egress": 2 * MIB, "ingress": MIB}));
        assert!(limits(host, "api").1["net"].is_null());
        host.appc(["stop", "web"]).succeeds();
        let left = host.run("nft", ["list", "tables"]).succeeds();
        assert!(!left.contains("limits"), "{left}");
    });
}

#[test]
fn open_files_are_limited_for_what_runs_and_what_comes() {
    in_sandbox(|host| {
        let actual = |host: &Host| host.inspect("web")["limits"]["actual"]["nofile"].clone();
        host.start("web");
        // Where none of its commands runs it is what the next one gets.
        let by_default = actual(host);
        assert!(by_default.as_u64() > Some(64), "{by_default}");
        set(host, "web", &["nofile=64"]);
        assert_eq!(actual(host), 64);
        set(host, "web", &["nofile="]);
        assert_eq!(actual(host), by_default);
        let process = host.spawn_in("web", "echo $$; exec sleep 1000");
        let pid = eventually("its pid", || {
            Some(host.appc(["-c", "web", "logs", "--process", &process]).succeeds()).filter(|said| !said.is_empty())
        });
        let of_process = || host.sh_in("web", &format!("grep '^Max open files' /proc/{pid}/limits")).succeeds();
        assert!(of_process().contains(" 1024 "), "{}", of_process());
        set(host, "web", &["nofile=64"]);
        assert_eq!(of_process().split_whitespace().collect::<Vec<_>>()[3..5], ["64", "64"]);
        assert_eq!(host.sh_in("web", "ulimit -n; ulimit -Hn").succeeds(), "64\n64");
        // Root in it can't raise it, nor can a command be given more; less is fine.
        assert_ne!(host.sh_in("web", "ulimit -n 65").code, 0);
        host.appc(["-c", "web", "exec", "--rlimit", "nofile=65", "--", "true"]).refuses(125, &["at most 64"]);
        let less = ["-c", "web", "exec", "--rlimit", "nofile=32", "--", "sh", "-c", "ulimit -n"];
        assert_eq!(host.appc(less).succeeds(), "32");
        let many = "for i in $(seq 3 90); do eval \"exec $i</dev/null\" || exit 9; done";
        assert_ne!(host.sh_in("web", many).code, 0);
        // Who takes the place of the monitor knows it, too.
        kill_process(host.monitor("web").unwrap(), Signal::KILL).unwrap();
        assert_eq!(host.sh_in("web", "ulimit -n").succeeds(), "64");
        set(host, "web", &["nofile="]);
        assert_eq!(host.sh_in("web", "ulimit -n").succeeds(), "1024");
        // Bit 24 is CAP_SYS_RESOURCE: without it nobody raises the limit of what runs.
        let capabilities = host.sh("grep ^CapEff /proc/self/status | cut -f 2").succeeds();
        let may_raise = u64::from_str_radix(&capabilities, 16).unwrap() & (1 << 24) != 0;
        assert!(of_process().contains(if may_raise { " 1024 " } else { " 64 " }), "{}", of_process());
    });
}

#[test]
fn a_limit_below_what_is_used_is_an_error_and_changes_nothing() {
    in_sandbox(|host| {
        host.start("web");
        set(host, "web", &["memory=100M", "pids=100"]);
        // dd fills its buffer and waits for a reader.
        host.spawn_in("web", "dd if=/dev/zero bs=40M count=1 | sleep 1000");
        eventually("40 MiB are used", || {
            (host.json(["stats", "web"])[0]["memory"]["working_set_bytes"].as_u64()? > 40 * MIB).then_some(())
        });
        let before = limits(host, "web");
        // With one that could be set: all or none.
        host.appc(["set", "web", "cpus=1", "pids=90", "memory=20M", "nofile=99"])
            .refuses(1, &["container web keeps its limits", "memory=20M", "bytes that can't be taken back"]);
        assert_eq!(limits(host, "web"), before);
        assert!(oom_events(host).is_empty());
        assert_eq!(host.sh_in("web", "ulimit -n").succeeds(), "1024");
        set(host, "web", &["memory=80M"]);
    });
}

#[test]
fn nonsense_is_refused_before_anything_is_changed() {
    in_sandbox(|host| {
        host.start("web");
        set(host, "web", &["memory=64M"]);
        for (word, says) in [
            ("memory=0", "memory=6M or more"),
            ("memory=-5", "use a number of bytes"),
            ("cpus=-1", "0.01 or more"),
            ("cpuset=x", "as 0 or 0-1,3"),
            ("pids=many", "whole number"),
            ("memroy=1G", "do you mean memory?"),
            ("swap=1G", "there are: memory, cpus"),
        ] {
            let said = host.appc(["set", "web", "pids=77", word]).fails(2);
            assert!(said.contains(says), "{word}: {said}");
        }
        host.appc(["set", "web", "pids=77", "cpuset=0,9999"]).refuses(1, &["no processor 9999", "keeps its limits"]);
        host.appc(["set", "web", "nofile=4000000000"]).refuses(1, &["nobody more than"]);
        host.appc(["set", "ghost", "pids=77"]).refuses(1, &["ghost"]);
        let said = host.appc(["set", "web", "api", "pids=77"]).fails(2);
        assert!(said.contains("one container at a time"), "{said}");
        assert!(host.appc(["set", "web"]).fails(2).contains("nothing to change"));
        assert_eq!(limits(host, "web").0, json!({"memory": 64 * MIB}));
        host.appc(["provision", "--name", "new", "--limit", "cpuset=9999"]).refuses(1, &["no container is made"]);
        assert_eq!(host.containers(), ["web"]);
        // A word without a name means the session's current container.
        set(host, "web", &["memory="]);
        host.appc(["-c", "web", "set", "pids=55"]).succeeds();
        assert_eq!(limits(host, "web").0, json!({"pids": 55}));
    });
}

/// An init that waits.
const INIT: &str = "#!/bin/sh\ntrap 'exit 0' PWR USR2\nwhile :; do sleep 600 & wait $!; done\n";

#[test]
fn an_operating_system_in_a_container_cannot_lift_its_limits() {
    in_sandbox(|host| {
        let words = ["memory=64M", "pids=64", "cpus=0.5", "io.write=1M", "nofile=100", "net.egress=1M"];
        let options = words.into_iter().flat_map(|word| ["--limit", word]);
        host.appc(["provision", "--name", "os", "--init", "system"].into_iter().chain(options)).succeeds();
        fs::write(host.file("init.tar"), Archive::new().program("sbin/init", INIT).finish()).unwrap();
        host.sh("appc -c os put - / < init.tar").succeeds();
        host.appc(["start", "os"]).succeeds();
        host.spawn_in("os", "sleep 1000");
        let (asked, before) = limits(host, "os");
        assert_eq!(asked["memory"], before["memory"]);
        // Its own init has the limit of open files as well, and the agent room for what it does.
        assert!(host.sh_in("os", "grep '^Max open files' /proc/1/limits").succeeds().contains(" 100 "));
        let lift = r#"
            mkdir -p /mnt/2
            mount -t cgroup2 none /mnt/2
            for controller in memory cpu pids blkio cpuset; do
                mkdir -p /mnt/$controller
                # A cgroup of its own for disks would be free of the limit in version 1.
                mount -t cgroup -o $controller none /mnt/$controller && [ $controller = blkio ] && mkdir /mnt/blkio/free && echo free
            done
            mkdir /sys/fs/cgroup/blkio/free && echo free
            for root in /sys/fs/cgroup /mnt; do
                find $root -name '*.max' -o -name '*limit_in_bytes' -o -name '*quota_us' -o -name '*bps_device' |
                while read file; do
                    for value in max -1 1000000000 "254:0 0" "254:0 wbps=max" "max 100000"; do echo "$value" > $file; done
                done
                # And out of the cgroup, upwards.
                find $root -name cgroup.procs | while read file; do echo $$ > $file; echo $$ > ${file%/*}/../cgroup.procs; done
            done
            ulimit -n 4096 && echo more files
        "#;
        let said = host.sh_in("os", lift).text();
        assert!(!said.contains("free") && !said.contains("more files"), "{said}");
        assert_eq!(limits(host, "os"), (asked, before));
        assert_eq!(host.sh_in("os", "tail /dev/zero").code, 128 + 9);
    });
}

#[test]
fn limits_of_a_stopped_container_wait_for_its_start() {
    in_sandbox(|host| {
        host.provision("web");
        set(host, "web", &["pids=40", "memory=50M"]);
        assert_eq!(limits(host, "web"), (json!({"pids": 40, "memory": 50 * MIB}), Value::Null));
        host.appc(["start", "web"]).succeeds();
        let (_, actual) = limits(host, "web");
        assert_eq!((&actual["pids"], &actual["memory"]), (&json!(40), &json!(50 * MIB)));
        let events = host.appc(["events"]).succeeds();
        assert!(events.contains("web limits changes=memory=50M pids=40"), "{events}");
    });
}

#[test]
fn killed_while_it_sets_limits() {
    const OLD: [&str; 4] = ["memory=64M", "pids=64", "net.egress=2M", "nofile=128"];
    const NEW: [&str; 6] = ["set", "web", "memory=48M", "pids=48", "net.egress=1M", "nofile=99"];
    in_sandbox_for(Duration::from_secs(400), |host| {
        host.start("web");
        host.spawn_in("web", "sleep 10000");
        kill_at_each_step(
            host,
            3,
            &NEW,
            |_| set(host, "web", &OLD),
            |step, _| {
                // The next command that has anything to do with its configuration.
                host.appc(["autostart", "web", "off"]).succeeds();
                let (asked, actual) = limits(host, "web");
                for key in ["memory", "pids", "net"] {
                    assert_eq!(asked[key], actual[key], "step {step}: {asked} {actual}");
                }
                let is_new = asked["pids"] == 48;
                let (memory, nofile) = if is_new { (48, 99) } else { (64, 128) };
                assert_eq!((&asked["memory"], &asked["nofile"]), (&json!(memory * MIB), &json!(nofile)), "step {step}");
                assert_eq!(host.sh_in("web", "ulimit -n").succeeds(), nofile.to_string());
            },
        );
    });
}
