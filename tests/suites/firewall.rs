//! The firewall, proven by packets: who gets through to whom, before, after and while its rules are changed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use appcontainers_tests::{Host, Outside, Places, Probe, Prober, Reach, Said, allowed, eventually, in_sandbox, tries};
use serde_json::json;

fn appc(host: &Host, line: &str) {
    host.appc(line.split(' ')).succeeds();
}

#[test]
fn every_pair_reaches_each_other_as_the_rules_say_before_and_after_each_change() {
    in_sandbox(|host| {
        let mut places = Places::new(host, &["a", "b", "c"]);
        let mut reach = Reach::by_default(&["a", "b", "c"]);
        reach.check(&places.all(), "by default");
        let mut change = |line: &str, expect: &dyn Fn(&mut Reach)| {
            appc(host, line);
            expect(&mut reach);
            reach.check(&places.all(), line);
        };
        change("allow a b", &|reach| reach.open("a", "b"));
        change("allow b c:8000", &|reach| reach.open_at("b", "c", "tcp", 8000));
        change("allow c a:8001/udp", &|reach| reach.open_at("c", "a", "udp", 8001));
        // A port that all are allowed of anyway.
        change("allow a b:8000", &|_| {});
        change("deny a b:8000", &|_| {});
        change("allow a b:8001", &|_| {});
        change("deny a b", &|reach| reach.close("a", "b"));
        change("allow 198.18.0.0/24 a:8000", &|reach| {
            reach.open_at("outside", "a", "tcp", 8000);
            reach.close_version("outside", "a", 1);
        });
        change("allow 198.18.0.0/16 a:8000", &|_| {});
        change("deny 198.18.0.0/16 a:8000", &|_| {});
        change("allow 2001:db8:1::2 a:8000", &|reach| reach.open_at("outside", "a", "tcp", 8000));
        change("allow 198.18.0.2 b", &|reach| {
            reach.open("outside", "b");
            reach.close_version("outside", "b", 1);
        });
        change("allow 203.0.113.0/24 c", &|_| {});
        change("deny 198.18.0.0/24 a", &|reach| reach.close_version("outside", "a", 0));
        change("deny 2001:db8:1::2 a:8000", &|reach| reach.close("outside", "a"));
        change("deny 198.18.0.2 b", &|reach| reach.close("outside", "b"));
        change("set a --egress none", &|reach| reach.close("a", "outside"));
        change("set a --egress 203.0.113.0/24,198.18.0.0/24", &|reach| {
            reach.open("a", "outside");
            reach.close_version("a", "outside", 1);
        });
        change("set a --egress 2001:db8::/32", &|reach| {
            reach.open("a", "outside");
            reach.close_version("a", "outside", 0);
        });
        change("set a --egress all", &|reach| reach.open("a", "outside"));
        change("link a db b:8000", &|reach| reach.open_at("a", "b", "tcp", 8000));
        // Two reasons for one right.
        change("allow a b:8000", &|_| {});
        change("unlink a db", &|_| {});
        change("link a db b:8000", &|_| {});
        change("link a sql b:8000", &|_| {});
        change("deny a b:8000", &|_| {});
        change("unlink a sql", &|_| {});
        change("link a db c:8001/udp", &|reach| {
            reach.close("a", "b");
            reach.open_at("a", "c", "udp", 8001);
        });
        change("unlink a db", &|reach| reach.close("a", "c"));

        let other = "10.".to_owned() + &free_address(host);
        appc(host, &format!("set c --ip {other}"));
        places.containers[2].look_up_addresses(host);
        assert_eq!(places.containers[2].addresses()[0], other);
        reach.check(&places.all(), "with another address of c");

        appc(host, "restart a");
        places.enter_again(host, "a");
        reach.check(&places.all(), "after a restart of a");
        appc(host, "deny c a:8001/udp");
        appc(host, "deny b c");
        Reach::by_default(&["a", "b", "c"]).check(&places.all(), "when all is denied again");
    });
}

/// An address of the subnet that nobody has, less its first number.
fn free_address(host: &Host) -> String {
    let ip = host.inspect("a")["ip"].as_str().unwrap().to_owned();
    let parts: Vec<_> = ip.split('.').collect();
    format!("{}.200.7", parts[1])
}

