//! `appc wait-port`: scripts wait until a container's port is ready, and never for ever.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use appcontainers_tests::{Host, LIMIT, Running, allowed, eventually, in_sandbox};

/// A server in container `web` that runs a line of shell for each connection.
fn serve(host: &Host, port: u16, line: &str) {
    let script = format!("/root/serve-{port}");
    host.sh_in("web", &format!("printf '%s\\n' '#!/bin/sh' {} > {script}; chmod +x {script}", quoted(line))).succeeds();
    host.spawn_in("web", &format!("exec nc -ll -p {port} -e {script}"));
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Reads a request to its end and answers it.
fn answer(code: &str) -> String {
    let read = "while read -r line; do echo \"$line\" >> /root/asked; [ ${#line} -gt 1 ] || break; done";
    format!("{read}; printf 'HTTP/1.1 {code}\\r\\nContent-Length: 0\\r\\n\\r\\n'")
}

fn waiting(host: &Host, arguments: &[&str]) -> Running {
    let mut command = host.command("appc");
    command.arg("wait-port").args(arguments);
    host.start_command(command, LIMIT)
}

#[test]
fn a_port_is_ready_when_it_takes_connections() {
    in_sandbox(|host| {
        host.start("web");
        let begin = Instant::now();
        host.spawn_in("web", "sleep 1; exec httpd -f -p 8080 -h /etc");
        host.appc(["wait-port", "web:8080"]).succeeds();
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(900) && took < allowed(Duration::from_secs(3)), "{took:?}");
        // What it says is for scripts: nothing.
        assert_eq!(host.appc(["-c", "web", "wait-port", "8080", "--timeout", "0"]).succeeds(), "");
        host.appc(["wait-port", "web:8080/tcp"]).succeeds();
        host.sh("busybox wget -q -O - http://$(appc inspect web --json | sed -n 's/.*\"ip\": \"\\(.*\\)\",/\\1/p'):8080/passwd").succeeds();
    });
}

#[test]
fn with_http_it_is_ready_when_it_answers_so() {
    in_sandbox(|host| {
        host.start("web");
        let by_file =
            format!("if [ -e /root/ready ]; then {}; else {}; fi", answer("204 No Content"), answer("503 Wait"));
        serve(host, 80, &by_file);
        host.appc(["wait-port", "web:80"]).succeeds();
        host.appc(["wait-port", "web:80", "--http", "/", "--timeout", "1"]).refuses(124, &["web", ":80", "503"]);
        let patient = waiting(host, &["web:80", "--http", "/"]);
        host.sh_in("web", "sleep 0.3; touch /root/ready").succeeds();
        patient.wait().succeeds();
        // It asks for what it was told to, as HTTP has it.
        host.sh_in("web", "rm /root/asked").succeeds();
        serve(host, 81, &answer("302 Found"));
        host.appc(["wait-port", "web:81", "--http", "/health?full=1"]).succeeds();
        let asked = host.in_container("web", ["cat", "/root/asked"]).succeeds();
        assert!(asked.starts_with("GET /health?full=1 HTTP/1.1\r\nHost: 10."), "{asked}");
        // Interim answers are no answer, and what follows them is.
        serve(host, 82, &format!("printf 'HTTP/1.1 100 Continue\\r\\n\\r\\n'; sleep 0.1; {}", answer("200 OK")));
        host.appc(["wait-port", "web:82", "--http", "/"]).succeeds();
        serve(host, 83, &answer("404 Not Found"));
        host.appc(["wait-port", "web:83", "--http", "/x", "--timeout", "1"]).refuses(124, &["404"]);
    });
}

