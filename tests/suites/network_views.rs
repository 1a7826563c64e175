//! What `appc network` shows: addresses, rules, and packets that were counted because they went through.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use appcontainers_tests::{Host, Outside, eventually, in_sandbox};
use serde_json::Value;

/// A line of shell that prints what a web server says, or fails within three seconds.
fn get(address: &str) -> String {
    format!("busybox timeout 3 busybox wget -q -O - http://{address}/word")
}

/// Makes a container that serves its name on port 8000; its address.
fn serve(host: &Host, name: &str) -> String {
    host.provision(name);
    host.add_startup_command(name, &format!("mkdir -p /srv; echo {name} > /srv/word; exec httpd -f -p 8000 -h /srv"));
    host.appc(["start", name]).succeeds();
    let address = host.inspect(name)["ip"].as_str().unwrap().to_owned();
    let line = get(&format!("{address}:8000"));
    eventually("a web server in the container", || (host.sh(&line).code == 0).then_some(()));
    address
}

/// The rule of this kind between these ends.
fn rule<'a>(network: &'a Value, kind: &str, from: &str, to: &str) -> &'a Value {
    let rules = network["rules"].as_array().unwrap();
    let found = rules.iter().find(|rule| rule["kind"] == kind && rule["from"] == from && rule["to"] == to);
    found.unwrap_or_else(|| panic!("no {kind} from {from} to {to}: {network}"))
}

fn packets(network: &Value, kind: &str, from: &str, to: &str) -> u64 {
    rule(network, kind, from, to)["packets"].as_u64().unwrap()
}

#[test]
fn each_rule_counts_what_it_let_through_and_nothing_else() {
    in_sandbox(|host| {
        let outside = Outside::new(host);
        let _server = outside.serve(host);
        let db = serve(host, "db");
        serve(host, "web");
        host.appc(["allow", "web", "db:8000"]).succeeds();
        host.appc(["allow", "198.18.0.0/24", "db:8000"]).succeeds();
        host.appc(["link", "web", "sql", "db:8000"]).succeeds();
        host.appc(["publish", "8080", "web:8000"]).succeeds();
        host.appc(["set", "web", "--egress", "198.18.0.2,203.0.113.0/24"]).succeeds();
        let network = host.json(["network", "inspect", "web"]);
        assert_eq!(network["rules"].as_array().unwrap().len(), 5, "{network}");
        for rule in network["rules"].as_array().unwrap() {
            assert_eq!((&rule["packets"], &rule["bytes"]), (&Value::from(0), &Value::from(0)), "{rule}");
        }
        assert_eq!(rule(&network, "link", "web", "db")["service"], "sql");
        assert_eq!(rule(&network, "publish", "*:8080", "web")["port"], "8000");

        assert_eq!(host.sh_in("web", &get("sql:8000")).succeeds(), "db");
        let network = host.json(["network", "inspect", "web"]);
        let passed = packets(&network, "allow", "web", "db");
        // SYN, SYN-ACK, ACK, request, answer, and the ends.
        assert!((8..30).contains(&passed), "{network}");
        assert!(rule(&network, "link", "web", "db")["bytes"].as_u64().unwrap() > 40 * passed, "{network}");
        assert_eq!(packets(&network, "link", "web", "db"), passed);
        assert_eq!(packets(&network, "publish", "*:8080", "web"), 0);
        assert_eq!(packets(&network, "egress", "web", "198.18.0.2/32"), 0);

        assert_eq!(outside.sh(host, &get("198.18.0.1:8080")).succeeds(), "web");
        assert_eq!(host.sh_in("web", &get("198.18.0.2:8000")).succeeds(), "outside");
        let network = host.json(["network", "inspect", "web"]);
        assert!(packets(&network, "publish", "*:8080", "web") >= 8, "{network}");
        assert!(packets(&network, "egress", "web", "198.18.0.2/32") >= 8, "{network}");
        assert_eq!(packets(&network, "egress", "web", "203.0.113.0/24"), 0, "{network}");
        assert_eq!(packets(&network, "allow", "web", "db"), passed, "{network}");

        // The other end sees the same rule; what is of no concern to it, it does not see.
        let seen = host.json(["network", "inspect", "db"]);
        assert_eq!(packets(&seen, "allow", "web", "db"), passed);
        assert_eq!(packets(&seen, "link", "web", "db"), passed);
        assert_eq!(packets(&seen, "allow", "198.18.0.0/24", "db"), 0);
        assert_eq!(seen["rules"].as_array().unwrap().len(), 3, "{seen}");
        outside.sh(host, &get(&format!("{db}:8000"))).succeeds();
        assert!(packets(&host.json(["-c", "db", "network", "inspect"]), "allow", "198.18.0.0/24", "db") >= 8);
        // What is refused counts nowhere.
        let before = host.json(["network", "inspect", "web"]);
        assert_ne!(host.sh_in("db", &get(&format!("{}:8000", host.inspect("web")["ip"].as_str().unwrap()))).code, 0);
        assert_eq!(host.json(["network", "inspect", "web"])["rules"], before["rules"]);
        let text = host.appc(["network", "inspect", "web"]).succeeds();
        assert!(text.contains("RULE") && text.contains("db:8000") && text.contains("sql"), "{text}");
    });
}