/// Rules that others have are changed by several processes at once, two hundred in all on an ordinary host, while probes go on.
#[test]
fn while_two_hundred_other_rules_change_nothing_denied_gets_through_and_nothing_allowed_fails() {
    in_sandbox(|host| {
        let places = Places::new(host, &["a", "b", "c"]);
        let others: Vec<_> = (0..8).map(|n| format!("o{n}")).collect();
        for name in &others {
            host.provision(name);
        }
        for rule in ["allow a b:8000", "allow a b:8000/udp", "link a db c:8000", "publish 8080 c:8000"] {
            appc(host, rule);
        }
        let [a, b, c] = &places.containers[..] else { panic!("three containers") };
        let all = |kinds: &[&'static str], to: &Prober, port| -> Vec<Probe> {
            let pairs = kinds.iter().flat_map(|kind| to.addresses().map(|address| (*kind, address)));
            pairs.map(|(kind, address)| Probe::new(kind, address, port)).collect()
        };
        let both = ["tcp", "udp"];
        let of_a = [all(&both, b, 8001), all(&["udp"], c, 8000), all(&["icmp"], b, 0)].concat();
        let of_b = [all(&both, a, 8000), all(&both, c, 8000)].concat();
        let of_outside = all(&both, c, 8001);
        a.stream(&[all(&both, b, 8000), all(&["tcp"], c, 8000)].concat(), &of_a);
        b.stream(&all(&both, &places.outside, 8000), &of_b);
        let published: Vec<_> = Outside::HOST.iter().map(|host| Probe::new("tcp", host, 8080)).collect();
        places.outside.stream(&published, &of_outside);

        // The rules of those that the probes are about are among those that change.
        let each = tries(50) as usize;
        let changes: Vec<String> = (0..4 * each)
            .map(|n| match n % 4 {
                0 => format!("allow a c:{}", 10_000 + n),
                1 => format!("allow 203.0.113.{n} b:{}", 10_000 + n),
                2 => format!("link {} s{n} b:{}", others[n / 4 % 8], 10_000 + n),
                _ => format!("publish {} c:{}", 20_000 + n, 10_000 + n),
            })
            .collect();
        let next = AtomicUsize::new(0);
        let [before_a, before_b] = [a, b].map(Prober::rounds);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while let Some(change) = changes.get(next.fetch_add(1, Ordering::Relaxed)) {
                        appc(host, change);
                    }
                });
            }
        });
        let rounds = [(a, before_a), (b, before_b)].map(|(prober, before)| prober.rounds() - before);
        for prober in [a, b, &places.outside] {
            prober.end_stream();
        }
        assert!(rounds.iter().all(|rounds| *rounds > tries(20).into()), "they were tried only {rounds:?} times");
        let bad: Vec<_> = [of_a, of_b, of_outside].concat();
        for place in places.all() {
            let seen = place.seen();
            let through: Vec<_> = bad.iter().filter(|probe| seen.contains(probe.token())).collect();
            assert!(through.is_empty(), "{} saw {through:?}", place.name());
        }

        // All are there: in the files, and in the kernel.
        let table = host.sh("nft list ruleset").succeeds();
        let [address_a, address_b, address_c] = [a, b, c].map(|prober| prober.addresses()[0].to_owned());
        let others_ips: Vec<_> =
            others.iter().map(|name| host.inspect(name)["ip"].as_str().unwrap().to_owned()).collect();
        for (n, change) in changes.iter().enumerate() {
            let other = &others_ips[n / 4 % 8];
            let port = 10_000 + n;
            let element = match n % 4 {
                0 => format!("{address_a} . {address_c} . tcp . {port}"),
                1 => format!("203.0.113.{n} . {address_b} . tcp . {port}"),
                2 => format!("{other} . {address_b} . tcp . {port}"),
                _ => format!("tcp . {} : {address_c} . {port}", 20_000 + n),
            };
            assert!(table.contains(&element), "{change} is not in the kernel");
        }
        let rules = |name: &str| {
            let path = host.paths().container(&name.parse().unwrap()).join("network.json");
            serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).unwrap()
        };
        let count = |name: &str, field: &str| {
            let rules = rules(name);
            rules[field]
                .as_array()
                .map(Vec::len)
                .or_else(|| rules[field].as_object().map(serde_json::Map::len))
                .unwrap_or(0)
        };
        assert_eq!((count("c", "allow"), count("b", "allow"), count("c", "publish")), (each, each + 2, each + 1));
        assert_eq!(others.iter().map(|name| count(name, "links")).sum::<usize>(), each);
    });
}

