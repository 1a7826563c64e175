//! A container's network: an address of its own that stays, out yes, in no, from one to another no.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::HashSet, fs};

use appcontainers_tests::{Host, Outside, Running, eventually, in_sandbox, in_sandbox_for, tries};

fn ip(host: &Host, name: &str) -> String {
    host.inspect(name)["ip"].as_str().unwrap().to_owned()
}

/// What the container sends through.
fn gateway(host: &Host, name: &str) -> String {
    let route = host.sh_in(name, "ip route").succeeds();
    route.split_whitespace().skip_while(|word| *word != "via").nth(1).unwrap().to_owned()
}

/// A line of shell that prints what a web server says, or fails within three seconds.
fn get(address: &str) -> String {
    format!("busybox timeout 3 busybox wget -q -O - http://{address}:8000/word")
}

/// Serves `word` on port 8000 of the container from now on.
fn serve(host: &Host, name: &str, word: &str) {
    let line = format!("mkdir -p /srv && echo {word} > /srv/word && exec httpd -f -p 8000 -h /srv");
    host.appc(["-c", name, "startup-command", "add", &line]).succeeds();
    host.appc(["-c", name, "start"]).succeeds();
    let address = ip(host, name);
    eventually("a web server in the container", || (host.sh(&get(&address)).code == 0).then_some(()));
    assert_eq!(host.sh(&get(&address)).succeeds(), word);
}

/// Serves `word` on port 8000 of the network namespace in which `prefix` runs commands.
fn serve_by(host: &Host, prefix: &[&str], word: &str) -> Running {
    let directory = host.file(word);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("word"), format!("{word}\n")).unwrap();
    let words = [prefix, &["busybox", "httpd", "-f", "-p", "8000", "-h", word]].concat();
    let mut command = host.command(words[0]);
    command.args(&words[1..]);
    host.start_command(command, appcontainers_tests::LIMIT)
}

#[test]
fn containers_reach_out_and_nobody_reaches_them_but_the_host() {
    in_sandbox(|host| {
        host.provision("one");
        host.provision("two");
        let outside = Outside::new(host);
        serve(host, "one", "first");
        serve(host, "two", "second");
        let two = ip(host, "two");

        let _server = serve_by(host, &["nsenter", "-t", &outside.pid().as_raw_nonzero().to_string(), "-n"], "outside");
        eventually("a web server outside", || (host.sh(&get("198.18.0.2")).code == 0).then_some(()));
        assert_eq!(host.sh_in("one", &get("198.18.0.2")).succeeds(), "outside");

        for (from, got) in
            [("another container", host.sh_in("one", &get(&two))), ("outside", outside.sh(host, &get(&two)))]
        {
            assert!(got.code != 0 && got.stdout.is_empty(), "from {from}: {}", got.transcript());
        }
        assert_ne!(host.sh_in("one", &get("169.254.169.254")).code, 0);
    });
}

#[test]
fn a_packet_with_anothers_address_is_dropped_at_the_containers_own_interface() {
    in_sandbox(|host| {
        host.provision("one");
        host.provision("two");
        host.appc(["-c", "one", "start"]).succeeds();
        host.appc(["-c", "two", "start"]).succeeds();
        let outside = Outside::new(host);
        let _server = serve_by(host, &["nsenter", "-t", &outside.pid().as_raw_nonzero().to_string(), "-n"], "outside");
        eventually("a web server outside", || (host.sh(&get("198.18.0.2")).code == 0).then_some(()));
        // The container can't give itself two's address; the test, as the host's root, does it for it.
        let init = host.recorded_pid("one", "init").unwrap().as_raw_nonzero().to_string();
        let in_one = |line: &str| host.run("nsenter", ["-t", &init, "-n", "sh", "-c", line]);
        assert_eq!(in_one(&get("198.18.0.2")).succeeds(), "outside");
        in_one(&format!("ip addr add {}/32 dev eth0", ip(host, "two"))).succeeds();
        in_one(&format!("ip route replace 198.18.0.2 via {} src {}", gateway(host, "one"), ip(host, "two"))).succeeds();
        let got = in_one(&get("198.18.0.2"));
        assert!(got.code != 0 && got.stdout.is_empty(), "{}", got.transcript());
    });
}