#[test]
fn a_listing_has_the_addresses_that_containers_have() {
    in_sandbox(|host| {
        host.appc(["network", "ls"]).refuses(1, &["appc setup"]);
        host.provision("web");
        host.provision("db");
        host.appc(["start", "web"]).succeeds();
        host.appc(["allow", "web", "db"]).succeeds();
        host.appc(["set", "db", "--egress", "none"]).succeeds();
        let listing = host.json(["network", "ls"]);
        let [db, web] = [&listing[0], &listing[1]];
        assert_eq!((&db["name"], &db["interface"], &db["egress"]), (&"db".into(), &Value::Null, &"none".into()));
        assert_eq!((&db["rules"], &web["rules"], &web["egress"]), (&1.into(), &1.into(), &"all".into()));
        let inside = host.sh_in("web", "ip addr show dev eth0").succeeds();
        for field in ["ip", "ip6", "mac"] {
            assert!(inside.contains(web[field].as_str().unwrap()), "{field}: {inside}");
        }
        let interface = web["interface"].as_str().unwrap();
        assert!(host.sh(&format!("ip route get {}", web["ip"].as_str().unwrap())).succeeds().contains(interface));

        let side = host.json(["network", "inspect"]);
        let addresses = host.sh(&format!("ip addr show dev {}", side["bridge"].as_str().unwrap())).succeeds();
        assert!(addresses.contains(side["gateway"].as_str().unwrap()), "{addresses}");
        assert!(addresses.contains(side["gateway6"].as_str().unwrap()), "{addresses}");
        host.run("nft", ["list", "table", "inet", side["table"].as_str().unwrap()]).succeeds();
        assert_eq!((&side["up"], &side["forwarding"]), (&true.into(), &true.into()));
        assert!(host.appc(["network", "inspect"]).succeeds().contains("gateway6"));
        host.appc(["network", "inspect", "ghost"]).refuses(1, &["ghost", "appc ls"]);
        host.appc(["-c", "ghost", "network", "top"]).refuses(1, &["ghost", "appc ls"]);
        assert!(host.appc(["network", "ls"]).succeeds().contains("EGRESS"));
    });
}

