//! What somebody, or a killed command, has taken from the containers' network: found, named and brought back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use appcontainers_tests::{Host, Outside, any_of, eventually, in_sandbox};

/// A line of shell that prints what a web server says, or fails within three seconds.
fn get(address: &str) -> String {
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    format!("busybox timeout 3 busybox wget -q -O - http://{address}:8000/word")
}

/// Makes a container that serves its name on port 8000; its addresses.
fn serve(host: &Host, name: &str) -> [String; 2] {
    host.provision(name);
    host.add_startup_command(name, &format!("mkdir -p /srv; echo {name} > /srv/word; exec httpd -f -p 8000 -h /srv"));
    host.appc(["start", name]).succeeds();
    let inside = host.sh_in(name, "ip -o addr show dev eth0").succeeds();
    let words: Vec<_> = inside.split_whitespace().collect();
    let of = |family: &str, scope: &str| {
        let found = words.windows(2).find(|pair| pair[0] == family && !pair[1].starts_with(scope));
        found.expect("an address").to_vec()[1].split('/').next().unwrap().to_owned()
    };
    let addresses = [of("inet", "-"), of("inet6", "fe80")];
    for address in &addresses {
        eventually("a web server in the container", || (host.sh(&get(address)).code == 0).then_some(()));
    }
    addresses
}

fn reaches(host: &Host, name: &str, address: &str) -> bool {
    host.sh_in(name, &get(address)).code == 0
}

fn table(host: &Host) -> String {
    let tables = host.run("nft", ["list", "tables", "inet"]).succeeds();
    tables.split_whitespace().find(|word| word.starts_with("appcontainers_")).unwrap_or_default().to_owned()
}

fn bridge(host: &Host) -> String {
    format!("appc-{}", host.paths().tag())
}

/// What doctor says of the network.
fn network_check(host: &Host) -> (String, String) {
    let [verdict, detail, mend] = check(host, "network");
    (verdict, detail + "; " + &mend)
}

