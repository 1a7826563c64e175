//! A network in which something breaks: commands that are killed, a table or a bridge that somebody has deleted, addresses that
//! run out, arguments that nobody in his right mind gives.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, time::Duration};

use appcontainers_tests::{
    Finished, Host, Outside, Places, Probe, Prober, Reach, in_sandbox, in_sandbox_for, kill_at_each_step,
};
use serde_json::{Value, json};

/// A test of hundreds of commands.
const LONG: Duration = Duration::from_secs(400);

fn appc(host: &Host, line: &str) {
    host.appc(line.split(' ')).succeeds();
}

/// A container's rules, as its file has them.
fn rules(host: &Host, name: &str) -> Value {
    let path = host.paths().container(&name.parse().unwrap()).join("network.json");
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|_| b"{}".to_vec())).unwrap()
}

/// What the kernel has of rules: each element with its set, in order.
fn elements(host: &Host) -> Vec<String> {
    let text = host.run("nft", ["--stateless", "list", "ruleset"]).succeeds();
    let mut set = "";
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("set ").or_else(|| line.strip_prefix("map ")) {
            set = name;
        }
        if line == "}" {
            set = "";
        }
        let items = line.trim_start_matches("elements = {").split([',', '}']).map(str::trim);
        found.extend(items.filter(|item| !item.is_empty()).map(|item| format!("{set} {item}")));
    }
    found.sort();
    found
}

/// What running containers read in their hosts files.
fn names(host: &Host, containers: &[&str]) -> Vec<String> {
    containers.iter().map(|name| host.in_container(name, ["cat", "/etc/hosts"]).succeeds()).collect()
}

/// Fails the test unless the kernel and the containers have what they have after all is made anew out of the files.
#[track_caller]
fn assert_whole(host: &Host, running: &[&str]) {
    assert!(!mark(host).exists(), "a change is still marked as incomplete");
    let found = [elements(host), names(host, running)].concat();
    // As if a command had been killed: the next one makes all anew.
    fs::write(mark(host), "").unwrap();
    appc(host, "set spare --egress all");
    let expected = [elements(host), names(host, running)].concat();
    let only = |one: &[String], other: &[String]| -> Vec<_> {
        one.iter().filter(|item| !other.contains(item)).cloned().collect()
    };
    let (more, missing) = (only(&found, &expected), only(&expected, &found));
    assert!(more.is_empty() && missing.is_empty(), "there is more than should be: {more:?}; there lacks {missing:?}");
}

fn mark(host: &Host) -> std::path::PathBuf {
    host.paths().network_change_mark()
}

/// `web` and `pg`, which run, and `spare`, which does not and whose rules are changed by those that come after a killed one.
fn places(host: &Host) -> Places {
    host.provision("spare");
    Places::new(host, &["web", "pg"])
}

/// Kills `words` at each step; the next command is the same one, or one about another container.
fn kill(host: &Host, words: &[&str], before: &dyn Fn(), complete: &dyn Fn(), either: &dyn Fn()) {
    kill_at_each_step(
        host,
        2,
        words,
        |_| before(),
        |step, _: &Finished| {
            if step / 2 % 2 == 0 {
                host.appc(words).succeeds();
                complete();
            } else {
                appc(host, "allow web spare:1");
                appc(host, "deny web spare");
                either();
            }
            assert_whole(host, &["web", "pg"]);
        },
    );
}

#[test]
fn an_allow_or_a_deny_that_is_killed_is_made_or_not_and_never_half() {
    in_sandbox_for(LONG, |host| {
        let places = places(host);
        let [web, pg] = &places.containers[..] else { panic!("two containers") };
        let tries: Vec<_> = pg.addresses().map(|address| Probe::new("tcp", address, 8000)).into();
        let reaches = |expected: bool| {
            if expected {
                for address in pg.addresses() {
                    web.gets("tcp", address, 8000);
                }
            } else {
                web.fails_to_reach(&tries, pg, &places.host);
            }
        };
        let as_the_file_says = || reaches(rules(host, "pg")["allow"].is_array());
        kill(
            host,
            &["allow", "web", "pg:8000"],
            &|| drop(host.appc(["deny", "web", "pg"])),
            &|| reaches(true),
            &as_the_file_says,
        );
        // Twice is an error here: there is nothing to deny any more.
        kill_at_each_step(
            host,
            2,
            &["deny", "web", "pg"],
            |_| appc(host, "allow web pg:8000"),
            |step, _| {
                if step / 2 % 2 == 0 {
                    let _ = host.appc(["deny", "web", "pg"]);
                }
                appc(host, "allow web spare:1");
                appc(host, "deny web spare");
                as_the_file_says();
                assert_whole(host, &["web", "pg"]);
            },
        );
    });
}

