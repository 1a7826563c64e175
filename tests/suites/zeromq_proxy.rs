//! Output and events for other machines: `appc zmq-proxy` and `appc zmq-key`, seen with pyzmq and on the wire.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use appcontainers_tests::{Host, Running, eventually, in_sandbox};
use rustix::process::Signal;
use serde_json::Value;

/// The distribution's, which has the distribution's pyzmq.
const PYTHON: &str = "/usr/bin/python3";

/// Of the proxy; requests are at the next one.
const PORT: u16 = 5555;

/// Makes a key pair in the file `name`; its public key.
fn key(host: &Host, name: &str) -> String {
    host.appc(["zmq-key", "--output", name]).succeeds()
}

/// A proxy with the keys in `proxy.key`, which lets `client.key` in, and is ready for it.
fn proxy(host: &Host) -> Running {
    for name in ["proxy.key", "client.key"] {
        key(host, name);
    }
    start_proxy(host, &["--keys", "proxy.key", "--allow", "client.key"])
}

fn start_proxy(host: &Host, more: &[&str]) -> Running {
    let endpoint = format!("tcp://127.0.0.1:{PORT}");
    let mut proxy = host.spawn("appc", [&["zmq-proxy", &endpoint], more].concat());
    proxy.read_until("\n");
    proxy
}

/// A program that has a function `connect(kind, port, keys, server)` for sockets of a proxy's client, `news` and `requests`
/// with the keys of `client.key`, and a function `ask`.
fn script(host: &Host, text: &str) -> Running {
    let begin = r#"
import json, socket, sys, time, zmq, zmq.auth
context = zmq.Context()
server = zmq.auth.load_certificate("proxy.key")[0]
def connect(kind, port=5555, keys="client.key", server=server):
    s = context.socket(kind)
    s.linger = 0
    if keys:
        s.curve_publickey, s.curve_secretkey = zmq.auth.load_certificate(keys)
        s.curve_serverkey = server
    if kind == zmq.SUB:
        s.subscribe("")
    s.connect("tcp://127.0.0.1:%d" % port)
    return s
news, requests = connect(zmq.SUB), connect(zmq.REQ, 5556)
news.rcvtimeo = requests.rcvtimeo = 30000
def ask(**request):
    requests.send_json(request)
    answer, payload = requests.recv_multipart()
    return json.loads(answer), payload
"#;
    host.spawn(PYTHON, ["-u", "-c", &format!("{begin}{text}")])
}

#[test]
fn keys_are_made_for_their_owner_alone_and_nothing_is_overwritten() {
    in_sandbox(|host| {
        let public = key(host, "a.key");
        assert_eq!(public.len(), 40);
        assert_eq!(fs::metadata(host.file("a.key")).unwrap().permissions().mode() & 0o7777, 0o600);
        let read = "import zmq.auth; print(b'\\n'.join(zmq.auth.load_certificate('a.key')).decode())";
        let pair = host.run(PYTHON, ["-c", read]).succeeds();
        let (first, secret) = pair.split_once('\n').unwrap();
        assert_eq!((first, secret.len()), (&public[..], 40));
        let derived = format!("import zmq; print(zmq.curve_public({secret:?}.encode()).decode())");
        assert_eq!(host.run(PYTHON, ["-c", &derived]).succeeds(), public);
        host.appc(["zmq-key", "--output", "a.key"]).refuses(1, &["a.key", "exists"]);
        host.appc(["zmq-key", "--output", "nosuch/a.key"]).refuses(1, &["nosuch/a.key"]);
        let printed = host.appc(["zmq-key"]).succeeds();
        assert!(printed.contains("public-key = \"") && printed.contains("secret-key = \""), "{printed}");
        let json = host.json(["zmq-key"]);
        assert_eq!(["public_key", "secret_key"].map(|name| json[name].as_str().unwrap().len()), [40, 40]);
    });
}

