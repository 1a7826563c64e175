//! Published ports: who reaches them, under which address, who holds them, and the exceptions.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use appcontainers_tests::{Host, Outside, Places, Probe, Prober, Running, Said, eventually, in_sandbox};
use serde_json::{Value, json};

fn appc(host: &Host, line: &str) {
    host.appc(line.split(' ')).succeeds();
}

/// The host's addresses in the containers' network, in both protocols.
fn gateways(host: &Host, name: &str) -> [String; 2] {
    ["ip", "ip -6"].map(|ip| {
        let route = host.sh_in(name, &format!("{ip} route")).succeeds();
        route.split_whitespace().skip_while(|word| *word != "via").nth(1).unwrap().to_owned()
    })
}

/// What a container publishes, as its file has it.
fn published(host: &Host, name: &str) -> Value {
    let path = host.paths().container(&name.parse().unwrap()).join("network.json");
    let text = std::fs::read(path).unwrap_or_else(|_| b"{}".to_vec());
    serde_json::from_slice::<Value>(&text).unwrap()["publish"].take()
}

fn is_refused(prober: &Prober, kind: &'static str, address: &str, port: u16) {
    let said = prober.tries(&Probe::new(kind, address, port));
    assert!(matches!(said, Said::Refused(_)), "{kind} {address} {port} of {}: {said:?}", prober.name());
}

/// A program of the host that listens at a port, until it is dropped.
fn listen(host: &Host, kind: &str, port: u16) -> Running {
    let program = format!(
        "import socket, sys\ns = socket.socket(type=socket.{kind})\ns.bind(('', {port}))\n{}print('ready', flush=True)\nsys.stdin.read()",
        if kind == "SOCK_STREAM" { "s.listen()\n" } else { "" }
    );
    let mut program = host.spawn("/usr/bin/python3", ["-c", &program]);
    program.read_until("ready\n");
    program
}

#[test]
fn those_outside_reach_what_is_published_and_are_seen_under_their_own_address() {
    in_sandbox(|host| {
        let places = Places::new(host, &["web"]);
        for line in [
            "publish 8080 web:8000",
            "publish 5353/udp web:8001",
            "publish 9000-9001 web:8000-8001",
            "publish 9100-9101/udp web:8000",
            "publish 7443 web:8000 --address 198.18.0.1",
            "publish 7444 web:8000 --address 2001:db8:1::1",
            "publish 7444/udp web:8001 --address 2001:db8:1::1",
        ] {
            appc(host, line);
        }
        let outside = &places.outside;
        for (at, own) in Outside::HOST.iter().zip(Outside::ADDRESSES) {
            for (kind, port) in [("tcp", 8080), ("udp", 5353), ("tcp", 9000), ("tcp", 9001), ("udp", 9100)] {
                assert_eq!(outside.gets(kind, at, port), format!("web {own}"), "{kind} {port}");
            }
            // The other protocol, the port beside, and what the container has at 8001.
            for (kind, port) in [("udp", 8080), ("tcp", 5353), ("tcp", 8081), ("tcp", 9002), ("udp", 9102)] {
                is_refused(outside, kind, at, port);
            }
        }
        let [at4, at6] = Outside::HOST;
        assert_eq!(outside.gets("tcp", at4, 7443), "web 198.18.0.2");
        assert_eq!(outside.gets("tcp", at6, 7444), "web 2001:db8:1::2");
        assert_eq!(outside.gets("udp", at6, 7444), "web 2001:db8:1::2");
        is_refused(outside, "tcp", at6, 7443);
        is_refused(outside, "tcp", at4, 7444);
        is_refused(outside, "udp", at4, 7444);
        is_refused(&places.host, "tcp", "127.0.0.1", 7443);
        // The container itself is as closed as before.
        let web = &places.containers[0];
        let tries: Vec<_> = web.addresses().map(|address| Probe::new("tcp", address, 8000)).into();
        outside.fails_to_reach(&tries, web, &places.host);
        // Each goes by itself.
        appc(host, "unpublish 9000-9001 web");
        is_refused(outside, "tcp", at4, 9000);
        is_refused(outside, "tcp", at6, 9001);
        assert_eq!(outside.gets("tcp", at4, 8080), "web 198.18.0.2");
        host.appc(["unpublish", "9000", "web"]).refuses(1, &["web", "9000"]);
        host.appc(["unpublish", "7443", "web", "--address", "192.0.2.1"]).refuses(1, &["web", "7443"]);
        appc(host, "unpublish 7443 web --address 198.18.0.1");
        is_refused(outside, "tcp", at4, 7443);
    });
}

