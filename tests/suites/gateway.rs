//! The web gateway: real requests through a real Caddy to real containers.
//!
//! ACME goes to an authority in the sandbox: a Caddy of its own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use appcontainers_tests::{Host, Running, allowed, eventually, in_sandbox};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

/// A gateway that runs and does what is published.
fn gateway(host: &Host) -> Running {
    let mut command = host.command("appc");
    command.args(["gateway", "run"]);
    gateway_by(host, command)
}

/// The same, started by a command.
fn gateway_by(host: &Host, command: Command) -> Running {
    let mut gateway = host.start_command(command, allowed(Duration::from_secs(100)));
    let sites = host.json(["gateway", "ls"]);
    let port = sites[0]["port"].as_u64();
    eventually("the gateway", || {
        // No reload where a look will do: for a moment after it, the old server may take a connection that it then ends.
        let is_up = match port {
            Some(port) => TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).is_ok(),
            None => host.appc(["gateway", "reload"]).code == 0,
        };
        (!gateway.is_alive() || is_up).then_some(())
    });
    gateway
}

/// A container whose web server says `word` at /.
fn web(host: &Host, name: &str, word: &str) {
    host.provision(name);
    host.add_startup_command(
        name,
        &format!("mkdir -p /srv/cgi-bin && echo {word} > /srv/index.html && exec httpd -f -p 80 -h /srv"),
    );
    host.appc(["start", name]).succeeds();
    let ip = host.inspect(name)["ip"].as_str().unwrap().to_owned();
    wait_for(&ip, 80);
}

/// Waits until a container listens.
fn wait_for(ip: &str, port: u16) {
    let address = SocketAddr::new(ip.parse().unwrap(), port);
    // What is lost while its network comes up is sent again after seconds only.
    eventually("a server", || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok());
}