/// Opens flows in both versions from one place to another.
fn open_flows(from: &Prober, addresses: [&str; 2], kinds: &[&'static str]) {
    for (version, address) in addresses.iter().enumerate() {
        for kind in kinds {
            from.open_flow(&format!("{kind}{version}"), kind, address);
        }
    }
}

/// Waits until so much more has come to this side of a flow.
fn flows_on(place: &Prober, name: &str) {
    let before = place.flow(name).map_or(0, |flow| flow.received);
    eventually("something comes through a flow", || {
        place.flow(name).filter(|flow| flow.received > before + 2 && flow.ended.is_none()).map(drop)
    });
}

/// Fails the test unless a connection's both sides saw its end within a second.
fn is_over(sides: [(&Prober, &str); 2], since: Instant) {
    let limit = allowed(Duration::from_secs(1));
    for (place, name) in sides {
        loop {
            let flow = place.flow(name).expect("a flow of this name");
            if flow.ended.is_some() {
                break;
            }
            assert!(since.elapsed() < limit, "{}: {name} goes on a second later: {flow:?}", place.name());
            thread::yield_now();
        }
    }
}

/// Fails the test unless nothing comes any more to either side of a flow over which both send on.
fn is_silent(sides: [(&Prober, &str); 2]) {
    let look = || sides.map(|(place, name)| place.flow(name).expect("a flow of this name"));
    let turns = |before: &[appcontainers_tests::Flow; 2]| {
        eventually("both sides try on", || {
            let now = look();
            now.iter().zip(before).all(|(now, before)| now.sent > before.sent + 10).then_some(now)
        })
    };
    // What was under way when the rule was changed.
    let settled = turns(&look());
    let later = turns(&settled);
    for ((now, before), (place, name)) in later.iter().zip(&settled).zip(sides) {
        assert_eq!(now.received, before.received, "{}: {name} still brings something: {now:?}", place.name());
    }
}

/// Opens TCP and UDP flows, IPv4 and IPv6, and takes away what allows them: each ends in both directions.
fn end_flows(host: &Host, from: &Prober, to: &Prober, addresses: [&str; 2], known_as: [&str; 2], change: &str) {
    open_flows(from, addresses, &["tcp", "udp"]);
    for (version, known_as) in known_as.iter().enumerate() {
        for kind in ["tcp", "udp"] {
            flows_on(from, &format!("{kind}{version}"));
            flows_on(to, &format!("from {known_as} {kind}"));
        }
    }
    appc(host, change);
    let since = Instant::now();
    for version in [0, 1] {
        let there = format!("from {} tcp", known_as[version]);
        is_over([(from, &format!("tcp{version}")), (to, &there)], since);
    }
    for version in [0, 1] {
        let there = format!("from {} udp", known_as[version]);
        is_silent([(from, &format!("udp{version}")), (to, &there)]);
    }
    from.end_flows();
    to.end_flows();
}

#[test]
fn flows_that_are_open_end_with_the_rule_that_allowed_them() {
    in_sandbox(|host| {
        let places = Places::new(host, &["a", "b"]);
        let [a, b] = &places.containers[..] else { panic!("two containers") };
        let (outside, stream) = (&places.outside, Prober::STREAM);
        for kind in ["", "/udp"] {
            appc(host, &format!("allow a b:{stream}{kind}"));
        }
        end_flows(host, a, b, b.addresses(), a.addresses(), "deny a b");
        appc(host, "allow a b");
        end_flows(host, a, b, b.addresses(), a.addresses(), "deny a b");
        // The provider, not the consumer, began to send when it ends.
        for kind in ["", "/udp"] {
            appc(host, &format!("link a s{} b:{stream}{kind}", kind.len()));
        }
        appc(host, "allow b a");
        open_flows(a, b.addresses(), &["tcp", "udp"]);
        flows_on(a, "tcp0");
        appc(host, "unlink a s0");
        let since = Instant::now();
        is_over([(a, "tcp0"), (b, &format!("from {} tcp", a.addresses()[0]))], since);
        is_over([(a, "tcp1"), (b, &format!("from {} tcp", a.addresses()[1]))], since);
        // The other link's go on until it ends, too; what b may of a is nothing to them.
        flows_on(a, "udp0");
        flows_on(a, "udp1");
        appc(host, "unlink a s4");
        is_silent([(a, "udp0"), (b, &format!("from {} udp", a.addresses()[0]))]);
        is_silent([(a, "udp1"), (b, &format!("from {} udp", a.addresses()[1]))]);
        a.end_flows();
        b.end_flows();
        appc(host, "deny b a");

        for network in ["198.18.0.0/24", "2001:db8:1::/64"] {
            appc(host, &format!("allow {network} b:{stream}"));
            appc(host, &format!("allow {network} b:{stream}/udp"));
        }
        open_flows(outside, b.addresses(), &["tcp", "udp"]);
        flows_on(outside, "tcp0");
        flows_on(outside, "tcp1");
        flows_on(outside, "udp0");
        flows_on(outside, "udp1");
        let both = Outside::ADDRESSES;
        for (version, network) in ["198.18.0.0/24", "2001:db8:1::/64"].iter().enumerate() {
            appc(host, &format!("deny {network} b"));
            let since = Instant::now();
            is_over([(outside, &format!("tcp{version}")), (b, &format!("from {} tcp", both[version]))], since);
            is_silent([(outside, &format!("udp{version}")), (b, &format!("from {} udp", both[version]))]);
        }
        outside.end_flows();
        b.end_flows();

        // To the outside they come from the host's address.
        end_flows(host, a, outside, outside.addresses(), Outside::HOST, "set a --egress none");
        appc(host, "set a --egress 198.18.0.0/24,2001:db8:1::/64");
        end_flows(host, a, outside, outside.addresses(), Outside::HOST, "set a --egress 203.0.113.0/24");
        appc(host, "set a --egress all");
        open_flows(a, outside.addresses(), &["tcp", "udp"]);
        flows_on(a, "tcp0");
        // What is still allowed goes on.
        appc(host, "set a --egress 198.18.0.0/24");
        flows_on(a, "tcp0");
        flows_on(a, "udp0");
        a.end_flows();
        outside.end_flows();

        appc(host, &format!("publish 7070 b:{stream}"));
        open_flows_at(outside, 7070);
        // Another publication of the same port does not go with it.
        appc(host, &format!("publish 7071 b:{stream}"));
        appc(host, "unpublish 7071 b");
        flows_on(outside, "tcp0");
        appc(host, "unpublish 7070 b");
        let since = Instant::now();
        for version in [0, 1] {
            is_over([(outside, &format!("tcp{version}")), (b, &format!("from {} tcp", both[version]))], since);
        }
        outside.end_flows();
        b.end_flows();
    });
}

fn open_flows_at(from: &Prober, port: u16) {
    for (version, address) in Outside::HOST.iter().enumerate() {
        from.ask(&json!(["flow", format!("tcp{version}"), "tcp", address, port])).unwrap();
        flows_on(from, &format!("tcp{version}"));
    }
}

#[test]
fn a_packet_with_anothers_address_or_mac_gets_nowhere() {
    in_sandbox(|host| {
        let places = Places::new(host, &["one", "two", "target"]);
        let [one, two, target] = &places.containers[..] else { panic!("three containers") };
        appc(host, "allow one target");
        appc(host, "allow two target");
        let mac = |name: &str| host.inspect(name)["mac"].as_str().unwrap().to_owned();
        let (own, others) = (mac("one"), mac("two"));
        let link = host.run("ip", ["route", "get", one.addresses()[0]]).succeeds();
        let end = link.split_whitespace().skip_while(|word| *word != "dev").nth(1).unwrap().to_owned();
        let gateway_mac = std::fs::read_to_string(format!("/sys/class/net/{end}/address")).unwrap().trim().to_owned();
        let send = |mac: &str, from: &str, to: &str, token: &str| {
            one.ask(&json!(["datagram", mac, gateway_mac, from, to, 8000, token])).unwrap();
        };
        let destinations = [(target, target.addresses()), (&places.outside, places.outside.addresses())];
        for version in [0, 1] {
            let [mine, twos, gateways, outsides] =
                [one.addresses(), two.addresses(), Outside::HOST, ["203.0.113.9", "2001:db8:9::9"]]
                    .map(|all| all[version]);
            for (to, addresses) in &destinations {
                to.seen();
                let cases = [
                    ("another's address", &own, twos),
                    ("another's MAC", &others, mine),
                    ("both of another", &others, twos),
                    ("the host's address", &own, gateways),
                    ("an address of the outside", &own, outsides),
                    ("the receiver's own address", &own, addresses[version]),
                ];
                for (what, mac, from) in cases {
                    send(mac, from, addresses[version], what);
                }
                // The same from here as it should be: so it is the address that they lack.
                send(&own, mine, addresses[version], "as it is");
                let seen = eventually("the right packet", || Some(to.seen()).filter(|seen| !seen.is_empty()));
                assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["as it is"], "at {} in {version}", to.name());
            }
        }
        // Neither does the host take them.
        places.host.seen();
        for version in [0, 1] {
            send(&own, two.addresses()[version], Outside::HOST[version], "to the host");
            send(&own, one.addresses()[version], Outside::HOST[version], "to the host");
            places.outside.gets("udp", Outside::HOST[version], 8000);
        }
        assert!(!places.host.seen().contains("to the host"));
    });
}