#[test]
fn a_proxy_that_cannot_be_says_why() {
    in_sandbox(|host| {
        key(host, "a.key");
        let endpoint = "tcp://127.0.0.1:5555";
        for bad in ["127.0.0.1:5555", "tcp://127.0.0.1", "ipc:///tmp/x:1", "tcp://127.0.0.1:65535"] {
            host.appc(["zmq-proxy", bad]).fails(2);
        }
        host.appc(["zmq-proxy", endpoint, "--keys", "nosuch"]).refuses(1, &["nosuch"]);
        host.appc(["zmq-proxy", endpoint, "--allow", "nosuch"]).refuses(1, &["nosuch", "public key"]);
        fs::set_permissions(host.file("a.key"), fs::Permissions::from_mode(0o644)).unwrap();
        host.appc(["zmq-proxy", endpoint, "--keys", "a.key"]).refuses(1, &["a.key", "chmod 600"]);
        let _taken = TcpListener::bind("127.0.0.1:5556").unwrap();
        host.appc(["zmq-proxy", endpoint]).refuses(1, &["tcp://127.0.0.1:5556"]);
        // Where the program is not installed.
        fs::copy(host.programs().join("appc"), host.file("appc")).unwrap();
        for command in [&["zmq-proxy", endpoint][..], &["zmq-key"]] {
            host.run(host.file("appc").to_str().unwrap(), command).refuses(1, &["cannot find appc-zmq-proxy"]);
        }
    });
}

#[test]
fn the_program_in_the_page_prints_from_afar_what_a_container_prints() {
    in_sandbox(|host| {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/zeromq.md");
        let page = fs::read_to_string(page).unwrap();
        let programs: Vec<_> = page.split("```python\n").skip(1).collect();
        let program = programs.iter().find(|text| text.contains("curve_serverkey")).unwrap();
        fs::write(host.file("remote.py"), program.split_once("```\n").unwrap().0).unwrap();
        host.start("web");
        host.spawn_in("web", "i=0; while true; do echo line $i; i=$((i+1)); usleep 100000; done");
        let mut proxy = host.spawn("appc", ["zmq-proxy", "tcp://127.0.0.1:5555", "--allow", &key(host, "client.key")]);
        let public = String::from_utf8(proxy.read_until("\n")).unwrap();
        let arguments = ["-u", "remote.py", "127.0.0.1", "5555", public.trim(), "client.key", "web"];
        let mut program = host.spawn(PYTHON, arguments);
        program.read_until("\n");
        let line = String::from_utf8(program.read_until("\n")).unwrap();
        assert!(line.starts_with("line "), "{line}");
        program.signal(Signal::KILL);
        let said = String::from_utf8(program.wait().stderr).unwrap();
        assert!(said.starts_with("1 running ['sh', '-c', 'i=0;"), "{said}");
    });
}

#[test]
fn a_slow_client_finds_holes_and_fills_them() {
    in_sandbox(|host| {
        host.start("web");
        let _proxy = proxy(host);
        host.spawn_in("web", "echo begin; sleep 1000; seq 1 9000000; sleep 1000; echo end; exec sleep 1000");
        let mut client = script(
            host,
            r#"
import hashlib
have, position, holes, digest = 0, None, 0, hashlib.sha256()
def take(payload, offset):
    global have
    digest.update(payload[have - offset:])
    have = max(have, offset + len(payload))
def fill():
    global position
    end = False
    while not end:
        answer, payload = ask(request="output", container="web", process=1, stream="stdout", offset=have, position=position)
        assert answer["offset"] == have
        take(payload, have)
        position, end = answer["next"], answer["end"]
fill()
assert have == 6, have
while not news.poll(100):
    print("again")
print("ready")
sys.stdin.readline()
while have < 6 + 70888896 + 4:
    header, payload = news.recv_multipart()[1:]
    header = json.loads(header)
    if header.get("stream") != "stdout":
        continue
    if header["offset"] > have:
        holes += 1
        fill()
    take(payload, header["offset"])
print(json.dumps([holes, have, digest.hexdigest()]))
"#,
        );
        while client.read_until("\n") != b"ready\n" {
            host.in_container("web", ["true"]).succeeds();
        }
        client.signal(Signal::STOP);
        host.appc(["-c", "web", "exec", "--", "killall", "sleep"]).succeeds();
        eventually("all is printed", || {
            let log = fs::read_dir(host.paths().containers().join("web/log")).unwrap();
            let bytes: u64 = log.filter_map(|segment| Some(segment.ok()?.metadata().ok()?.len())).sum();
            (bytes > 70_888_896).then_some(())
        });
        client.signal(Signal::CONT);
        writeln!(client.stdin.as_ref().unwrap()).unwrap();
        // A last word: without it nothing would show that others are missing.
        eventually("the last word", || {
            let killed = host.appc(["-c", "web", "exec", "--", "killall", "sleep"]);
            (killed.code == 0).then_some(())
        });
        let done: Value = serde_json::from_str(&client.wait().succeeds()).unwrap();
        let expected = host.sh("(echo begin; seq 1 9000000; echo end) | sha256sum").succeeds();
        assert!(done[0].as_u64().unwrap() >= 1, "there was no hole: {done}");
        assert_eq!(done[2], expected.split_whitespace().next().unwrap());
    });
}