/// Sends bytes to a port of the host and gives all that comes back.
fn exchange(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(allowed(Duration::from_secs(20)))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// The status and the body that a name answers with.
fn get_at(port: u16, name: &str, path: &str) -> (String, String) {
    let answer = exchange(port, &format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    (status.to_owned(), body.trim_end().to_owned())
}

fn get(name: &str) -> (String, String) {
    get_at(80, name, "/")
}

fn ok(word: &str) -> (String, String) {
    ("200".to_owned(), word.to_owned())
}

/// What `ls` says of the only name.
fn only_site(host: &Host) -> Value {
    let sites = host.json(["gateway", "ls"]);
    assert_eq!(sites.as_array().unwrap().len(), 1, "{sites}");
    sites[0].clone()
}

#[test]
fn requests_go_to_the_containers_behind_a_name_in_turns() {
    in_sandbox(|host| {
        web(host, "one", "first");
        web(host, "two", "second");
        let published = host.appc(["gateway", "publish", "Shop.Test", "one"]);
        assert!(String::from_utf8_lossy(&published.stderr).contains("systemctl enable --now appcontainers-gateway"));
        assert_eq!(published.succeeds(), "http://shop.test");
        assert_eq!(only_site(host)["served"], false);

        let _gateway = gateway(host);
        assert_eq!(get("shop.test"), ok("first"));
        assert_eq!(get("SHOP.test:80"), ok("first"));
        assert_eq!(get("other.test").0, "404");

        // While it runs, at once.
        let published = host.json(["gateway", "publish", "shop.test", "two"]);
        assert_eq!(published["served"], true);
        assert_eq!(published["upstreams"][1]["container"], "two");
        let words: Vec<_> = (0..6).map(|_| get("shop.test").1).collect();
        assert!(words.chunks(2).all(|two| two.iter().collect::<HashSet<_>>().len() == 2), "{words:?}");

        host.appc(["gateway", "publish", "two.test", "two"]).succeeds();
        host.appc(["gateway", "publish", "*.test", "one", "--port", "8080"]).succeeds();
        assert_eq!(get("two.test"), ok("second"));
        assert_eq!(get_at(8080, "any.test", "/"), ok("first"));
        let listed = host.appc(["gateway", "ls"]).succeeds();
        assert!(listed.contains("http://*.test:8080"), "{listed}");

        host.appc(["gateway", "unpublish", "shop.test", "two"]).succeeds();
        assert_eq!([get("shop.test"), get("shop.test")], [ok("first"), ok("first")]);
        host.appc(["gateway", "unpublish", "shop.test"]).succeeds();
        host.appc(["gateway", "unpublish", "*.test"]).succeeds();
        assert_eq!(get("shop.test").0, "404");
        assert_eq!(get("two.test"), ok("second"));
        assert!(TcpStream::connect("127.0.0.1:8080").is_err(), "a port that nobody wants is still open");
    });
}

#[test]
fn no_request_is_lost_while_a_container_restarts_and_another_lives() {
    in_sandbox(|host| {
        web(host, "one", "first");
        web(host, "two", "second");
        host.appc(["gateway", "publish", "shop.test", "one", "two"]).succeeds();
        let _gateway = gateway(host);
        let done = AtomicBool::new(false);
        let count = |method: &'static str| {
            let mut words: Vec<String> = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let request = format!("{method} / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
                let answer = exchange(80, &request);
                assert!(answer.starts_with("HTTP/1.1 200 "), "request {}: {answer}", words.len());
                words.push(answer.rsplit("\r\n\r\n").next().unwrap().trim().to_owned());
            }
            words
        };
        let words = thread::scope(|scope| {
            let loops: Vec<_> = (0..3).map(|_| scope.spawn(|| count("GET"))).collect();
            // Whatever happens here, the loops end.
            let restarted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for name in ["one", "two", "one"] {
                    host.appc(["restart", name]).succeeds();
                    let ip = host.inspect(name)["ip"].as_str().unwrap().to_owned();
                    wait_for(&ip, 80);
                }
                // Not stopped but killed.
                kill_process(host.recorded_pid("two", "init").unwrap(), Signal::KILL).unwrap();
                eventually("its end", || (host.status("two") == "stopped").then_some(()));
            }));
            thread::sleep(Duration::from_millis(300));
            done.store(true, Ordering::Relaxed);
            let words: Vec<String> = loops.into_iter().flat_map(|one| one.join().unwrap()).collect();
            restarted.unwrap();
            words
        });
        assert!(words.len() > 20, "only {} requests", words.len());
        for word in ["first", "second"] {
            assert!(words.iter().any(|one| one == word), "nothing of {word}");
        }
    });
}

#[test]
fn a_request_waits_for_the_only_container_while_it_starts_anew() {
    in_sandbox(|host| {
        web(host, "one", "first");
        host.appc(["gateway", "publish", "shop.test", "one"]).succeeds();
        let _gateway = gateway(host);
        host.appc(["stop", "one"]).succeeds();
        thread::scope(|scope| {
            let asked = scope.spawn(|| get("shop.test"));
            host.appc(["start", "one"]).succeeds();
            assert_eq!(asked.join().unwrap(), ok("first"));
        });
    });
}

#[test]
fn a_short_body_goes_to_the_container_that_lives() {
    in_sandbox(|host| {
        for name in ["one", "two"] {
            web(host, name, name);
            host.sh_in(name, "printf '#!/bin/sh\\nprintf \"Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n\"; cat\\n' > /srv/cgi-bin/echo; chmod +x /srv/cgi-bin/echo").succeeds();
        }
        host.appc(["gateway", "publish", "shop.test", "one", "two"]).succeeds();
        let _gateway = gateway(host);
        let body = "0123456789".repeat(5000);
        let post = || {
            let head = format!(
                "POST /cgi-bin/echo HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nContent-Length: {}",
                body.len()
            );
            exchange(80, &format!("{head}\r\n\r\n{body}"))
        };
        for stop in [false, true] {
            if stop {
                host.appc(["stop", "one"]).succeeds();
            }
            for _ in 0..6 {
                let answer = post();
                assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(&body[..1000]), "{:.300}", answer);
            }
        }
    });
}