#[test]
fn a_link_that_is_killed_is_made_or_not_and_never_half() {
    in_sandbox_for(LONG, |host| {
        let places = places(host);
        let [web, pg] = &places.containers[..] else { panic!("two containers") };
        let tries: Vec<_> = pg.addresses().map(|address| Probe::new("tcp", address, 8000)).into();
        let reaches = || {
            let said = host.sh_in("web", "echo hello | nc -w 5 db 8000").text();
            assert!(said.starts_with("pg "), "{said}");
        };
        kill(host, &["link", "web", "db", "pg:8000"], &|| drop(host.appc(["unlink", "web", "db"])), &reaches, &|| {
            if rules(host, "web")["links"].is_object() {
                reaches();
            } else {
                web.fails_to_reach(&tries, pg, &places.host);
            }
        });
    });
}

#[test]
fn a_publish_that_is_killed_is_completed_by_the_next_one() {
    in_sandbox_for(LONG, |host| {
        let places = places(host);
        let reaches = || {
            for (at, own) in Outside::HOST.iter().zip(Outside::ADDRESSES) {
                assert_eq!(places.outside.gets("tcp", at, 8080), format!("pg {own}"));
            }
            assert!(places.host.gets("tcp", "127.0.0.1", 8080).starts_with("pg "));
        };
        kill(
            host,
            &["publish", "8080", "pg:8000"],
            &|| drop(host.appc(["unpublish", "8080", "pg"])),
            &|| {
                reaches();
                let said = places.host.ask(&json!(["bind", "tcp", "0.0.0.0", 8080, ["SO_REUSEADDR"]])).unwrap();
                assert_eq!(said, json!("Address already in use"));
            },
            &|| {
                if rules(host, "pg")["publish"].is_array() {
                    assert_eq!(places.outside.gets("tcp", Outside::HOST[0], 8080), "pg 198.18.0.2");
                }
            },
        );
    });
}

#[test]
fn a_move_to_another_address_that_is_killed_is_completed_by_the_next_one() {
    in_sandbox_for(LONG, |host| {
        let places = places(host);
        let pg = &places.containers[1];
        appc(host, "link web db pg:8000");
        appc(host, "publish 8080 pg:8000");
        let old = pg.addresses()[0].to_owned();
        let new = format!("{}.77", old.rsplit_once('.').unwrap().0);
        let reaches = || {
            assert_eq!(host.inspect("pg")["ip"], json!(new));
            let said = host.sh_in("web", "echo hello | nc -w 5 db 8000").text();
            assert!(said.starts_with("pg "), "{said}");
            assert!(places.host.gets("tcp", &new, 8000).starts_with("pg "));
            for (at, own) in Outside::HOST.iter().zip(Outside::ADDRESSES) {
                assert_eq!(places.outside.gets("tcp", at, 8080), format!("pg {own}"));
            }
        };
        let back = format!("set pg --ip {old}");
        let complete = || {
            host.appc(["set", "pg", "--ip", &new]).succeeds();
            reaches();
        };
        kill(host, &["set", "pg", "--ip", &new], &|| appc(host, &back), &reaches, &complete);
    });
}

#[test]
fn who_deletes_the_table_the_bridge_elements_or_routes_finds_them_again() {
    in_sandbox(|host| {
        let places = Places::new(host, &["a", "b", "c"]);
        host.provision("spare");
        let mut reach = Reach::by_default(&["a", "b", "c"]);
        appc(host, "allow a b:8000");
        appc(host, "link b db c:8001/udp");
        appc(host, "publish 8080 c:8000");
        appc(host, "set c --egress none");
        reach.open_at("a", "b", "tcp", 8000);
        reach.open_at("b", "c", "udp", 8001);
        reach.close("c", "outside");
        reach.check(&places.all(), "before");
        let bridge = host.sh("ip -br link show type bridge | cut -d ' ' -f 1").succeeds();
        let before = elements(host);
        for harm in [
            "nft flush ruleset".to_owned(),
            format!("ip link delete {bridge}"),
            format!("nft flush ruleset; ip link delete {bridge}"),
        ] {
            host.sh(&harm).succeeds();
            appc(host, "allow a spare:1");
            appc(host, "deny a spare");
            reach.check(&places.all(), &harm);
            assert_eq!(places.outside.gets("tcp", Outside::HOST[0], 8080), "c 198.18.0.2");
            assert_eq!(elements(host), before);
        }
        // What no change looks at, a setup finds: elements that somebody took out, and routes.
        let table = host.sh("nft list tables inet | grep -o appcontainers.*").succeeds();
        let routes: String =
            places.containers[1].addresses().map(|address| format!("ip route del {address}; ")).concat();
        for harm in [format!("nft flush set inet {table} allow4; nft flush set inet {table} member6"), routes] {
            host.sh(&harm).succeeds();
            appc(host, "setup");
            reach.check(&places.all(), &harm);
            assert_eq!(elements(host), before);
        }
    });
}

