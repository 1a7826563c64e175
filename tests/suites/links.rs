//! Links: containers that know each other by a service's name, and by no other.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use appcontainers_tests::{Host, Places, Probe, Prober, in_sandbox};
use serde_json::{Value, json};

fn appc(host: &Host, line: &str) {
    host.appc(line.split(' ')).succeeds();
}

/// The names in a container's hosts file, each with its addresses, as the container reads it.
fn hosts(host: &Host, name: &str) -> Vec<(String, String)> {
    let text = host.in_container(name, ["cat", "/etc/hosts"]).succeeds();
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::split_whitespace);
    lines
        .flat_map(|mut words| {
            let address = words.next().unwrap_or_default().to_owned();
            words.map(move |word| (word.to_owned(), address.clone())).collect::<Vec<_>>()
        })
        .collect()
}

/// Asserts under which names a container knows others, beside its own and the loopback's.
#[track_caller]
fn assert_names(host: &Host, name: &str, own: &[(String, String)], expected: &[(&str, &Prober)]) {
    let mut expected: Vec<_> = expected
        .iter()
        .flat_map(|(name, place)| place.addresses().map(|address| ((*name).to_owned(), address.to_owned())))
        .collect();
    let mut found: Vec<_> = hosts(host, name).into_iter().filter(|entry| !own.contains(entry)).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "what {name} knows");
}

/// What a container gets from a name, by a program of its own.
fn ask(host: &Host, name: &str, service: &str) -> String {
    host.sh_in(name, &format!("echo hello | nc -w 5 {service} 8000")).text()
}

fn links(host: &Host) -> Vec<Value> {
    host.json(["links"]).as_array().unwrap().clone()
}

fn is_closed(from: &Prober, to: &Prober, control: &Prober) {
    let tries: Vec<_> = to.addresses().map(|address| Probe::new("tcp", address, 8000)).into();
    from.fails_to_reach(&tries, to, control);
}

#[test]
fn a_link_leads_where_it_was_laid_last_and_follows_the_provider() {
    in_sandbox(|host| {
        let mut places = Places::new(host, &["web", "pg-1", "pg_2"]);
        let own = hosts(host, "web");
        let providers_own = ["pg-1", "pg_2"].map(|name| hosts(host, name));
        assert!(own.iter().all(|(name, _)| !name.contains("pg")), "{own:?}");
        appc(host, "link web db pg-1:8000");
        assert_names(host, "web", &own, &[("db", &places.containers[1]), ("pg-1", &places.containers[1])]);
        assert!(ask(host, "web", "db").starts_with("pg-1 "));
        assert!(ask(host, "web", "pg-1").starts_with("pg-1 "));
        assert_eq!(
            links(host),
            [json!({"consumer": "web", "service": "db", "provider": "pg-1", "port": "8000", "running": true,
                "ip": places.containers[1].addresses()[0]})]
        );
        // To another one, while both run. A name with a character that host names have not comes with one that they have.
        appc(host, "link web db pg_2:8000");
        let two = &places.containers[2];
        assert_names(host, "web", &own, &[("db", two), ("pg_2", two), ("pg-2", two)]);
        assert!(ask(host, "web", "db").starts_with("pg_2 "));
        is_closed(&places.containers[0], &places.containers[1], &places.host);
        for (name, own) in ["pg-1", "pg_2"].iter().zip(&providers_own) {
            // Providers learn nothing of who uses them.
            assert_names(host, name, own, &[]);
        }

        let ip = two.addresses()[0].rsplit_once('.').unwrap().0.to_owned() + ".88";
        appc(host, &format!("set pg_2 --ip {ip}"));
        places.containers[2].look_up_addresses(host);
        let two = &places.containers[2];
        assert_eq!(two.addresses()[0], ip);
        assert_names(host, "web", &own, &[("db", two), ("pg_2", two), ("pg-2", two)]);
        assert!(ask(host, "web", "db").starts_with("pg_2 "));
        assert_eq!(links(host)[0]["ip"], json!(ip));
        let ip = ip.replace(".88", ".89");
        appc(host, &format!("set web --ip {ip}"));
        assert!(ask(host, "web", "db").starts_with("pg_2 "));

        appc(host, "unlink web db");
        places.containers[0].look_up_addresses(host);
        let moved: Vec<_> = own.iter().map(|(name, _)| name).collect();
        assert!(hosts(host, "web").iter().all(|(name, _)| moved.contains(&name)));
        is_closed(&places.containers[0], &places.containers[2], &places.host);
        assert!(links(host).is_empty());
        host.appc(["unlink", "web", "db"]).refuses(1, &["web", "db"]);
    });
}