#[test]
fn an_unhealthy_container_gets_no_requests_until_it_is_well() {
    in_sandbox(|host| {
        web(host, "one", "first");
        web(host, "two", "second");
        host.sh_in("one", "touch /srv/well").succeeds();
        host.sh_in("two", "touch /srv/well").succeeds();
        host.appc(["gateway", "publish", "shop.test", "one", "two", "--health", "/well"]).succeeds();
        let _gateway = gateway(host);
        let heard = || (0..6).map(|_| get("shop.test").1).collect::<HashSet<_>>();
        let only = |word: &str| HashSet::from([word.to_owned()]);
        eventually("both get requests", || (heard().len() == 2).then_some(()));
        host.sh_in("one", "rm /srv/well").succeeds();
        eventually("the unhealthy one is passed over", || (heard() == only("second")).then_some(()));
        host.sh_in("two", "rm /srv/well").succeeds();
        let post = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        eventually("none is well", || exchange(80, post).starts_with("HTTP/1.1 503 ").then_some(()));
        host.sh_in("one", "touch /srv/well").succeeds();
        eventually("the one that is well again", || (heard() == only("first")).then_some(()));
        host.appc(["gateway", "publish", "shop.test", "one", "--no-health"]).succeeds();
        assert_eq!(heard().len(), 2);
    });
}

#[test]
fn bodies_arrive_piece_by_piece_in_both_directions() {
    in_sandbox(|host| {
        web(host, "one", "first");
        let script = "#!/bin/sh\nprintf \"Content-Type: text/plain\\r\\n\\r\\n\"; echo begin\nwhile [ ! -e /tmp/go ]; do usleep 10000; done; echo end\n";
        fs::write(host.file("slow"), script).unwrap();
        fs::set_permissions(host.file("slow"), fs::Permissions::from_mode(0o755)).unwrap();
        host.appc(["-c", "one", "put", "slow", "/srv/cgi-bin/slow"]).succeeds();
        host.appc(["gateway", "publish", "shop.test", "one"]).succeeds();
        host.appc(["gateway", "publish", "up.test", "one:9000"]).succeeds();
        let _gateway = gateway(host);

        let mut down = TcpStream::connect("127.0.0.1:80").unwrap();
        down.set_read_timeout(Some(allowed(Duration::from_secs(20)))).unwrap();
        down.write_all(b"GET /cgi-bin/slow HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        let mut buffer = [0; 1000];
        while !answer.contains("begin\n") {
            let read = down.read(&mut buffer).unwrap();
            assert!(read > 0, "{answer}");
            answer += std::str::from_utf8(&buffer[..read]).unwrap();
        }
        assert!(!answer.contains("end\n"));
        host.sh_in("one", "touch /tmp/go").succeeds();
        down.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("end\n"), "{answer}");

        // Without an end of its own input, or it would close its side at once.
        host.spawn_in("one", "sleep 1000 | nc -l -p 9000 > /tmp/got");
        let listens = "grep -q ':2328 ' /proc/net/tcp /proc/net/tcp6";
        eventually("nc listens", || (host.sh_in("one", listens).code == 0).then_some(()));
        let mut up = TcpStream::connect("127.0.0.1:80").unwrap();
        up.write_all(b"POST / HTTP/1.1\r\nHost: up.test\r\nContent-Length: 1000000\r\n\r\nthe first piece").unwrap();
        eventually("a piece of what is not sent yet", || {
            (host.sh_in("one", "grep -q 'the first piece' /tmp/got").code == 0).then_some(())
        });
    });
}