#[test]
fn a_container_opens_no_connection_to_the_host_under_any_of_its_addresses() {
    in_sandbox(|host| {
        host.provision("one");
        let _outside = Outside::new(host);
        host.appc(["-c", "one", "start"]).succeeds();
        let _server = serve_by(host, &[], "host");
        eventually("a web server on the host", || (host.sh(&get("127.0.0.1")).code == 0).then_some(()));
        for address in [gateway(host, "one").as_str(), "198.18.0.1"] {
            assert_eq!(host.sh(&get(address)).succeeds(), "host");
            let got = host.sh_in("one", &get(address));
            assert!(got.code != 0 && got.stdout.is_empty(), "{}", got.transcript());
        }
    });
}

#[test]
fn an_address_and_a_mac_stay_over_restarts_and_are_what_the_container_has() {
    in_sandbox(|host| {
        host.provision("web");
        let before = host.inspect("web");
        let mut interfaces = HashSet::new();
        for _ in 0..3 {
            host.appc(["-c", "web", "start"]).succeeds();
            let inside = host.sh_in("web", "ip addr show eth0").succeeds();
            assert!(inside.contains(&format!("inet {}/32", before["ip"].as_str().unwrap())), "{inside}");
            assert!(inside.contains(before["mac"].as_str().unwrap()), "{inside}");
            let route = host.run("ip", ["route", "get", before["ip"].as_str().unwrap()]).succeeds();
            interfaces.insert(route.split_whitespace().nth(2).unwrap().to_owned());
            host.appc(["-c", "web", "stop"]).succeeds();
        }
        assert_eq!(interfaces.len(), 3, "an interface's name was used again");
        assert_eq!(host.inspect("web")["ip"], before["ip"]);
    });
}

#[test]
fn a_start_brings_back_what_a_reboot_or_a_flush_of_the_firewall_took() {
    in_sandbox(|host| {
        host.provision("web");
        host.sh("nft flush ruleset; ip -o link | awk -F': ' '/appc/{print $2}' | xargs -n1 ip link delete; echo 0 > /proc/sys/net/ipv4/ip_forward")
            .succeeds();
        host.appc(["-c", "web", "start"]).succeeds();
        assert!(host.run("nft", ["list", "tables"]).succeeds().contains("inet appcontainers_"));
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "1\n");
        host.sh_in("web", "ip route get 198.18.0.2").succeeds();
    });
}

#[test]
fn two_hundred_provisions_at_once_share_nothing() {
    in_sandbox_for(std::time::Duration::from_secs(300), |host| {
        host.appc(["setup"]).succeeds();
        host.appc(["base", "build", "busybox"]).succeeds();
        let count = tries(200) as usize;
        let provisions: Vec<_> = (0..count)
            .map(|_| {
                let mut command = host.command("appc");
                command.arg("provision");
                host.start_command(command, std::time::Duration::from_secs(240))
            })
            .collect();
        let names: HashSet<_> = provisions.into_iter().map(|provision| provision.wait().succeeds()).collect();
        assert_eq!(names.len(), count);
        let listing = host.json(["ls"]);
        for field in ["name", "ip", "mac", "id_range"] {
            let values: HashSet<_> = listing.as_array().unwrap().iter().map(|one| one[field].to_string()).collect();
            assert_eq!(values.len(), count, "{field} is not unique");
        }
        let resources = fs::read(host.paths().resources()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&resources).unwrap();
    });
}

/// The kernel's tables of neighbours are for all namespaces together and hold 1,024 that are not permanent.
#[test]
fn both_ends_of_a_containers_link_know_each_other_for_good() {
    in_sandbox(|host| {
        host.start("web");
        let details = host.inspect("web");
        let [ip, mac] = ["ip", "mac"].map(|key| details[key].as_str().unwrap().to_owned());
        host.run("busybox", ["ping", "-c", "1", "-W", "5", &ip]).succeeds();
        let of_host = host.sh("ip neigh show").succeeds();
        assert!(of_host.lines().any(|line| line.starts_with(&format!("{ip} ")) && line.contains(&mac)), "{of_host}");
        let init = host.recorded_pid("web", "init").unwrap().as_raw_nonzero().to_string();
        let of_container = host.run("nsenter", ["--target", &init, "--net", "ip", "neigh", "show"]).succeeds();
        for known in of_host.lines().chain(of_container.lines()) {
            assert!(known.trim_end().ends_with("PERMANENT"), "{of_host}\n{of_container}");
        }
        assert!(!of_container.is_empty());
    });
}