#[test]
fn containers_come_and_go_while_the_proxy_stays() {
    in_sandbox(|host| {
        host.start("web");
        let _proxy = proxy(host);
        let mut client = script(
            host,
            r#"
print(json.dumps(ask(request="containers")[0]["containers"]))
for line in sys.stdin:
    name = line.strip()
    while True:
        topic, header, payload = news.recv_multipart()
        if topic.decode() == "output/%s/1/stdout" % name or topic.decode() == "output/%s/2/stdout" % name:
            break
    answer, output = ask(request="processes", container=name)
    print(json.dumps([payload.decode(), answer["container"], ask(request="containers")[0]["containers"]]))
print(json.dumps(ask(request="processes", container="web")[0]))
print(json.dumps(ask(request="processes", container="nosuch")[0]))
print(json.dumps(ask(request="processes")[0]))
print(json.dumps(ask(request="stop", container="api")[0]))
"#,
        );
        assert_eq!(client.read_until("\n"), b"[\"web\"]\n");
        let mut check = |name: &str, running: &[&str]| {
            writeln!(client.stdin.as_ref().unwrap(), "{name}").unwrap();
            let line = serde_json::from_slice::<Value>(&client.read_until("\n")).unwrap();
            assert_eq!(line, serde_json::json!([format!("hello from {name}\n"), name, running]));
        };
        let greet = |name: &str| {
            host.spawn_in(name, &format!("while true; do echo hello from {name}; usleep 100000; done"));
        };
        host.start("api");
        greet("api");
        check("api", &["api", "web"]);
        greet("web");
        check("web", &["api", "web"]);
        host.appc(["stop", "-t", "0", "api"]).succeeds();
        host.appc(["start", "api"]).succeeds();
        greet("api");
        check("api", &["api", "web"]);
        host.appc(["stop", "-t", "0", "web"]).succeeds();
        check("api", &["api"]);
        let said = client.wait().succeeds();
        let errors: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for (error, word) in
            errors.iter().zip(["no container web", "no container nosuch", "names its container", "unknown"])
        {
            assert!(error["error"].as_str().unwrap().contains(word), "{error} does not say {word:?}");
        }
    });
}