#[test]
fn a_web_socket_passes_and_outlives_what_does_not_change_the_gateway() {
    in_sandbox(|host| {
        web(host, "one", "first");
        web(host, "two", "second");
        // RFC 6455, 4.2.2; then whatever comes goes back.
        let script = r#"while IFS= read -r line; do
  line=$(printf %s "$line" | tr -d '\r'); [ -n "$line" ] || break
  case $line in [Ss]ec-[Ww]eb[Ss]ocket-[Kk]ey:*) key=${line#*: } ;; esac
done
sum=$(printf %s "${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11" | sha1sum | cut -c 1-40 | sed 's/../\\x&/g')
printf 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n' "$(printf "$sum" | base64)"
exec cat
"#;
        fs::write(host.file("socket"), script).unwrap();
        host.appc(["-c", "one", "put", "socket", "/srv/socket"]).succeeds();
        host.spawn_in("one", "exec nc -ll -p 9001 -e sh /srv/socket");
        let ip = host.inspect("one")["ip"].as_str().unwrap().to_owned();
        wait_for(&ip, 9001);
        host.appc(["gateway", "publish", "socket.test", "one:9001"]).succeeds();
        host.appc(["gateway", "publish", "two.test", "two"]).succeeds();
        let _gateway = gateway(host);

        let mut socket = TcpStream::connect("127.0.0.1:80").unwrap();
        socket.set_read_timeout(Some(allowed(Duration::from_secs(20)))).unwrap();
        let ask = "GET /chat HTTP/1.1\r\nHost: socket.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write_all(ask.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 101 ") && head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        let mut echo = |frame: &[u8]| {
            socket.write_all(frame).unwrap();
            let mut back = vec![0; frame.len()];
            socket.read_exact(&mut back).unwrap();
            assert_eq!(back, frame);
        };
        echo(b"\x81\x05hello");
        // None of this is anything to Caddy.
        host.appc(["restart", "two"]).succeeds();
        host.provision("three");
        host.appc(["rm", "three"]).succeeds();
        host.appc(["stop", "two"]).succeeds();
        host.appc(["rename", "two", "four"]).succeeds();
        host.appc(["gateway", "publish", "two.test", "four"]).succeeds();
        echo(b"\x82\x04\x00\xff\x00\x0a");
    });
}

/// A certificate for `names` and its key, made for the test and signed by itself.
fn certificate(host: &Host, file: &str, names: &str) {
    let make = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {file}.key -out {file}.pem -days 2 \
         -subj /CN=test -addext subjectAltName={names}"
    );
    host.sh(&make).succeeds();
}

/// What curl gets from `https://NAME/` or `http://NAME/` when it trusts `root` only.
fn curl(host: &Host, url: &str, root: &str) -> appcontainers_tests::Finished {
    let name = url.split('/').nth(2).unwrap();
    let resolve = [80, 443].map(|port| format!("{name}:{port}:127.0.0.1"));
    host.run(
        "curl",
        [
            "-sS",
            "-m",
            "20",
            "--cacert",
            root,
            "--resolve",
            &resolve[0],
            "--resolve",
            &resolve[1],
            "-w",
            "\n%{http_code} %{http_version}",
            url,
        ],
    )
}