#[test]
fn a_container_knows_the_names_of_those_that_it_may_connect_to_and_no_others() {
    in_sandbox(|host| {
        let places = Places::new(host, &["a", "b", "c"]);
        let own = ["a", "b", "c"].map(|name| hosts(host, name));
        let [_, b, c] = &places.containers[..] else { panic!("three containers") };
        let change = |line: &str, of_a: &[(&str, &Prober)]| {
            appc(host, line);
            assert_names(host, "a", &own[0], of_a);
            assert_names(host, "b", &own[1], &[]);
            assert_names(host, "c", &own[2], &[]);
        };
        change("allow a b:8000", &[("b", b)]);
        change("link a x c:8000", &[("b", b), ("c", c), ("x", c)]);
        change("allow a c:8001", &[("b", b), ("c", c), ("x", c)]);
        change("unlink a x", &[("b", b), ("c", c)]);
        change("deny a c", &[("b", b)]);
        change("allow 198.18.0.0/24 c", &[("b", b)]);
        change("publish 8080 c:8000", &[("b", b)]);
        // A container's name as that of a service is the service's.
        change("link a b c:8000", &[("b", b), ("b", c), ("c", c)]);
        change("unlink a b", &[("b", b)]);
        change("stop c", &[("b", b)]);
        change("deny a b", &[]);
    });
}

#[test]
fn a_link_that_makes_no_sense_is_refused_and_changes_nothing() {
    in_sandbox(|host| {
        let places = Places::new(host, &["web", "pg"]);
        let own = hosts(host, "web");
        for (words, said) in [
            (["link", "web", "db", "pg"], ["pg", "db"]),
            (["link", "web", "db", "web:80"], ["web", "itself"]),
            (["link", "web", "db", "nosuch:80"], ["nosuch", ""]),
            (["link", "web", "db", "nosuch"], ["nosuch", ""]),
            (["link", "nosuch", "db", "pg:80"], ["nosuch", ""]),
            (["link", "web", "localhost", "pg:80"], ["localhost", "own"]),
            (["link", "web", "web", "pg:80"], ["web", "own"]),
        ] {
            host.appc(words).refuses(1, &said);
        }
        for provider in ["pg:0", "pg:65536", "pg:80/sctp", "pg:", "pg:http"] {
            host.appc(["link", "web", "db", provider]).fails(2);
        }
        for service in ["", "-db", "a b", "DB\n", "127.0.0.1 db"] {
            host.appc(["link", "web", service, "pg:80"]).fails(2);
        }
        assert!(links(host).is_empty());
        assert_names(host, "web", &own, &[]);
        is_closed(&places.containers[0], &places.containers[1], &places.host);
    });
}

#[test]
fn a_service_that_the_providers_image_names_needs_no_port() {
    in_sandbox(|host| {
        host.provision("pg");
        // As an image's configuration has it.
        let path = host.paths().container(&"pg".parse().unwrap()).join("container.json");
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record["config"]["provides"] = json!({"sql": "8000", "dns": "8001/udp"});
        fs::write(&path, record.to_string()).unwrap();
        appc(host, "start pg");
        let places = Places::new(host, &["web"]);
        let pg = Prober::container(host, "pg");
        host.appc(["link", "web", "db", "pg"]).refuses(1, &["pg", "db", "dns, sql"]);
        appc(host, "link web sql pg");
        appc(host, "link web dns pg");
        assert!(ask(host, "web", "sql").starts_with("pg "));
        let web = &places.containers[0];
        for address in pg.addresses() {
            assert!(web.gets("udp", address, 8001).starts_with("pg "));
        }
        web.fails_to_reach(&[Probe::new("udp", pg.addresses()[0], 8000)], &pg, &places.host);
    });
}