/// What doctor's check of this name says: verdict, detail, mend.
fn check(host: &Host, name: &str) -> [String; 3] {
    let text = String::from_utf8(host.appc(["--json", "doctor"]).stdout).unwrap();
    let checks: serde_json::Value = serde_json::from_str(&text).unwrap();
    let check = checks.as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone();
    ["verdict", "detail", "mend"].map(|field| check[field].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_table_that_somebody_deleted_is_back_with_all_its_rules_after_any_command() {
    in_sandbox(|host| {
        let [db4, db6] = serve(host, "db");
        serve(host, "web");
        serve(host, "stranger");
        host.appc(["allow", "web", "db:8000"]).succeeds();
        let its_table = table(host);
        let deletions = ["flush ruleset".to_owned(), format!("delete table inet {its_table}")];
        let commands: [&[&str]; 4] = [&["ls"], &["links"], &["-c", "web", "ps"], &["image", "ls"]];
        for deletion in &deletions {
            for command in commands {
                host.sh(&format!("nft {deletion}")).succeeds();
                assert_eq!(table(host), "");
                host.appc(command).succeeds();
                assert_eq!(table(host), its_table, "after {command:?}");
            }
            for address in [&db4, &db6] {
                assert!(reaches(host, "web", address), "{address}");
                assert!(!reaches(host, "stranger", address), "{address}");
            }
        }
        // That of what is asked on containers' links comes back, too.
        let speakers = || host.run("nft", ["list", "table", "arp", &its_table]).succeeds();
        let before = speakers();
        assert!(before.contains(&db4), "{before}");
        host.sh(&format!("nft delete table arp {its_table}")).succeeds();
        assert!(network_check(host).1.contains(&format!("arp {its_table} is gone")));
        host.appc(["ls"]).succeeds();
        assert_eq!(speakers(), before);
        host.sh(&format!("nft flush set arp {its_table} speaker4")).succeeds();
        host.appc(["setup"]).succeeds();
        assert_eq!(speakers(), before);
        // Another's rules are nobody's business.
        host.sh("nft add table inet anothers").succeeds();
        host.sh(&format!("nft delete table inet {its_table}")).succeeds();
        host.appc(["ls"]).succeeds();
        assert!(host.run("nft", ["list", "tables"]).succeeds().contains("inet anothers"));
        host.sh("nft delete table inet anothers").succeeds();
    });
}

#[test]
fn who_only_looks_or_takes_away_brings_nothing_back() {
    in_sandbox(|host| {
        host.provision("web");
        let its_table = table(host);
        for command in [&["doctor"][..], &["man"], &["completions", "bash"]] {
            host.sh("nft flush ruleset").succeeds();
            let _ = host.appc(command);
            assert_eq!(table(host), "", "after {command:?}");
        }
        let (verdict, said) = network_check(host);
        assert_eq!(verdict, "warning");
        assert!(said.contains(&its_table) && said.contains("appc setup"), "{said}");
        host.appc(["rm", "-f", "web"]).succeeds();
        host.sh("nft flush ruleset").succeeds();
        host.appc(["setup", "--undo"]).succeeds();
        assert_eq!(table(host), "");
        // Nor is it set up where it was taken away.
        host.appc(["ls"]).succeeds();
        assert_eq!(table(host), "");
    });
}

#[test]
fn a_change_that_a_kill_interrupted_is_made_whole_by_the_next_command() {
    in_sandbox(|host| {
        let [db4, _] = serve(host, "db");
        serve(host, "web");
        host.appc(["allow", "web", "db:8000"]).succeeds();
        // As if the command had been killed between its file and the kernel.
        fs::write(host.paths().network_change_mark(), "").unwrap();
        host.sh(&format!("nft flush set inet {} allow4", table(host))).succeeds();
        assert!(!reaches_without_appc(host, "web", &db4));
        host.appc(["ls"]).succeeds();
        assert!(!host.paths().network_change_mark().exists());
        assert!(reaches(host, "web", &db4));
    });
}

/// As [`reaches`], without a command of appc's that would mend what is missing.
fn reaches_without_appc(host: &Host, name: &str, address: &str) -> bool {
    let init = host.recorded_pid(name, "init").unwrap().as_raw_nonzero().to_string();
    host.run("nsenter", ["-t", &init, "-n", "sh", "-c", &get(address)]).code == 0
}

#[test]
fn the_bridge_the_forwarding_and_the_way_to_nowhere_come_back() {
    in_sandbox(|host| {
        let [web4, web6] = serve(host, "web");
        let [other4, _] = serve(host, "other");
        host.appc(["allow", "other", "web"]).succeeds();
        let subnet = host.sh("ip -4 route show type unreachable").succeeds();
        let subnet = subnet.split_whitespace().nth(1).unwrap().to_owned();
        let subnet6 = host.sh("ip -6 route show type unreachable | grep ' fd'").succeeds();
        let subnet6 = subnet6.split_whitespace().nth(1).unwrap().to_owned();
        let faults = [
            (format!("ip link delete {}", bridge(host)), bridge(host)),
            ("echo 0 > /proc/sys/net/ipv4/ip_forward".to_owned(), "net.ipv4.ip_forward".to_owned()),
            ("echo 0 > /proc/sys/net/ipv6/conf/all/forwarding".to_owned(), "net.ipv6.conf.all.forwarding".to_owned()),
            (format!("ip -4 route delete unreachable {subnet}"), subnet.clone()),
            (format!("ip -6 route delete unreachable {subnet6}"), subnet6.clone()),
            (format!("ip -4 addr flush dev {}", bridge(host)), "gateway's address".to_owned()),
        ];
        for (fault, named) in faults {
            for mend in [&["setup"][..], &["start", "third"], &["ls"]] {
                if mend[0] == "start" {
                    host.provision("third");
                }
                host.sh(&fault).succeeds();
                let (verdict, said) = network_check(host);
                assert!(verdict == "warning" && said.contains(&named) && said.contains("appc setup"), "{said}");
                host.appc(mend).succeeds();
                let (verdict, said) = network_check(host);
                assert_eq!(verdict, "fit", "{fault}, then appc {mend:?}: {said}");
                for address in [&web4, &web6] {
                    assert!(host.sh(&get(address)).code == 0, "{fault}: {address}");
                    assert!(reaches_without_appc(host, "other", address), "{fault}: {address}");
                }
                if mend[0] == "start" {
                    host.appc(["rm", "-f", "third"]).succeeds();
                }
            }
        }
        assert!(host.sh(&get(&other4)).code == 0);
        host.appc(["setup"]).succeeds();
    });
}

#[test]
fn a_route_an_element_or_a_rule_that_somebody_deleted_is_named_and_brought_back_by_setup() {
    in_sandbox(|host| {
        let [web4, web6] = serve(host, "web");
        host.appc(["publish", "8080", "web:8000"]).succeeds();
        let (verdict, said) = network_check(host);
        assert_eq!(verdict, "fit", "{said}");
        let its_table = table(host);
        let host_own = "busybox timeout 3 busybox wget -q -O - http://127.0.0.1:8080/word";
        assert_eq!(host.sh(host_own).succeeds(), "web");
        for (fault, named, lost) in [
            (format!("ip route delete {web4}/32"), web4.clone(), get(&web4)),
            (format!("ip -6 route delete {web6}/128"), web6.clone(), get(&web6)),
            (format!("nft flush set inet {its_table} member4"), "1 elements".to_owned(), get(&web4)),
            (format!("nft flush map inet {its_table} publish4"), "1 elements".to_owned(), host_own.to_owned()),
            (format!("nft flush chain inet {its_table} translate"), "rules".to_owned(), host_own.to_owned()),
        ] {
            host.sh(&fault).succeeds();
            assert_ne!(host.sh(&lost).code, 0, "{fault}");
            let (verdict, said) = network_check(host);
            assert!(verdict == "warning" && said.contains(&named) && said.contains("appc setup"), "{fault}: {said}");
            assert!(!host.json(["setup"]).as_array().unwrap().is_empty());
            assert_eq!(host.sh(&lost).succeeds(), "web", "{fault}");
            let (verdict, said) = network_check(host);
            assert_eq!(verdict, "fit", "{fault}: {said}");
        }
        // What nobody asked for goes.
        host.sh(&format!("nft add element inet {its_table} limited4 {{ {web4} }}")).succeeds();
        assert!(network_check(host).1.contains("1 elements that belong to no rule"));
        host.appc(["setup"]).succeeds();
        assert_eq!(network_check(host).0, "fit");
        assert_eq!(host.json(["setup"]), serde_json::json!([]));
        // Where the interface itself is gone, only another start helps.
        let interface = host.start_record("web").unwrap()["host_interface"].as_str().unwrap().to_owned();
        host.sh(&format!("ip link delete {interface}")).succeeds();
        let (verdict, said) = network_check(host);
        assert!(verdict == "warning" && said.contains("appc restart web"), "{said}");
        host.appc(["restart", "web"]).succeeds();
        assert_eq!(network_check(host).0, "fit");
    });
}

#[test]
fn another_firewall_that_drops_is_named_and_the_line_that_doctor_gives_lets_packets_through() {
    in_sandbox(|host| {
        let outside = Outside::new(host);
        let _server = outside.serve(host);
        let [db4, db6] = serve(host, "db");
        serve(host, "web");
        host.appc(["allow", "web", "db:8000"]).succeeds();
        let ways = [("198.18.0.2", "outside"), ("2001:db8:1::2", "outside"), (&db4, "db"), (&db6, "db")];
        let all_pass = || ways.iter().all(|(address, word)| host.sh_in("web", &get(address)).text() == *word);
        let gets = ways.map(|(address, _)| get(address));
        let none_passes = || host.sh_in("web", &any_of(&gets)).code != 0;
        assert_eq!(check(host, "other-firewalls")[0], "fit");
        assert!(all_pass());
        let both = "for program in iptables ip6tables; do $program";
        for (obstacle, named, undo) in [
            // As a careful administrator's.
            (
                format!("{both} -P FORWARD DROP; done"),
                "chain FORWARD of table ip filter",
                format!("{both} -P FORWARD ACCEPT; $program -F; done"),
            ),
            // As Docker's.
            (
                format!("{both} -P FORWARD DROP; $program -N DOCKER-USER; $program -I FORWARD -j DOCKER-USER; done"),
                "chain FORWARD of table ip6 filter",
                format!("{both} -P FORWARD ACCEPT; $program -F; $program -X; done"),
            ),
            (
                "nft 'table inet mine { chain passing { type filter hook forward priority 10; policy drop; }; }'"
                    .to_owned(),
                "chain passing of table inet mine",
                "nft delete table inet mine".to_owned(),
            ),
        ] {
            host.sh(&obstacle).succeeds();
            assert!(none_passes(), "{obstacle}");
            let [verdict, detail, mend] = check(host, "other-firewalls");
            assert!(verdict == "warning" && detail.contains(named), "{detail}");
            host.sh(&format!("set -e; {mend}")).succeeds();
            assert!(all_pass(), "{mend}");
            // What our own table refuses stays refused.
            assert!(!reaches(host, "db", host.inspect("web")["ip"].as_str().unwrap()), "{mend}");
            assert_eq!(check(host, "other-firewalls")[0], "fit", "{mend}");
            host.sh(&undo).succeeds();
        }
        assert!(all_pass());
        host.sh("nft list tables | grep -v appcontainers | while read line; do nft delete $line; done").succeeds();
    });
}

#[test]
fn an_input_chain_that_drops_what_containers_answer_is_named_with_what_lets_it_through() {
    in_sandbox(|host| {
        let [web4, web6] = serve(host, "web");
        let chain = "nft 'table inet mine { chain in { type filter hook input priority 10; policy drop; iifname lo accept; }; }'";
        host.sh(chain).succeeds();
        // What was learned of the neighbour until now would last for a while.
        host.sh("ip neigh flush all").succeeds();
        for address in [&web4, &web6] {
            assert_ne!(host.sh(&get(address)).code, 0, "{address}");
        }
        for lacks in ["answers", "neighbour discovery"] {
            let [verdict, detail, mend] = check(host, "other-firewalls");
            assert!(verdict == "warning" && detail.contains(lacks), "{detail}");
            host.sh(&mend).succeeds();
        }
        assert_eq!(check(host, "other-firewalls")[0], "fit");
        for address in [&web4, &web6] {
            eventually("the way is free again", || (host.sh(&get(address)).code == 0).then_some(()));
        }
        host.sh("nft delete table inet mine").succeeds();
    });
}

#[test]
fn resolvers_that_containers_do_not_reach_are_named() {
    in_sandbox(|host| {
        host.appc(["setup"]).succeeds();
        // The sandbox has an /etc of its own. A host with systemd-resolved has its file elsewhere; here nobody has.
        let upstream = "/run/systemd/resolve/resolv.conf";
        if fs::exists(upstream).unwrap() {
            host.sh(&format!("mount --bind /dev/null {upstream}")).succeeds();
        }
        for (text, verdict) in [("nameserver 127.0.0.53\n", "warning"), ("nameserver 198.18.0.2\n", "fit")] {
            let file = if fs::exists(upstream).unwrap() { host.file("resolv.conf") } else { "/etc/resolv.conf".into() };
            fs::write(&file, text).unwrap();
            if fs::exists(upstream).unwrap() {
                host.sh(&format!("umount {upstream}; mount --bind {} {upstream}", file.display())).succeeds();
            }
            let [found, detail, mend] = check(host, "resolvers");
            assert_eq!(found, verdict, "{detail}");
            assert_eq!(mend.contains("user/start/etc/resolv.conf"), verdict == "warning", "{mend}");
        }
    });
}
