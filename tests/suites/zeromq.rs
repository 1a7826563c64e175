//! Output and events over ZeroMQ: what `docs/zeromq.md` promises, seen with pyzmq.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    time::Duration,
};

use appcontainers_tests::{Host, Running, amount, eventually, in_sandbox, in_sandbox_for, tries};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The distribution's, which has the distribution's pyzmq.
const PYTHON: &str = "/usr/bin/python3";

/// A program in the page, as it is written there: the one with these words in it.
fn program_of_page(host: &Host, words: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/zeromq.md");
    let page = fs::read_to_string(page).unwrap();
    let mut programs = page.split("```python\n").skip(1).map(|rest| rest.split_once("```\n").unwrap().0);
    let text = programs.find(|text| text.contains(words)).expect("the page has this program");
    let path = host.file(format!("{words}.py").replace(['/', ' '], "_"));
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The page's program that prints what a process prints.
fn follow(host: &Host, process: u64) -> Running {
    host.spawn(PYTHON, ["-u", &program_of_page(host, "bytes were missed"), "web", &process.to_string()])
}

/// A program of the test's own: it has a SUB `news`, a REQ `requests` and a function `ask`, of container `web`.
fn script(host: &Host, text: &str) -> Running {
    let begin = r#"
import json, os, socket, sys, zmq
place = os.environ["APPC_RUN"] + "/containers/web/zmq/"
context = zmq.Context()
news, requests = context.socket(zmq.SUB), context.socket(zmq.REQ)
news.connect("ipc://" + place + "pub")
requests.connect("ipc://" + place + "request")
news.rcvtimeo = requests.rcvtimeo = 30000
def ask(request):
    requests.send(request if isinstance(request, bytes) else json.dumps(request).encode())
    answer, payload = requests.recv_multipart()
    return json.loads(answer), payload
"#;
    host.spawn(PYTHON, ["-u", "-c", &format!("{begin}{text}")])
}

/// Runs such a program to its end; what it printed, one JSON text a line.
#[track_caller]
fn lines(running: Running) -> Vec<Value> {
    running.wait().succeeds().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Starts a process in the background of `web`: its number.
#[track_caller]
fn spawn(host: &Host, line: &str) -> u64 {
    host.json(["-c", "web", "spawn", "--", "sh", "-c", line])["process"].as_u64().unwrap()
}

fn log_bytes(host: &Host) -> u64 {
    let segments = fs::read_dir(host.paths().containers().join("web/log")).unwrap();
    segments.filter_map(|segment| Some(segment.ok()?.metadata().ok()?.len())).sum()
}

#[test]
fn the_program_in_the_page_prints_two_hundred_megabytes_whole_though_it_stands_still_at_first() {
    in_sandbox_for(Duration::from_secs(400), |host| {
        host.start("web");
        let [some, all] = [15_000_000, 25_000_000].map(amount);
        let process = format!(
            "echo begin; read -r x; echo more; read -r x; seq 1 {some}; read -r x; seq {} {all}; exit 7",
            some + 1
        );
        let running = host.spawn("sh", ["-c", &format!("appc -c web run -- sh -c '{process}' > printed")]);
        let go_on = || writeln!(running.stdin.as_ref().unwrap()).unwrap();
        eventually("the process runs", || (fs::read(host.file("printed")).ok()? == b"begin\n").then_some(()));
        let mut program = follow(host, 1);
        program.read_until("begin\n");
        go_on();
        program.read_until("more\n");
        program.signal(Signal::STOP);
        go_on();
        eventually("the process has printed much", || (log_bytes(host) > amount(30_000_000).into()).then_some(()));
        program.signal(Signal::CONT);
        // Only what comes behind a hole shows it.
        go_on();
        let mut printed = Vec::new();
        program.stdout.take().unwrap().read_to_end(&mut printed).unwrap();
        let mut expected = Vec::new();
        for number in 1..=all {
            writeln!(expected, "{number}").unwrap();
        }
        assert!(printed == expected, "{} bytes of {}", printed.len(), expected.len());
        let done = program.wait();
        // What it has missed it fills when it notices, or, when it was stopped for long, by asking first: both are right.
        for line in done.fails(7).lines() {
            assert!(line.ends_with(" bytes were missed"), "{line}");
        }
        assert_eq!(running.wait().code, 7);
    });
}

#[test]
fn what_happens_is_published_as_the_journal_has_it() {
    in_sandbox(|host| {
        host.start("web");
        let mut subscriber = script(
            host,
            r#"
news.subscribe("event/web/")
while not news.poll(100):
    print("again")
print("ready")
topic = b""
while topic != b"event/web/die":
    topic, header, payload = news.recv_multipart()
    assert topic.decode() == "event/web/" + json.loads(header)["kind"] and payload == b""
    print(header.decode())
"#,
        );
        // Only what happens shows that the subscription has come to the monitor.
        while subscriber.read_until("\n") != b"ready\n" {
            host.in_container("web", ["true"]).succeeds();
        }
        let process = spawn(host, "exec sleep 1000");
        host.json(["-c", "web", "spawn", "--name", "app", "--", "sh", "-c", "exit 3"]);
        host.appc(["-c", "web", "wait", "app"]).fails(3);
        host.appc(["-c", "web", "kill", "-s", "KILL", &process.to_string()]).succeeds();
        host.appc(["-c", "web", "wait", &process.to_string()]).fails(137);
        host.appc(["-c", "web", "spawn", "--", "nosuchprogram"]).fails(127);
        host.appc(["stop", "web"]).succeeds();
        let published = lines(subscriber);
        let journal = host.appc(["events", "--json"]).succeeds();
        let journal: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (die, numbered) = published.split_last().unwrap();
        assert_eq!((&die["kind"], &die["container"], die.get("number")), (&json!("die"), &json!("web"), None));
        let first = numbered[0]["number"].as_u64().unwrap();
        let last = journal.len() as u64 - 1;
        assert_eq!(numbered, &journal[first as usize - 1..last as usize]);
        let told: Vec<_> = numbered.iter().map(|event| (event["kind"].as_str().unwrap(), &event["status"])).collect();
        let (none, code, signal) = (&Value::Null, &json!({"code": 3}), &json!({"signal": 9}));
        let expected = [
            ("process-start", none),
            ("process-start", none),
            ("process-exit", code),
            ("process-kill", none),
            ("process-exit", signal),
            ("process-exit", none),
        ];
        assert!(told.ends_with(&expected), "{told:?}");
        assert_eq!(numbered[told.len() - 5]["name"], "app");
        assert!(numbered[told.len() - 1]["details"]["failure"].as_str().unwrap().contains("nosuchprogram"));
    });
}

#[test]
fn a_subscriber_outlives_the_monitor_and_misses_nothing() {
    in_sandbox(|host| {
        host.start("web");
        spawn(host, "i=0; while [ $i -lt 600 ]; do echo line $i; i=$((i+1)); usleep 20000; done; exit 5");
        let mut program = follow(host, 1);
        let mut printed = Vec::new();
        for line in [20, 120, 121, 122, 220, 270, 340, 341] {
            printed.extend(program.read_until(&format!("line {line}\n")));
            host.kill_monitor("web");
            host.in_container("web", ["true"]).succeeds();
        }
        let done = program.wait();
        printed.extend(&done.stdout);
        let expected: String = (0..600).map(|line| format!("line {line}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&printed), expected);
        assert_eq!(done.code, 5);
    });
}

#[test]
fn subscribers_survive_a_monitor_that_is_killed_in_the_middle_of_its_messages() {
    in_sandbox(|host| {
        host.start("web");
        spawn(host, "yes | head -c 2000000000");
        let rounds = tries(20);
        let program = r#"
news.subscribe("output/")
for _ in range(ROUNDS):
    for _ in range(200): news.recv_multipart()
    print("more")
    sys.stdin.readline()
"#;
        let mut subscriber = script(host, &program.replace("ROUNDS", &rounds.to_string()));
        for _ in 0..rounds {
            subscriber.read_until("more\n");
            host.kill_monitor("web");
            host.in_container("web", ["true"]).succeeds();
            writeln!(subscriber.stdin.as_ref().unwrap()).unwrap();
        }
        assert_eq!(subscriber.wait().code, 0);
    });
}

#[test]
fn rubbish_at_the_sockets_is_refused_and_the_container_goes_on() {
    in_sandbox(|host| {
        host.start("web");
        let process = spawn(host, "echo hello; echo there >&2; exec sleep 1000");
        host.appc(["-c", "web", "exec", "--", "true"]).succeeds();
        let answers = lines(script(
            host,
            r#"
for file in "pub", "request":
    for rubbish in b"", b"\0" * 100, b"GET / HTTP/1.0\r\n\r\n", b"\xff" + b"\0" * 8 + b"\x7f\x03\0NULL" + b"\xff" * 5000:
        stranger = socket.socket(socket.AF_UNIX)
        stranger.connect(place + file)
        stranger.send(rubbish)
        stranger.close()
hostile = context.socket(zmq.DEALER)
hostile.connect("ipc://" + place + "request")
hostile.send_multipart([b"x"] * 10000)
hostile.send(b"{" * 4097)
endless = context.socket(zmq.DEALER)
endless.connect("ipc://" + place + "request")
endless.send(b"never ends", zmq.SNDMORE)
upstream = context.socket(zmq.XSUB)
upstream.connect("ipc://" + place + "pub")
upstream.send_multipart([b"\1output/", b"more"])
upstream.send(b"no subscription")
for request in (
    b"", b"{", b"\xff\xfe", b"[" * 4000, {"request": "output"}, {"request": "stop"},
    {"request": "processes", "unknown": 1}, {"request": "processes", "container": "api"},
    {"request": "output", "process": 99, "stream": "stdout", "offset": 0},
    {"request": "output", "process": 1, "stream": "stdout", "offset": 0, "position": 1},
):
    answer, payload = ask(request)
    assert list(answer) == ["error"] and payload == b"", answer
    print(json.dumps(answer["error"]))
for length in 0, 3, 2 ** 64 - 1:
    answer, payload = ask({"request": "output", "process": 1, "stream": "stdout", "offset": 0, "length": length})
    print(json.dumps([payload.decode(), answer["end"], answer["next"]]))
for offset in 6, 2 ** 64 - 1:
    answer, payload = ask({"request": "output", "process": 1, "stream": "stdout", "offset": offset})
    assert payload == b"" and answer["end"] and answer["offset"] == offset
print(json.dumps(ask({"request": "processes", "container": "web", "first": 1})[0]))
"#,
        ));
        assert_eq!(process, 1);
        let (errors, rest) = answers.split_at(10);
        for (error, word) in errors.iter().zip(["", "", "", "", "missing", "unknown", "unknown", "web", "99", "record"])
        {
            assert!(error.as_str().unwrap().contains(word), "{error} does not say {word:?}");
        }
        assert_eq!(rest[0], json!(["", false, 0]));
        assert_eq!(rest[1][0], "hel");
        assert_eq!(rest[2][0], "hello\n");
        let listed = rest[3]["processes"].as_array().unwrap();
        assert_eq!(listed, host.json(["-c", "web", "ps", "-a"]).as_array().unwrap());
        assert_eq!(host.in_container("web", ["echo", "here"]).succeeds(), "here");
    });
}