#[test]
fn the_host_and_containers_reach_what_is_published_with_the_exceptions_that_are_documented() {
    in_sandbox(|host| {
        let places = Places::new(host, &["web", "other"]);
        let [web, other] = &places.containers[..] else { panic!("two containers") };
        appc(host, "publish 8080 web:8000");
        appc(host, "publish 8080/udp web:8000");
        let gateways = gateways(host, "web");
        for kind in ["tcp", "udp"] {
            for (version, gateway) in gateways.iter().enumerate() {
                let at = Outside::HOST[version];
                // From the host itself, under the address that it was asked at.
                assert_eq!(places.host.gets(kind, at, 8080), format!("web {at}"));
                assert_eq!(places.host.gets(kind, gateway, 8080), format!("web {gateway}"));
                // From containers, also from the one itself, under the host's.
                for container in [web, other] {
                    for address in [at, gateway] {
                        assert_eq!(
                            container.gets(kind, address, 8080),
                            format!("web {gateway}"),
                            "{}",
                            container.name()
                        );
                    }
                }
            }
            assert_eq!(places.host.gets(kind, "127.0.0.1", 8080), format!("web {}", gateways[0]));
            assert_eq!(places.host.gets(kind, "127.7.7.7", 8080), format!("web {}", gateways[0]));
        }
        // Packets from ::1 leave no host.
        is_refused(&places.host, "tcp", "::1", 8080);
        // What is the host's own at 127.0.0.1 stays out of containers' reach.
        other.fails_to_reach(&[Probe::new("tcp", &gateways[0], 8000)], &places.host, &places.outside);
    });
}

/// Whether a program of the host can have the port, in whatever way it asks: what the kernel says if not.
#[track_caller]
fn assert_held(host: &Prober, is_held: bool, kind: &str, port: u16) {
    for address in ["0.0.0.0", "::", "127.0.0.1", "198.18.0.1", "2001:db8:1::1"] {
        for options in [&[][..], &["SO_REUSEADDR"], &["SO_REUSEPORT"], &["SO_REUSEADDR", "SO_REUSEPORT"]] {
            let said = host.ask(&json!(["bind", kind, address, port, options])).unwrap();
            let expected = if is_held { json!("Address already in use") } else { Value::Null };
            assert_eq!(said, expected, "{kind} {address} {port} with {options:?}");
        }
    }
}

#[test]
fn a_published_port_is_held_as_long_as_its_container_runs() {
    in_sandbox(|host| {
        let mut places = Places::new(host, &["web"]);
        appc(host, "publish 8080 web:8000");
        appc(host, "publish 5300-5301/udp web:8001");
        let held = |places: &Places, is_held| {
            for (kind, port) in [("tcp", 8080), ("udp", 5300), ("udp", 5301)] {
                assert_held(&places.host, is_held, kind, port);
            }
            assert_held(&places.host, false, "udp", 8080);
            assert_held(&places.host, false, "tcp", 5300);
        };
        let reached = |places: &Places| {
            for (at, own) in Outside::HOST.iter().zip(Outside::ADDRESSES) {
                assert_eq!(places.outside.gets("tcp", at, 8080), format!("web {own}"));
                assert_eq!(places.outside.gets("udp", at, 5300), format!("web {own}"));
            }
            assert!(places.host.gets("tcp", "127.0.0.1", 8080).starts_with("web "));
        };
        held(&places, true);
        // Who adopts holds them again; packets go through all the time.
        host.kill_monitor("web");
        reached(&places);
        host.in_container("web", ["true"]).succeeds();
        held(&places, true);
        reached(&places);

        appc(host, "restart web");
        places.enter_again(host, "web");
        held(&places, true);
        reached(&places);

        appc(host, "stop web");
        held(&places, false);
        for at in Outside::HOST {
            is_refused(&places.outside, "tcp", at, 8080);
        }
        appc(host, "start web");
        places.enter_again(host, "web");
        held(&places, true);
        reached(&places);

        appc(host, "unpublish 8080 web");
        appc(host, "unpublish 5300-5301/udp web");
        held(&places, false);
        assert_eq!(published(host, "web"), Value::Null);
        let _taken = listen(host, "SOCK_STREAM", 8080);
    });
}