#[test]
fn names_have_certificates_of_their_own_by_file() {
    in_sandbox(|host| {
        web(host, "one", "first");
        certificate(host, "a", "DNS:a.test");
        certificate(host, "b", "DNS:*.b.test");
        let publish = |name: &str, file: &str| {
            let [certificate, key] = ["pem", "key"].map(|end| format!("{file}.{end}"));
            host.appc(["gateway", "publish", name, "one", "--tls-cert", &certificate, "--tls-key", &key])
        };
        // The key is root's own, as openssl makes it; the same with a gateway that runs.
        publish("a.test", "a").refuses(1, &["Caddy refuses", "a.key", "permission denied"]);
        publish("a.test", "nosuch").refuses(1, &["nosuch.pem", "No such file"]);
        assert_eq!(host.json(["gateway", "ls"]), Value::Array(Vec::new()));
        let mut running = Some(gateway(host));
        publish("a.test", "a").refuses(1, &["Caddy refuses", "a.key", "permission denied"]);
        assert_eq!(host.json(["gateway", "ls"]), Value::Array(Vec::new()));
        host.sh("chgrp caddy *.key && chmod 640 *.key").succeeds();
        assert_eq!(publish("a.test", "a").succeeds(), "https://a.test");
        publish("*.b.test", "b").succeeds();

        for _ in 0..2 {
            assert_eq!(curl(host, "https://a.test/", "a.pem").succeeds(), "first\n\n200 2");
            assert_eq!(curl(host, "https://x.b.test/", "b.pem").succeeds(), "first\n\n200 2");
            assert_ne!(curl(host, "https://a.test/", "b.pem").code, 0, "one name has another's certificate");
            let answer = exchange(80, "GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
            assert!(
                answer.starts_with("HTTP/1.1 308 ") && answer.contains("Location: https://a.test/x?y=1\r\n"),
                "{answer}"
            );
            // And again after it has ended and begun anew.
            if let Some(gateway) = running.take() {
                gateway.signal(Signal::TERM);
                assert_eq!(gateway.wait().code, 0);
                running = Some(self::gateway(host));
            }
        }

        // A certificate that is replaced is used when the gateway is told to look.
        certificate(host, "new", "DNS:a.test");
        host.sh("chgrp caddy new.key && chmod 640 new.key && mv new.key a.key && cp new.pem a.pem").succeeds();
        host.appc(["gateway", "reload"]).succeeds();
        assert_eq!(curl(host, "https://a.test/", "new.pem").succeeds(), "first\n\n200 2");
        host.appc(["gateway", "publish", "a.test", "one", "--no-tls"]).succeeds();
        assert_eq!(get("a.test"), ok("first"));
    });
}

#[test]
fn a_name_gets_its_certificate_from_an_authority_by_acme() {
    in_sandbox(|host| {
        web(host, "one", "first");
        host.sh("echo 127.0.0.1 ca.test shop.test >> /etc/hosts").succeeds();
        let authority = r#"{
  admin off
  http_port 9080
  https_port 9443
  skip_install_trust
}
https://ca.test:9443 {
  tls internal
  acme_server
}
"#;
        fs::write(host.file("Caddyfile"), authority).unwrap();
        let mut command = host.command("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]);
        command
            .env("HOME", host.file(""))
            .env("XDG_DATA_HOME", host.file("ca"))
            .env("XDG_CONFIG_HOME", host.file("ca"));
        let _authority = host.start_command(command, allowed(Duration::from_secs(100)));
        let root = host.file("ca/caddy/pki/authorities/local/root.crt");
        eventually("the authority", || {
            let tried = host
                .run("curl", ["-sS", "--cacert", root.to_str().unwrap(), "https://ca.test:9443/acme/local/directory"]);
            (tried.code == 0).then_some(())
        });
        fs::copy(&root, host.file("root.pem")).unwrap();
        fs::set_permissions(host.file("root.pem"), fs::Permissions::from_mode(0o644)).unwrap();

        let _gateway = gateway(host);
        let directory = "https://ca.test:9443/acme/local/directory";
        let acme = ["--acme", "admin@shop.test", "--acme-directory", directory, "--acme-root", "root.pem"];
        host.appc([&["gateway", "publish", "*.test", "one"], &acme[..]].concat()).refuses(1, &["*.test", "--tls-cert"]);
        assert_eq!(
            host.appc([&["gateway", "publish", "shop.test", "one"], &acme[..]].concat()).succeeds(),
            "https://shop.test"
        );
        eventually("a certificate", || {
            let got = curl(host, "https://shop.test/", "root.pem");
            (got.code == 0).then(|| assert_eq!(got.succeeds(), "first\n\n200 2"))
        });
        // It is kept where nobody but Caddy reads it.
        let data = host.paths().gateway_data();
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o7777, 0o700);
        let kept = host.run("find", [data.to_str().unwrap(), "-name", "shop.test.key"]).succeeds();
        assert!(!kept.is_empty(), "no key was kept");
    });
}

