//! A container's network: an address of its own that stays, out yes, in no, from one to another no.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::HashSet, fs};

use appcontainers_tests::{Host, Running, eventually, in_sandbox, in_sandbox_for};

/// A neighbour of the host, 198.18.0.2, in a network namespace of its own; the host is 198.18.0.1 to it.
struct Outside {
    pid: String,
    _holder: Running,
}

impl Outside {
    fn new(host: &Host) -> Self {
        let holder = host.spawn("unshare", ["--net", "--kill-child", "cat"]);
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let pid = eventually("a network namespace for the outside", || {
            let path = format!("/proc/{}/ns/net", holder.pid().as_raw_nonzero());
            fs::read_link(path)
                .ok()
                .filter(|namespace| *namespace != own)
                .map(|_| holder.pid().as_raw_nonzero().to_string())
        });
        host.sh(&format!(
            "set -e; ip link add up0 type veth peer name eth0 netns {pid}; ip addr add 198.18.0.1/24 dev up0; ip link set up0 up"
        ))
        .succeeds();
        let outside = Self { pid, _holder: holder };
        outside
            .sh(host, "set -e; ip link set lo up; ip addr add 198.18.0.2/24 dev eth0; ip link set eth0 up")
            .succeeds();
        // As an attacker on the host's own network would: packets to containers go to the host.
        outside.sh(host, "ip route add 10.0.0.0/8 via 198.18.0.1").succeeds();
        outside
    }

    fn sh(&self, host: &Host, line: &str) -> appcontainers_tests::Finished {
        host.run("nsenter", ["-t", &self.pid, "-n", "sh", "-c", line])
    }
}

fn ip(host: &Host, name: &str) -> String {
    host.inspect(name)["ip"].as_str().unwrap().to_owned()
}

/// Serves `word` on port 8000 in the container until it stops.
fn serve(host: &Host, name: &str, word: &str) {
    let line = format!("mkdir -p /srv && echo {word} > /srv/word && httpd -p 8000 -h /srv && sleep 600");
    host.appc(["-c", name, "startup-command", "add", &line]).succeeds();
    host.appc(["-c", name, "start"]).succeeds();
    let url = format!("http://{}:8000/word", ip(host, name));
    eventually("a web server in the container", || {
        let got = host.run("busybox", ["wget", "-q", "-T", "2", "-O", "-", &url]);
        (got.code == 0).then(|| assert_eq!(got.text(), word))
    });
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
        let get = |address: &str| format!("wget -q -T 2 -O - http://{address}:8000/word");

        let mut server = host.command("nsenter");
        server.args(["-t", &outside.pid, "-n", "busybox", "httpd", "-f", "-p", "8000", "-h", "/sys/class/net/lo"]);
        let _server = host.start_command(server, appcontainers_tests::LIMIT);
        let out = "wget -q -T 2 -O - http://198.18.0.2:8000/address";
        eventually("a web server outside", || (host.sh_in("one", out).code == 0).then_some(()));
        assert_eq!(host.sh_in("one", out).succeeds(), "00:00:00:00:00:00");

        host.sh_in("one", &get(&two)).fails(1);
        let from_outside = outside.sh(host, &format!("busybox {}", get(&two)));
        assert_ne!(from_outside.code, 0, "{}", from_outside.transcript());
        host.sh_in("one", "wget -q -T 2 -O - http://169.254.169.254/").fails(1);
    });
}

#[test]
fn a_container_opens_no_connection_to_the_host_under_any_of_its_addresses() {
    in_sandbox(|host| {
        host.provision("one");
        let _outside = Outside::new(host);
        host.appc(["-c", "one", "start"]).succeeds();
        let mut server = host.command("busybox");
        server.args(["httpd", "-f", "-p", "8000", "-h", "/sys/class/net/lo"]);
        let _server = host.start_command(server, appcontainers_tests::LIMIT);
        let url = |address: &str| format!("http://{address}:8000/address");
        eventually("a web server on the host", || {
            (host.run("busybox", ["wget", "-q", "-O", "-", &url("127.0.0.1")]).code == 0).then_some(())
        });
        let gateway = host.sh_in("one", "ip route").succeeds();
        let gateway = gateway.split_whitespace().skip_while(|word| *word != "via").nth(1).unwrap().to_owned();
        for address in [gateway.as_str(), "198.18.0.1"] {
            host.run("busybox", ["wget", "-q", "-O", "-", &url(address)]).succeeds();
            host.sh_in("one", &format!("wget -q -T 2 -O - {}", url(address))).fails(1);
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
        let provisions: Vec<_> = (0..200)
            .map(|_| {
                let mut command = host.command("appc");
                command.arg("provision");
                host.start_command(command, std::time::Duration::from_secs(240))
            })
            .collect();
        let names: HashSet<_> = provisions.into_iter().map(|provision| provision.wait().succeeds()).collect();
        assert_eq!(names.len(), 200);
        let listing = host.json(["ls"]);
        for field in ["name", "ip", "mac", "id_range"] {
            let values: HashSet<_> = listing.as_array().unwrap().iter().map(|one| one[field].to_string()).collect();
            assert_eq!(values.len(), 200, "{field} is not unique");
        }
        let resources = fs::read(host.paths().resources()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&resources).unwrap();
    });
}