#[test]
fn nobody_outside_has_a_containers_rights_by_its_address() {
    in_sandbox(|host| {
        let places = Places::new(host, &["client", "server"]);
        let [client, server] = &places.containers[..] else { panic!("two containers") };
        for line in ["allow client server", "publish 7070/udp server:8000"] {
            appc(host, line);
        }
        let hosts_mac = std::fs::read_to_string("/sys/class/net/up0/address").unwrap().trim().to_owned();
        let send = |from: &str, to: &str, port: u16, token: &str| {
            places.outside.ask(&json!(["datagram", "02:00:00:00:00:99", hosts_mac, from, to, port, token])).unwrap();
        };
        for version in [0, 1] {
            let [pretended, own, to, at] =
                [client.addresses(), Outside::ADDRESSES, server.addresses(), Outside::HOST].map(|all| all[version]);
            appc(host, &format!("allow {own} server"));
            send(pretended, to, 8000, "to its address");
            send(pretended, at, 7070, "to its published port");
            // From its own address it may both.
            send(own, to, 8000, "as it is");
            send(own, at, 7070, "as it is at the port");
            let mut seen = server.seen();
            eventually("the right packets", || {
                seen.extend(server.seen());
                (seen.len() >= 2).then_some(())
            });
            assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["as it is", "as it is at the port"], "in {version}");
        }
    });
}

