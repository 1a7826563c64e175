//! What `stats` and `top` say that containers use, beside what the kernel says.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, time::Duration};

use appcontainers_tests::{Host, Running, allowed, eventually, in_sandbox};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What `appc stats` says of one container.
fn stats(host: &Host, name: &str) -> Value {
    host.json(["stats", name])[0].clone()
}

/// One of its numbers, by its path: `/memory/working_set_bytes`.
#[track_caller]
fn number(stats: &Value, path: &str) -> u64 {
    let value = stats.pointer(path).unwrap_or_else(|| panic!("no {path} in {stats}"));
    value.as_u64().unwrap_or_else(|| panic!("{path} is no number: has this host the controller? {stats}"))
}

/// A line of shell that goes on in the container until the handle goes.
fn beside(host: &Host, name: &str, line: &str) -> Running {
    host.spawn("appc", ["-c", name, "run", "--", "sh", "-c", line])
}

fn end(program: Running) {
    program.signal(Signal::TERM);
    let _ = program.wait();
}

#[test]
fn a_busy_loop_shows_as_cpu_of_its_own_container_only() {
    in_sandbox(|host| {
        host.start("idle");
        host.start("busy");
        let program = beside(host, "busy", "while :; do :; done");
        let used = |name: &str| number(&stats(host, name), "/cpu/usage_ns");
        let (busy, idle) = (used("busy"), used("idle"));
        let grown = eventually("a second of processor time", || {
            Some(used("busy") - busy).filter(|grown| *grown > 1_000_000_000)
        });
        // Its start has cost the idle one something, too: on a slow host not little.
        assert!(used("idle") - idle < grown / 2, "{idle} {} {grown}", used("idle"));
        // `top` measures what is used now, and sorts by it.
        let usages = eventually("the busy one is at work", || {
            let usages = host.json(["top", "--once"]);
            (usages[0]["name"] == "busy").then_some(usages)
        });
        let percent = |at: usize| usages[at]["rates"]["cpu_percent"].as_f64().unwrap();
        assert!(percent(0) > 5.0 && percent(0) < 250.0 && percent(1) < percent(0), "{usages}");
        assert_eq!(usages.as_array().unwrap().len(), 2);
        assert_eq!(host.json(["top", "--once", "--sort", "name"])[1]["name"], "idle");
        assert_eq!(host.json(["-c", "idle", "top", "--once"]).as_array().unwrap().len(), 1);
        end(program);
    });
}

#[test]
fn memory_that_a_program_takes_and_its_processes_show() {
    const TAKEN: u64 = 20 * 1024 * 1024;
    in_sandbox(|host| {
        host.start("web");
        let before = stats(host, "web");
        let (memory, pids) = (number(&before, "/memory/working_set_bytes"), number(&before, "/pids/current"));
        assert_eq!(number(&before, "/pids/limit"), 4096);
        // dd fills its buffer and waits for a reader.
        let line = format!("dd if=/dev/zero bs={TAKEN} count=1 | sleep 1000");
        let program = beside(host, "web", &line);
        let after = eventually("20 MiB more", || {
            let after = stats(host, "web");
            (number(&after, "/memory/working_set_bytes") >= memory + TAKEN).then_some(after)
        });
        assert!(number(&after, "/memory/working_set_bytes") < memory + 2 * TAKEN, "{after}");
        assert!(number(&after, "/memory/current_bytes") >= number(&after, "/memory/working_set_bytes"));
        // The shell, dd and sleep; and what the kernel says itself.
        assert_eq!(number(&after, "/pids/current"), pids + 3, "{after}");
        let kernel = fs::read_to_string(&host.cgroup_files("web", "payload/pids.current")[0]).unwrap();
        assert_eq!(kernel.trim(), (pids + 3).to_string());
        end(program);
    });
}

#[test]
fn a_file_that_is_synced_shows_as_written() {
    const WRITTEN: u64 = 8 * 1024 * 1024;
    in_sandbox(|host| {
        host.start("web");
        let before = number(&stats(host, "web"), "/io/written_bytes");
        host.sh_in("web", &format!("dd if=/dev/zero of=/root/file bs={WRITTEN} count=1 conv=fsync")).succeeds();
        let after = number(&stats(host, "web"), "/io/written_bytes");
        // The file system's own notes come on top.
        assert!((WRITTEN..2 * WRITTEN).contains(&(after - before)), "{before} {after}");
    });
}