#[test]
fn the_gateway_follows_the_containers() {
    in_sandbox(|host| {
        web(host, "one", "first");
        web(host, "two", "second");
        host.app_image(|name| {
            host.sh_in(name, "mkdir /srv; echo third > /srv/index.html").succeeds();
            host.add_startup_command(name, "exec httpd -f -p 80 -h /srv");
        });
        host.ephemeral("three");
        host.appc(["start", "three"]).succeeds();
        let _gateway = gateway(host);
        host.appc(["gateway", "publish", "shop.test", "one", "two"]).succeeds();
        host.appc(["gateway", "publish", "three.test", "three"]).succeeds();
        eventually("the ephemeral one", || (get("three.test") == ok("third")).then_some(()));

        // Removed: no more requests for its address, at once.
        host.appc(["rm", "-f", "two"]).succeeds();
        assert!((0..4).all(|_| get("shop.test") == ok("first")));
        let configuration = fs::read_to_string(host.paths().gateway_run().join("applied.json")).unwrap();
        let one = host.inspect("one")["ip"].as_str().unwrap().to_owned();
        assert_eq!(configuration.matches("\"dial\"").count(), 2, "{configuration}");
        assert!(configuration.contains(&format!("{one}:80")));
        // Nobody inherits what was published of another with its name.
        web(host, "two", "impostor");
        assert!((0..4).all(|_| get("shop.test") == ok("first")));
        host.appc(["rm", "-f", "two"]).succeeds();

        // Renamed: still there, also when the gateway begins anew.
        host.appc(["stop", "one"]).succeeds();
        host.appc(["rename", "one", "shop"]).succeeds();
        host.appc(["start", "shop"]).succeeds();
        eventually("the renamed one", || (get("shop.test") == ok("first")).then_some(()));
        assert_eq!(host.json(["gateway", "ls"])[0]["upstreams"][0]["container"], "shop");

        // At another address.
        let [ip, three] = ["shop", "three"].map(|name| host.inspect(name)["ip"].as_str().unwrap().to_owned());
        let (network, last) = ip.rsplit_once('.').unwrap();
        let free =
            (200..250).map(|last| format!("{network}.{last}")).find(|free| *free != three && !free.ends_with(last));
        host.appc(["set", "shop", "--ip", &free.unwrap()]).succeeds();
        assert!((0..4).all(|_| get("shop.test") == ok("first")));
        assert!(
            !fs::read_to_string(host.paths().gateway_run().join("applied.json")).unwrap().contains(&format!("{ip}:80"))
        );

        // Gone with its stop: the name stays, and says so.
        host.appc(["stop", "three"]).succeeds();
        eventually("the end of the ephemeral one", || (get("three.test").0 == "503").then_some(()));
        let sites = host.json(["gateway", "ls"]);
        assert_eq!((&sites[1]["name"], &sites[1]["upstreams"]), (&"three.test".into(), &Value::Array(Vec::new())));

        host.appc(["rm", "-f", "shop"]).succeeds();
        assert_eq!(get("shop.test").0, "503");
        for name in ["shop.test", "three.test"] {
            host.appc(["gateway", "unpublish", name]).succeeds();
        }
        assert!(!host.paths().gateway().exists());
    });
}