#[test]
fn a_port_that_somebody_has_is_refused_and_nothing_is_changed() {
    in_sandbox(|host| {
        let mut places = Places::new(host, &["web", "other"]);
        let taken = listen(host, "SOCK_STREAM", 8080);
        let taken_udp = listen(host, "SOCK_DGRAM", 5353);
        host.appc(["publish", "8080", "web:8000"]).refuses(1, &["port 8080", "taken", "program of this host"]);
        host.appc(["publish", "5353/udp", "web:8000"]).refuses(1, &["port 5353/udp", "program of this host"]);
        host.appc(["publish", "8075-8085", "web:8000"]).refuses(1, &["port 8080", "program of this host"]);
        host.appc(["publish", "9090", "web:80", "--address", "192.0.2.1"]).refuses(1, &["192.0.2.1", "no address"]);
        assert_eq!(published(host, "web"), Value::Null);
        is_refused(&places.outside, "tcp", Outside::HOST[0], 8079);
        assert_held(&places.host, false, "tcp", 8079);
        drop((taken, taken_udp));

        appc(host, "publish 8080 web:8000");
        for port in ["8080", "8079-8081"] {
            host.appc(["publish", port, "other:8000"])
                .refuses(1, &["port 8080", "container web", "appc unpublish 8080 web"]);
            host.appc(["publish", port, "web:8001"]).refuses(1, &["port 8080", "publishes it already"]);
        }
        host.appc(["publish", "8080", "other:8000", "--address", "198.18.0.1"])
            .refuses(1, &["port 8080", "container web"]);
        assert_eq!(published(host, "other"), Value::Null);
        assert_eq!(published(host, "web").as_array().unwrap().len(), 1);
        assert_eq!(places.outside.gets("tcp", Outside::HOST[0], 8080), "web 198.18.0.2");
        // Once more the same is no error.
        appc(host, "publish 8080 web:8000");
        // Not that of a container that is stopped: who starts first has it.
        appc(host, "stop web");
        appc(host, "publish 8080 other:8000");
        assert_eq!(places.outside.gets("tcp", Outside::HOST[1], 8080), "other 2001:db8:1::2");
        host.appc(["start", "web"]).refuses(1, &["web", "8080"]);
        assert_eq!(host.status("web"), "stopped");
        assert_eq!(places.outside.gets("tcp", Outside::HOST[0], 8080), "other 198.18.0.2");
        appc(host, "unpublish 8080 other");

        let taken = listen(host, "SOCK_STREAM", 8080);
        host.appc(["start", "web"]).refuses(1, &["web", "8080"]);
        host.appc(["gc"]).succeeds();
        drop(taken);
        appc(host, "start web");
        places.enter_again(host, "web");
        assert_eq!(places.outside.gets("tcp", Outside::HOST[0], 8080), "web 198.18.0.2");
    });
}

#[test]
fn another_address_of_the_container_needs_no_other_publication() {
    in_sandbox(|host| {
        let places = Places::new(host, &["web"]);
        appc(host, "publish 8080 web:8000");
        appc(host, "publish 8081/udp web:8000");
        let ip = host.inspect("web")["ip"].as_str().unwrap().to_owned();
        let (network, _) = ip.rsplit_once('.').unwrap();
        appc(host, &format!("set web --ip {network}.77"));
        for (at, own) in Outside::HOST.iter().zip(Outside::ADDRESSES) {
            assert_eq!(places.outside.gets("tcp", at, 8080), format!("web {own}"));
            assert_eq!(places.outside.gets("udp", at, 8081), format!("web {own}"));
        }
    });
}

/// As a resolver or a tunnel does, which never asks from another port.
#[test]
fn who_goes_on_sending_from_one_port_finds_the_container_that_has_the_port_now() {
    in_sandbox(|host| {
        let places = Places::new(host, &["one", "two"]);
        let [one, two] = &places.containers[..] else { panic!("two containers") };
        let (outside, stream) = (&places.outside, Prober::STREAM);
        for (version, at) in Outside::HOST.iter().enumerate() {
            outside.ask(&json!(["flow", format!("udp{version}"), "udp", at, 5000])).unwrap();
        }
        let from = |prober: &Prober, what: &str| {
            for address in Outside::ADDRESSES {
                let name = format!("from {address} udp");
                let before = prober.flow(&name).map_or(0, |flow| flow.received);
                eventually(what, || prober.flow(&name).filter(|flow| flow.received > before + 2).map(drop));
            }
        };
        eventually("it sends", || outside.flow("udp0").filter(|flow| flow.sent > 3).map(drop));
        appc(host, &format!("publish 5000/udp one:{stream}"));
        from(one, "packets come where the port was nobody's before");
        appc(host, "unpublish 5000/udp one");
        appc(host, &format!("publish 5000/udp two:{stream}"));
        from(two, "packets come to the other container");
        let ip = two.addresses()[0].rsplit_once('.').unwrap().0.to_owned();
        appc(host, &format!("set two --ip {ip}.99"));
        from(two, "packets come to the container's other address");
    });
}