#[test]
fn who_claims_anothers_address_does_not_get_its_packets() {
    in_sandbox(|host| {
        let places = Places::new(host, &["one", "two", "target"]);
        let [one, two, target] = &places.containers[..] else { panic!("three containers") };
        appc(host, "allow target two");
        let own = host.inspect("one")["mac"].as_str().unwrap().to_owned();
        for version in [0, 1] {
            let route = ["ip", "ip -6"][version];
            let route = host.run("sh", ["-c", &format!("{route} route get {}", two.addresses()[version])]).succeeds();
            let gateway = host.sh_in("one", &format!("{} route", ["ip", "ip -6"][version])).succeeds();
            let gateway = gateway.split_whitespace().skip_while(|word| *word != "via").nth(1).unwrap().to_owned();
            for address in [two.addresses()[version], gateway.as_str(), Outside::ADDRESSES[version]] {
                one.ask(&json!(["claim", address, own, gateway])).unwrap();
            }
            let again =
                host.run("sh", ["-c", &format!("{} route get {}", ["ip", "ip -6"][version], two.addresses()[version])]);
            assert_eq!(again.succeeds(), route);
            let sources = [&places.host, target];
            for from in sources {
                for kind in ["tcp", "udp"] {
                    assert!(from.gets(kind, two.addresses()[version], 8000).starts_with("two "));
                }
            }
            assert!(places.host.gets("udp", Outside::ADDRESSES[version], 8000).starts_with("outside "));
            assert!(two.gets("tcp", Outside::ADDRESSES[version], 8000).starts_with("outside "));
        }
        assert_eq!(one.seen().len(), 0);
    });
}