#[test]
fn a_gateway_that_was_killed_comes_back_with_what_was_published_meanwhile() {
    in_sandbox(|host| {
        web(host, "one", "first");
        host.appc(["gateway", "publish", "a.test", "one"]).succeeds();
        let first = gateway(host);
        let again = host.appc(["gateway", "run"]);
        again.refuses(1, &["runs already", &first.pid().as_raw_nonzero().to_string()]);
        assert_eq!(get("a.test"), ok("first"));
        first.signal(Signal::KILL);
        let _ = first.wait();
        assert_eq!(only_site(host)["served"], false);
        host.appc(["gateway", "publish", "b.test", "one"]).succeeds();
        host.appc(["gateway", "reload"]).refuses(1, &["does not run", "appc gateway run"]);

        // Published while it is starting: what Caddy has read of the file is not all.
        fs::remove_file(host.paths().gateway_run().join("applied.json")).unwrap();
        let mut command = host.command("appc");
        command.args(["gateway", "run"]);
        let _second = host.start_command(command, allowed(Duration::from_secs(100)));
        eventually("the gateway's process", || fs::metadata(host.paths().gateway_run().join("applied.json")).ok());
        host.appc(["gateway", "publish", "c.test", "one"]).succeeds();
        eventually("the gateway", || {
            TcpStream::connect("127.0.0.1:80").ok().filter(|_| host.json(["gateway", "ls"])[2]["served"] == true)
        });
        for name in ["a.test", "b.test", "c.test"] {
            assert_eq!(get(name), ok("first"));
        }

        // What Caddy was told of last is not known: it is told again.
        fs::remove_file(host.paths().gateway_run().join("applied.json")).unwrap();
        assert_eq!(only_served(host), 0);
        host.appc(["gateway", "publish", "a.test", "one"]).succeeds();
        assert_eq!(only_served(host), 3);
    });
}

fn only_served(host: &Host) -> usize {
    host.json(["gateway", "ls"]).as_array().unwrap().iter().filter(|site| site["served"] == true).count()
}

#[test]
fn caddy_is_confined_and_nobody_else_speaks_to_it() {
    in_sandbox(|host| {
        web(host, "one", "first");
        host.appc(["gateway", "publish", "a.test", "one"]).succeeds();
        // With the capabilities that its unit has, also when one that was killed has left its files.
        let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/systemd/appcontainers-gateway.service");
        let unit = fs::read_to_string(unit).unwrap();
        let set = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
        let set =
            set.split(' ').map(|name| name.trim_start_matches("CAP_").to_lowercase()).collect::<Vec<_>>().join(",+");
        let start = || {
            let mut command = host.command("setpriv");
            command.args([&format!("--bounding-set=-all,+{set}"), "--no-new-privs", "appc", "gateway", "run"]);
            gateway_by(host, command)
        };
        let first = start();
        first.signal(Signal::KILL);
        let _ = first.wait();
        assert!(host.paths().gateway_run().join("admin/socket").exists());
        let gateway = start();
        assert_eq!(get("a.test"), ok("first"));
        let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid().as_raw_nonzero())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap().split_whitespace().next().unwrap().to_owned()
        };
        assert_eq!(field("Name"), "caddy");
        assert_ne!(field("Uid"), "0");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            // CAP_NET_BIND_SERVICE, capabilities(7).
            assert_eq!(u64::from_str_radix(&field(set), 16).unwrap(), 1 << 10, "{set}");
        }
        assert_eq!(field("NoNewPrivs"), "1");
        let run = host.paths().gateway_run();
        for (path, mode) in [(run.clone(), 0o750), (run.join("admin"), 0o700)] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode, "{}", path.display());
        }
        assert!(TcpStream::connect("127.0.0.1:2019").is_err(), "Caddy's admin endpoint is open to all users");
        let as_nobody =
            host.sh(&format!("setpriv --reuid=65534 --regid=65534 --clear-groups cat {}/caddy.json", run.display()));
        assert_ne!(as_nobody.code, 0);
    });
}

#[test]
fn the_doctor_and_the_setup_know_of_it() {
    in_sandbox(|host| {
        host.provision("one");
        let verdict = || {
            let text = host.run("appc", ["--json", "doctor"]).text();
            let checks: Value = serde_json::from_str(&text).unwrap();
            let checks = checks.as_array().unwrap().clone();
            checks.into_iter().find(|check| check["name"] == "gateway").map(|check| check["verdict"].clone())
        };
        assert_eq!(verdict(), None);
        host.appc(["gateway", "publish", "a.test", "one"]).succeeds();
        assert_eq!(verdict().unwrap(), "warning");
        let _gateway = gateway(host);
        assert_eq!(verdict().unwrap(), "fit");
        host.appc(["rm", "one"]).succeeds();
        host.appc(["setup", "--undo"]).refuses(1, &["the gateway runs", "end it first"]);
        host.appc(["gateway", "unpublish", "a.test"]).succeeds();
    });
}