#[test]
fn what_is_no_http_is_never_taken_for_an_answer_and_never_waited_for_for_ever() {
    in_sandbox(|host| {
        host.start("web");
        serve(host, 22, "echo SSH-2.0-OpenSSH; sleep 100");
        serve(host, 23, "exec sleep 100");
        serve(host, 24, "true");
        serve(host, 25, "while :; do printf 'HTTP/1.1 100 Continue\\r\\n\\r\\n'; done");
        serve(host, 26, "printf 'HTTP/1.1 200 OK\\r\\n'; while :; do echo 'A: b'; done");
        for (port, word) in
            [("22", "not HTTP"), ("23", "no answer in time"), ("24", ""), ("25", ""), ("26", "not HTTP")]
        {
            let begin = Instant::now();
            let port = format!("web:{port}");
            host.appc(["wait-port", &port]).succeeds();
            host.appc(["wait-port", &port, "--http", "/", "--timeout", "1"]).refuses(124, &["web", word]);
            assert!(begin.elapsed() < allowed(Duration::from_secs(4)), "{port}: {:?}", begin.elapsed());
        }
    });
}

#[test]
fn a_port_that_does_not_get_ready_has_an_exit_code_of_its_own() {
    in_sandbox(|host| {
        host.start("web");
        for timeout in ["0", "1"] {
            let begin = Instant::now();
            host.appc(["wait-port", "web:80", "--timeout", timeout]).refuses(124, &["web", ":80", "refused"]);
            let (took, seconds) = (begin.elapsed(), Duration::from_secs(timeout.parse().unwrap()));
            assert!(took >= seconds && took < seconds + allowed(Duration::from_secs(2)), "{took:?}");
        }
        // Nobody refuses: what is sent there is lost.
        host.sh("nft 'add table ip lost; add chain ip lost out { type filter hook output priority 0; }; \
             add rule ip lost out tcp dport 81 drop'")
            .succeeds();
        host.appc(["wait-port", "web:81", "--timeout", "1"]).refuses(124, &["web", ":81", "in time"]);
        let lost = waiting(host, &["web:81"]);
        eventually("it waits", || host.sh("ss -Htn state syn-sent").succeeds().contains(":81").then_some(()));
        let begin = Instant::now();
        host.appc(["stop", "web", "--timeout", "0"]).succeeds();
        lost.wait().refuses(1, &["web", "stopped", "81"]);
        assert!(begin.elapsed() < allowed(Duration::from_secs(3)), "{:?}", begin.elapsed());
        host.sh("nft delete table ip lost").succeeds();
    });
}

#[test]
fn a_container_that_does_not_run_is_not_waited_for() {
    in_sandbox(|host| {
        host.provision("web");
        let begin = Instant::now();
        host.appc(["wait-port", "web:80"]).refuses(1, &["web", "not running", "appc start web"]);
        host.appc(["wait-port", "ghost:80"]).refuses(1, &["ghost"]);
        host.appc(["start", "web"]).succeeds();
        serve(host, 23, "exec sleep 100");
        for arguments in [&["web:80"][..], &["web:80", "--http", "/"], &["web:23", "--http", "/"]] {
            let waiting = waiting(host, arguments);
            std::thread::sleep(Duration::from_millis(100));
            host.appc(["stop", "web", "--timeout", "0"]).succeeds();
            waiting.wait().refuses(1, &["web", "stopped", "logs"]);
            host.appc(["start", "web"]).succeeds();
        }
        assert!(begin.elapsed() < allowed(Duration::from_secs(10)), "{:?}", begin.elapsed());
    });
}

#[test]
fn what_can_not_be_waited_for_is_refused_with_the_reason() {
    in_sandbox(|host| {
        host.start("web");
        let said = host.appc(["wait-port", "web:53/udp"]).fails(2);
        assert!(said.contains("UDP has no connections"), "{said}");
        for bad in ["web", "web:0", "web:65536", "web:http", "web:80/sctp", "web:1\n"] {
            host.appc(["wait-port", bad]).fails(2);
        }
        for bad in ["health", "", "/a b", "/a\r\nX: y", "/\u{e4}"] {
            host.appc(["wait-port", "web:80", "--http", bad]).fails(2);
        }
    });
}