#[test]
fn links_and_rules_follow_a_rename_of_either_side_and_a_restart() {
    in_sandbox(|host| {
        let mut places = Places::new(host, &["web", "pg"]);
        appc(host, "link web db pg:8000");
        appc(host, "allow web pg:8001");
        appc(host, "restart web");
        appc(host, "restart pg");
        places.containers.clear();
        let check = |consumer: &str, provider: &str| {
            let [to, from] = [provider, consumer].map(|name| Prober::container(host, name));
            assert!(ask(host, consumer, "db").starts_with(&format!("{provider} ")));
            assert!(ask(host, consumer, provider).starts_with(&format!("{provider} ")));
            for address in to.addresses() {
                for port in Prober::PORTS {
                    assert!(from.gets("tcp", address, port).starts_with(provider));
                }
            }
            to.fails_to_reach(&[Probe::new("tcp", from.addresses()[0], 8000)], &from, &places.host);
            let link = &links(host)[0];
            assert_eq!([&link["consumer"], &link["provider"]], [&json!(consumer), &json!(provider)]);
        };
        check("web", "pg");
        appc(host, "stop pg");
        assert_eq!(links(host)[0]["running"], json!(false));
        appc(host, "rename pg postgres");
        // The consumer runs, and sees it.
        let names = hosts(host, "web");
        assert!(
            names.iter().any(|(name, _)| name == "postgres") && names.iter().all(|(name, _)| name != "pg"),
            "{names:?}"
        );
        appc(host, "start postgres");
        check("web", "postgres");
        appc(host, "stop web");
        appc(host, "rename web shop");
        appc(host, "start shop");
        check("shop", "postgres");
        // Under its new name it is denied.
        appc(host, "unlink shop db");
        appc(host, "deny shop postgres");
        let [to, from] = ["postgres", "shop"].map(|name| Prober::container(host, name));
        is_closed(&from, &to, &places.host);
    });
}

#[test]
fn a_container_has_no_rights_of_another_one_that_had_its_name() {
    in_sandbox(|host| {
        let places = Places::new(host, &["web", "pg", "third"]);
        let own = hosts(host, "web");
        let [web, pg, third] = &places.containers[..] else { panic!("three containers") };
        let (web_own, third_own) = (&own, hosts(host, "third"));
        appc(host, "link web db pg:8000");
        appc(host, "allow pg third");
        appc(host, "allow third pg:8000");
        appc(host, "publish 8080 pg:8000");
        assert!(ask(host, "web", "db").starts_with("pg "));
        pg.gets("tcp", third.addresses()[0], 8000);
        let ip = pg.addresses()[0].to_owned();
        appc(host, "rm -f pg");
        assert_names(host, "web", web_own, &[]);
        assert_names(host, "third", &third_own, &[]);
        let listed = links(host);
        assert!(listed.is_empty() || listed[0]["ip"].is_null(), "{listed:?}");
        let table = host.sh("nft list ruleset").succeeds();
        assert!(!table.contains(&format!("{ip} ")), "{table}");

        // The same name, and the same address.
        appc(host, "provision --name pg");
        appc(host, &format!("set pg --ip {ip}"));
        appc(host, "start pg");
        let pg = Prober::container(host, "pg");
        assert_eq!(pg.addresses()[0], ip);
        for (from, to) in [(web, &pg), (&pg, third), (third, &pg)] {
            is_closed(from, to, &places.host);
        }
        assert_names(host, "web", web_own, &[]);
        assert_names(host, "third", &third_own, &[]);
        // Neither does one with its own file have what the other published.
        let published = Probe::new("tcp", "198.18.0.1", 8080);
        places.outside.fails_to_reach(&[published], &pg, &places.host);
    });
}