#[test]
fn what_cannot_be_published_is_refused_with_what_to_do() {
    in_sandbox(|host| {
        host.provision("one");
        let publish = |words: &[&str]| host.appc([&["gateway", "publish"], words].concat());
        for bad in ["a_b.test", "-a.test", "10.0.0.1", "a..b", "a\nb", "{env.HOME}", "a b", "*"] {
            publish(&[bad, "one"]).fails(2);
        }
        for bad in ["one:0", "one:65536", "one:http", "ONE", "one:", ":80", "o\x1bne"] {
            publish(&["a.test", bad]).fails(2);
        }
        for bad in [
            &["--port", "0"][..],
            &["--port", "65536"],
            &["--health", "healthz"],
            &["--health", "/a b"],
            &["--tls-cert", "c.pem"],
            &["--acme", "nobody"],
            &["--acme", "a@b.test", "--acme-directory", "http://ca.test"],
            &["--acme-root", "r.pem"],
            &["--no-tls", "--acme", "a@b.test"],
        ] {
            publish(&[&["a.test", "one"], bad].concat()).fails(2);
        }
        publish(&["a.test"]).fails(2);
        publish(&["a.test", "nosuch"]).refuses(1, &["no container nosuch", "appc ls"]);
        publish(&["a.test", "one", "one:80"]).refuses(1, &["one:80", "twice"]);
        let unpublish = |words: &[&str]| host.appc([&["gateway", "unpublish"], words].concat());
        unpublish(&["a.test"]).refuses(1, &["a.test", "appc gateway ls"]);
        publish(&["a.test", "one"]).succeeds();
        unpublish(&["a.test", "one:81"]).refuses(1, &["one:81", "a.test"]);
        certificate(host, "c", "DNS:b.test");
        host.sh("chmod 644 c.key").succeeds();
        let tls = ["b.test", "one", "--port", "80", "--tls-cert", "c.pem", "--tls-key", "c.key"];
        publish(&tls).refuses(1, &["port 80", "a.test", "--port"]);
        fs::write(host.file("bad{x}.pem"), "").unwrap();
        publish(&["b.test", "one", "--tls-cert", "bad{x}.pem", "--tls-key", "c.key"])
            .refuses(1, &["bad{x}.pem", "another name"]);
        fs::write(host.file("bad.pem"), "no certificate").unwrap();
        publish(&["b.test", "one", "--tls-cert", "bad.pem", "--tls-key", "c.key"]).refuses(1, &["Caddy refuses"]);
        assert_eq!(only_site(host)["name"], "a.test");

        // A port that somebody has: before the gateway runs, and while it does.
        let taken = TcpListener::bind("127.0.0.1:80").unwrap();
        host.appc(["gateway", "run"]).refuses(1, &["port 80", "taken", "ss -ltnp"]);
        drop(taken);
        let _gateway = gateway(host);
        let _taken = TcpListener::bind("127.0.0.1:8080").unwrap();
        publish(&["b.test", "one", "--port", "8080"]).refuses(1, &["port 8080", "taken"]);
        assert_eq!(only_site(host)["served"], true);
    });
}

#[test]
fn a_host_without_caddy_is_told_which_package_it_lacks() {
    in_sandbox(|host| {
        host.provision("one");
        // Programs are looked for in their usual places as well: here none of them has Caddy.
        let hide = ": > nothing; chmod 644 nothing; for file in /usr/bin/caddy /usr/local/bin/caddy; do [ ! -e $file ] || mount --bind nothing $file; done";
        host.sh(hide).succeeds();
        for words in [&["publish", "a.test", "one"][..], &["run"]] {
            host.appc([&["gateway"], words].concat()).refuses(1, &["caddy", "apt-get install caddy"]);
        }
        assert_eq!(host.json(["gateway", "ls"]), Value::Array(Vec::new()));
        host.sh("umount /usr/bin/caddy").succeeds();
    });
}