#[test]
fn what_the_container_sends_is_sent_and_what_it_gets_received() {
    const SENT: u64 = 3_000_000;
    in_sandbox(|host| {
        host.provision("web");
        host.sh_in("web", &format!("head -c {SENT} /dev/zero > /srv/file")).succeeds();
        host.appc(["-c", "web", "startup-command", "add", "exec httpd -f -p 80 -h /srv"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        let ip = host.inspect("web")["ip"].as_str().unwrap().to_owned();
        let fetched = eventually("the server answers", || {
            let got = host.sh(&format!("busybox wget -q -O - http://{ip}/file | wc -c"));
            (got.text() == SENT.to_string()).then_some(stats(host, "web"))
        });
        assert!(number(&fetched, "/network/tx_bytes") > SENT, "{fetched}");
        assert!(number(&fetched, "/network/rx_bytes") < SENT / 2, "{fetched}");
        let packets = |stats: &Value| ["rx", "tx"].map(|way| number(stats, &format!("/network/{way}_packets")));
        let before = packets(&stats(host, "web"));
        host.sh(&format!("busybox ping -c 3 -i 0.1 {ip}")).succeeds();
        let after = packets(&stats(host, "web"));
        assert!(after[0] >= before[0] + 3 && after[1] >= before[1] + 3, "{before:?} {after:?}");
    });
}

#[test]
fn only_what_runs_has_stats_and_one_that_ends_meanwhile_is_left_out() {
    in_sandbox(|host| {
        assert_eq!(host.json(["stats"]), json!([]));
        host.provision("web");
        assert_eq!(host.json(["stats"]), json!([]));
        host.appc(["stats", "web"]).refuses(1, &["web", "appc start web"]);
        host.appc(["stats", "ghost"]).refuses(1, &["ghost", "appc ls"]);
        host.appc(["-c", "ghost", "top"]).refuses(1, &["ghost", "appc ls"]);
        let mut life = host.spawn("sh", ["-ec", "for i in 1 2 3 4 5; do appc start web; appc stop -t 0 web; done"]);
        let mut seen = 0;
        while life.is_alive() {
            let stats = host.json(["stats"]);
            for stats in stats.as_array().unwrap() {
                assert_eq!(stats["name"], "web");
                seen += number(stats, "/uptime_ns").min(1);
            }
        }
        life.wait().succeeds();
        assert!(seen > 0, "web was never seen running");
        host.start("api");
        host.appc(["start", "web"]).succeeds();
        assert_eq!(host.json(["stats"]).as_array().unwrap().len(), 2);
        assert_eq!(host.json(["-c", "api", "stats"])[0]["name"], "api");
        let text = host.appc(["stats", "web", "api"]).succeeds();
        let names: Vec<_> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(names, ["NAME", "web", "api"]);
    });
}

#[test]
fn top_without_a_terminal_prints_tables_and_ends_when_nobody_reads() {
    in_sandbox(|host| {
        host.start("web");
        let table = host.appc(["top"]).succeeds();
        assert!(table.starts_with("NAME  CPU") && table.lines().count() == 2, "{table}");
        assert!(!table.contains('\x1b'));
        let tables = host.sh("appc top --interval 0.1 | head -n 5").succeeds();
        assert_eq!(tables.lines().filter(|line| line.starts_with("NAME")).count(), 2, "{tables}");
        let lines = host.sh("appc top --interval 0.1 --json | head -n 3").succeeds();
        for line in lines.lines() {
            assert_eq!(serde_json::from_str::<Value>(line).unwrap()[0]["name"], "web");
        }
        // Nobody reads, and nothing is to be written for an hour.
        let mut top = host.spawn("appc", ["top", "--interval", "3600"]);
        drop(top.stdout.take());
        assert!(top.wait_at_most(allowed(Duration::from_secs(10))));
        assert_eq!(top.wait().code, 0);
    });
}

/// `appc top` on a terminal of 6 lines of 30 columns, whose name is in the file `tty`.
fn on_a_terminal(host: &Host, arguments: &str) -> Running {
    let line = format!(
        "tty > tty; stty rows 6 cols 30; stty -g > before; appc top {arguments}; echo code=$?; stty -g > after"
    );
    host.spawn("script", ["-q", "-e", "-f", "-c", &line, "/dev/null"])
}

#[test]
fn top_on_a_terminal_fits_it_and_gives_it_back_as_it_was() {
    in_sandbox(|host| {
        host.start("web");
        for key in ["q", "\x03"] {
            let mut top = on_a_terminal(host, "--interval 0.1");
            top.read_until("\x1b[?1049h");
            let screen = String::from_utf8(top.read_until("\x1b[J")).unwrap();
            assert!(screen.contains("1 running, every 0.1 s, by cpu"), "{screen:?}");
            for line in screen.split("\r\n") {
                let shown = line.replace("\x1b[?25l", "").replace("\x1b[H", "").replace(['\r', '\n'], "");
                let shown = shown.replace("\x1b[K", "").replace("\x1b[J", "");
                assert!(shown.chars().count() <= 30, "{shown:?}");
            }
            // It goes on by itself, and is drawn anew when the terminal grows.
            top.read_until("\x1b[J");
            host.sh("stty -F $(cat tty) rows 24 cols 120").succeeds();
            top.read_until("SENT/s");
            std::io::Write::write_all(top.stdin.as_mut().unwrap(), key.as_bytes()).unwrap();
            let rest = String::from_utf8(top.read_until("code=0")).unwrap();
            assert!(rest.contains("\x1b[?25h\x1b[?1049l"), "{rest:?}");
            let _ = top.wait();
            // The size was changed by the test.
            let mode = |file: &str| fs::read_to_string(host.file(file)).unwrap();
            assert_eq!(mode("before"), mode("after"));
        }
    });
}

#[test]
fn top_on_a_terminal_that_is_told_to_end_gives_it_back_too() {
    in_sandbox(|host| {
        host.start("web");
        let mut top = on_a_terminal(host, "--interval 3600");
        top.read_until("\x1b[J");
        // A larger terminal is filled at once, long before the next sample.
        host.sh("stty -F $(cat tty) rows 24 cols 120").succeeds();
        top.read_until("SENT/s");
        host.sh("kill $(pidof appc)").succeeds();
        top.read_until("\x1b[?1049l");
        top.read_until("code=0");
        let _ = top.wait();
        assert_eq!(fs::read(host.file("before")).unwrap(), fs::read(host.file("after")).unwrap());
    });
}