#[test]
fn an_address_that_is_taken_foreign_or_none_is_refused_and_one_that_is_free_again_has_no_rights() {
    in_sandbox(|host| {
        host.appc(["setup", "--subnet", "10.77.0.0/29"]).succeeds();
        for n in 0..5 {
            host.provision(&format!("c{n}"));
        }
        host.appc(["provision", "--name", "more"]).refuses(1, &["10.77.0.0/29"]);
        let ip = |name: &str| host.inspect(name)["ip"].as_str().unwrap().to_owned();
        let before = ip("c0");
        let taken = ip("c1");
        for (address, said) in [
            (taken.as_str(), "c1"),
            ("10.77.0.0", "10.77.0.0"),
            ("10.77.0.1", "10.77.0.1"),
            ("10.77.0.7", "10.77.0.7"),
            ("10.77.0.8", "10.77.0.0/29"),
            ("192.0.2.7", "10.77.0.0/29"),
            ("127.0.0.1", "10.77.0.0/29"),
        ] {
            host.appc(["set", "c0", "--ip", address]).refuses(1, &[said]);
        }
        for address in ["", "10.77.0", "10.77.0.2/32", "fd00::2", "10.77.0.2\n", "c1"] {
            host.appc(["set", "c0", "--ip", address]).fails(2);
        }
        assert_eq!(ip("c0"), before);

        appc(host, "start c0");
        appc(host, "start c1");
        let outside = Outside::new(host);
        let (on_host, c0) = (Prober::on_host(host), Prober::container(host, "c0"));
        appc(host, "allow c0 c1");
        appc(host, "rm -f c1");
        appc(host, "provision --name more");
        assert_eq!(ip("more"), taken);
        appc(host, "start more");
        let more = Prober::container(host, "more");
        let tries: Vec<_> = more.addresses().map(|address| Probe::new("udp", address, 8000)).into();
        c0.fails_to_reach(&tries, &more, &on_host);
        drop(outside);
    });
}

#[test]
fn control_characters_are_refused_in_every_argument() {
    in_sandbox(|host| {
        host.provision("web");
        host.provision("pg");
        let (before, table) = (rules(host, "pg"), elements(host));
        let lines = [
            "allow * pg:80",
            "allow web *",
            "allow web pg:*",
            "allow web pg:80/*",
            "allow 192.0.2.0/* pg",
            "deny * pg:80",
            "deny web *",
            "deny web pg:*",
            "link * db pg:80",
            "link web * pg:80",
            "link web db *",
            "link web db pg:*",
            "unlink * db",
            "unlink web *",
            "links *",
            "publish * pg:80",
            "publish 8080 *",
            "publish 8080 pg:*",
            "publish 8080/* pg:80",
            "publish 8080 pg:80 --address *",
            "unpublish * pg",
            "unpublish 8080 *",
            "unpublish 8080 pg --address *",
            "set * --egress none",
            "set pg --egress *",
            "set pg --ip *",
        ];
        for line in lines {
            for character in ['\n', '\u{1b}', '\u{9b}', '\u{202e}'] {
                // In the middle of what would be right without it, and alone.
                let plain = line.split(' ').find(|word| word.contains('*')).unwrap();
                for text in [format!("pg{character}"), format!("8080{character}[31m")] {
                    let words = line
                        .split(' ')
                        .map(|word| if word == plain { word.replace('*', &text) } else { word.to_owned() });
                    let done = host.appc(words);
                    assert!([1, 2].contains(&done.code), "{}", done.transcript());
                    // What clap says to whoever typed it (2) repeats it.
                    let said = String::from_utf8(done.stderr.clone()).unwrap();
                    let is_control = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
                    assert!(done.code == 2 || !said.contains(is_control), "{said:?}");
                }
            }
        }
        assert_eq!((rules(host, "pg"), elements(host)), (before, table));
        assert_eq!(rules(host, "web"), json!({}));
    });
}