#[test]
fn a_containers_own_rules_are_in_what_inspect_says_of_it() {
    in_sandbox(|host| {
        host.provision("db");
        host.provision("web");
        host.appc(["allow", "web", "db:5432"]).succeeds();
        host.appc(["allow", "192.0.2.0/24", "db"]).succeeds();
        host.appc(["link", "db", "www", "web:80"]).succeeds();
        host.appc(["publish", "8000-8001/udp", "db:53", "--address", "127.0.0.1"]).succeeds();
        host.appc(["set", "db", "--egress", "198.51.100.0/24"]).succeeds();
        let rules = serde_json::json!({
            "mode": "routed",
            "allow": [{"from": "web", "port": "5432"}, {"from": "192.0.2.0/24", "port": null}],
            "links": [{"service": "www", "provider": "web", "port": "80"}],
            "publish": [{"address": "127.0.0.1", "host_port": "8000-8001/udp", "port": "53-54/udp"}],
            "egress": {"only": ["198.51.100.0/24"]},
        });
        assert_eq!(host.inspect("db")["network"], rules);
        assert_eq!(host.json(["ls"])[0]["network"], rules);
        let none = serde_json::json!({"mode": "routed", "allow": [], "links": [], "publish": [], "egress": "all"});
        assert_eq!(host.inspect("web")["network"], none);
        assert!(host.appc(["inspect", "db"]).succeeds().contains("198.51.100.0/24"));
        let (ip6, inside) =
            (host.inspect("web")["ip6"].clone(), host.in_container("web", ["cat", "/etc/hosts"]).succeeds());
        let own = format!("{}\tweb", ip6.as_str().unwrap());
        assert!(inside.lines().any(|line| line == own), "{inside}");
    });
}

#[test]
fn a_container_that_may_not_go_out_is_made_so() {
    in_sandbox(|host| {
        let outside = Outside::new(host);
        let _server = outside.serve(host);
        host.appc(["provision", "--name", "open"]).succeeds();
        host.appc(["provision", "--name", "shut", "--egress", "none"]).succeeds();
        host.appc(["provision", "--name", "some", "--egress", "198.18.0.2"]).succeeds();
        host.appc(["-c", "open", "save-image", "app.aimg"]).succeeds();
        host.appc(["load-image", "app.aimg", "--name", "loaded", "--egress", "203.0.113.0/24"]).succeeds();
        for (name, goes_out) in [("open", true), ("shut", false), ("some", true), ("loaded", false)] {
            assert_eq!(host.sh_in(name, &get("198.18.0.2:8000")).code == 0, goes_out, "{name}");
        }
        let run = |egress: &[&str]| {
            let line = get("198.18.0.2:8000");
            host.appc([&["run", "--rm", "--image", "app.aimg"], egress, &["--", "sh", "-c", &line]].concat()).code == 0
        };
        assert!(run(&[]) && !run(&["--egress", "none"]));
    });
}

#[test]
fn top_tells_what_goes_through_a_container_and_a_rule_now() {
    in_sandbox(|host| {
        let db = serve(host, "db");
        host.provision("web");
        host.appc(["start", "web"]).succeeds();
        host.appc(["allow", "web", "db"]).succeeds();
        host.appc(["allow", "db", "web"]).succeeds();
        host.spawn_in("web", &format!("while :; do wget -q -O - http://{db}:8000/word; done"));
        let usage = eventually("packets are counted", || {
            let usage = host.json(["network", "top"]);
            (usage["rules"][0]["packets_per_second"].as_u64()? > 10).then_some(usage)
        });
        assert_eq!((&usage["rules"][0]["from"], &usage["rules"][0]["to"]), (&"web".into(), &"db".into()), "{usage}");
        assert_eq!(usage["rules"][1]["packets_per_second"], 0, "{usage}");
        for container in usage["containers"].as_array().unwrap() {
            for way in ["rx", "tx"] {
                assert!(container[way]["bytes_per_second"].as_u64().unwrap() > 500, "{usage}");
            }
        }
        assert_eq!(host.json(["-c", "db", "network", "top"])["containers"].as_array().unwrap().len(), 1);
        let lines = host.appc(["network", "top", "--json", "-n", "3", "--interval", "0.1"]).succeeds();
        assert_eq!(lines.lines().count(), 3);
        assert_eq!(host.appc(["network", "top", "-n", "2"]).succeeds().matches("PACKETS IN/s").count(), 2);

        let mut console = host.console("appc network top; echo code $?");
        console.until("q ends");
        console.until("web");
        console.type_in("q");
        console.until("code 0");
    });
}