#[test]
fn a_container_reaches_of_the_host_nothing_but_what_is_published() {
    in_sandbox(|host| {
        let places = Places::new(host, &["one", "two"]);
        let [one, two] = &places.containers[..] else { panic!("two containers") };
        let gateways = ["ip", "ip -6"].map(|ip| {
            let route = host.sh_in("one", &format!("{ip} route")).succeeds();
            route.split_whitespace().skip_while(|word| *word != "via").nth(1).unwrap().to_owned()
        });
        let link_local = host.sh("ip -6 -json address show scope link").succeeds();
        assert!(link_local.contains("fe80"), "{link_local}");
        let addresses: Vec<_> = gateways.iter().map(String::as_str).chain(Outside::HOST).collect();
        let tries: Vec<_> = addresses
            .iter()
            .flat_map(|address| {
                [("tcp", 8000), ("tcp", 8001), ("udp", 8000), ("udp", 8001), ("icmp", 0)]
                    .map(|(kind, port)| Probe::new(kind, address, port))
            })
            .collect();
        one.fails_to_reach(&tries, &places.host, &places.outside);
        appc(host, "publish 8080 two:8000");
        appc(host, "publish 8080/udp two:8001");
        one.fails_to_reach(&tries, &places.host, &places.outside);
        for address in &addresses {
            assert!(one.gets("tcp", address, 8080).starts_with("two "), "{address}");
            assert!(one.gets("udp", address, 8080).starts_with("two "), "{address}");
        }
        // That it is published opens no other way to it.
        one.fails_to_reach(&[8000, 8001].map(|port| Probe::new("tcp", two.addresses()[0], port)), two, &places.host);
        appc(host, "unpublish 8080 two");
        let closed = addresses.iter().map(|address| Probe::new("tcp", address, 8080)).collect::<Vec<_>>();
        one.fails_to_reach(&closed, two, &places.host);
        // Answers of connections that the host opened come back, refusals are told at once.
        for address in one.addresses() {
            for kind in ["tcp", "udp", "icmp"] {
                places.host.gets(kind, address, 8000);
            }
        }
        let refused = one.tries(&Probe::new("tcp", &gateways[0], 8000));
        assert!(matches!(refused, Said::Refused(_)), "{refused:?}");
    });
}

#[test]
fn the_first_packets_to_a_container_that_has_just_started_are_not_lost() {
    in_sandbox(|host| {
        let mut places = Places::new(host, &["a", "b"]);
        appc(host, "allow a b");
        for _ in 0..3 {
            let [a, b] = &places.containers[..] else { panic!("two containers") };
            let first: Vec<_> = ["tcp", "udp", "icmp"]
                .iter()
                .flat_map(|kind| b.addresses().map(|address| Probe::new(kind, address, 8000)))
                .collect();
            a.stream(&first, &[]);
            eventually("they were tried", || (a.rounds() > 0).then_some(()));
            a.end_stream();
            appc(host, "restart b");
            places.enter_again(host, "b");
        }
    });
}

/// The kernel notes late that a link had no carrier at first, and forgets then what LXC has told it about the gateway: one
/// of ten containers had no IPv6.
#[test]
fn each_of_many_containers_is_reached_in_both_protocols() {
    in_sandbox(|host| {
        let names: Vec<_> = (0..12).map(|n| format!("c{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let places = Places::new(host, &names);
        // Past the moment at which a link's own addresses are settled.
        eventually("the links have settled", || {
            host.sh("ip -6 address show tentative").succeeds().is_empty().then_some(())
        });
        for container in &places.containers {
            for (own, at) in container.addresses().iter().zip(Outside::ADDRESSES) {
                assert!(places.host.gets("udp", own, 8000).starts_with(container.name()));
                assert!(container.gets("tcp", at, 8000).starts_with("outside "));
            }
        }
    });
}