#[test]
fn without_the_right_keys_nothing_is_readable() {
    in_sandbox(|host| {
        host.start("web");
        let _proxy = proxy(host);
        for name in ["stranger.key", "other.key"] {
            key(host, name);
        }
        host.spawn_in("web", "while true; do echo hello; usleep 20000; done");
        let client = script(
            host,
            r#"
other = zmq.auth.load_certificate("other.key")[0]
def plain(kind, port):
    s = context.socket(kind)
    s.plain_username, s.plain_password, s.linger = b"root", b"root", 0
    if kind == zmq.SUB:
        s.subscribe("")
    s.connect("tcp://127.0.0.1:%d" % port)
    return s
strangers = []
for kind, port in (zmq.SUB, 5555), (zmq.REQ, 5556):
    strangers += [
        connect(kind, port, keys="stranger.key"),                # a key that is not allowed
        connect(kind, port, keys=None),                          # no key
        connect(kind, port, keys="client.key", server=other),    # another proxy's key
        plain(kind, port),
    ]
for s in strangers:
    if s.type == zmq.REQ:
        s.send_json({"request": "output", "container": "web", "process": 1, "stream": "stdout", "offset": 0})
raw = []
for port in 5555, 5556:
    s = socket.create_connection(("127.0.0.1", port), timeout=10)
    begin = s.recv(10)
    s.sendall(b"\xff" + b"\0" * 8 + b"\x7f" + b"\3\0NULL" + b"\0" * 48 + b"\4\x19\5READY\x0bSocket-Type\0\0\0\3SUB" + b"\0\1\1")
    raw.append((s, begin))
# Meanwhile it goes on for the one who may.
for _ in range(100):
    assert news.recv_multipart()[2] == b"hello\n"
assert ask(request="output", container="web", process=1, stream="stdout", offset=0)[1].startswith(b"hello\n")
for s in strangers:
    assert not s.poll(0), "something was readable"
for s, got in raw:
    try:
        while True:
            piece = s.recv(4096)
            if not piece: break
            got += piece
    except (TimeoutError, ConnectionResetError):
        pass
    assert got.startswith(b"\xff") and b"hello" not in got and b"web" not in got and len(got) < 200, got
print("done")
"#,
        );
        assert_eq!(client.wait().succeeds(), "done");
    });
}

#[test]
fn nobody_may_connect_to_a_proxy_that_allows_nobody() {
    in_sandbox(|host| {
        host.start("web");
        for name in ["proxy.key", "client.key"] {
            key(host, name);
        }
        host.spawn_in("web", "while true; do echo hello; usleep 20000; done");
        let proxy = start_proxy(host, &["--keys", "proxy.key"]);
        let refused = r#"
from zmq.utils.monitor import recv_monitor_message
s = context.socket(zmq.SUB)
s.curve_publickey, s.curve_secretkey = zmq.auth.load_certificate("client.key")
s.curve_serverkey = server
told = s.get_monitor_socket()
s.subscribe("")
s.connect("tcp://127.0.0.1:5555")
while recv_monitor_message(told)["event"] not in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_SUCCEEDED): pass
print("refused" if not s.poll(500) else "let in")
"#;
        assert_eq!(script(host, refused).wait().succeeds(), "refused");
        proxy.signal(Signal::TERM);
        let said = String::from_utf8(proxy.wait().stderr).unwrap();
        assert!(said.contains("nobody may connect"), "{said}");
    });
}

/// Passes one connection's bytes on, and keeps a copy of them.
fn tap(from: TcpStream, to: TcpStream, seen: &Arc<Mutex<Vec<u8>>>) {
    let (mut from, mut to, seen) = (from, to, Arc::clone(seen));
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            seen.lock().unwrap().extend_from_slice(&buffer[..read]);
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
    });
}

#[test]
fn who_listens_on_the_wire_reads_nothing() {
    in_sandbox(|host| {
        host.start("web");
        let _proxy = proxy(host);
        host.spawn_in(
            "web",
            "i=0; while [ $i -lt 20000 ]; do echo the-secret-of-the-container-$i; i=$((i+1)); done; exec sleep 1000",
        );
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind("127.0.0.1:6000").unwrap();
        let tapped = Arc::clone(&seen);
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(("127.0.0.1", PORT + 1)).unwrap());
                tap(near.try_clone().unwrap(), far.try_clone().unwrap(), &tapped);
                tap(far, near, &tapped);
            }
        });
        let client = script(
            host,
            r#"
requests = connect(zmq.REQ, 6000)
requests.rcvtimeo = 30000
got = b""
while not got.endswith(b"-19999\n"):
    got += ask(request="output", container="web", process=1, stream="stdout", offset=len(got))[1]
print(len(got), got.count(b"the-secret"))
"#,
        );
        let said = client.wait().succeeds();
        let (bytes, lines) = said.split_once(' ').unwrap();
        assert_eq!(lines, "20000");
        let seen = seen.lock().unwrap();
        assert!(seen.len() > bytes.parse().unwrap(), "the relay has seen {} bytes", seen.len());
        for word in ["the-secret", "secret-of", "stdout", "container", "request"] {
            assert!(!seen.windows(word.len()).any(|bytes| bytes == word.as_bytes()), "{word:?} was on the wire");
        }
    });
}
