//! Containers that are ports of the bridge: the same rules as for routed ones, the same addresses, and no word from one to
//! another but through the host.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use appcontainers_tests::{Archive, Host, Outside, Running, any_of, eventually, in_sandbox, in_sandbox_for};

/// Python, as an attacker's container has it in any language: frames to send and to look at.
const PYTHON: &str = "/usr/bin/python3";

/// A container's addresses as they stand in a URL.
fn addresses(host: &Host, name: &str) -> [String; 2] {
    let v6 = in_network_of(host, name, "ip -6 -o addr show dev eth0 scope global").succeeds();
    let v6 = v6.split_whitespace().skip_while(|word| *word != "inet6").nth(1).unwrap();
    [ip(host, name), format!("[{}]", v6.trim_end_matches("/128"))]
}

fn ip(host: &Host, name: &str) -> String {
    host.inspect(name)["ip"].as_str().unwrap().to_owned()
}

fn mac(host: &Host, name: &str) -> String {
    host.inspect(name)["mac"].as_str().unwrap().to_owned()
}

/// The host's end of the interface of a container that runs.
fn port(host: &Host, name: &str) -> String {
    host.start_record(name).unwrap()["host_interface"].as_str().unwrap().to_owned()
}

fn bridge(host: &Host) -> String {
    appcontainers::network::bridge(host.paths())
}

/// Runs a line in nothing of the container's but its network, with the host's programs.
fn in_network_of(host: &Host, name: &str, line: &str) -> appcontainers_tests::Finished {
    let init = host.recorded_pid(name, "init").unwrap().as_raw_nonzero().to_string();
    host.run("nsenter", ["-t", &init, "-n", "sh", "-c", line])
}

/// A line of shell that prints what a web server says, or fails within three seconds.
fn get(address: &str, port: u16) -> String {
    format!("busybox timeout 3 busybox wget -q -O - http://{address}:{port}/word")
}

/// Makes a container that serves its name on port 8000.
fn serve(host: &Host, name: &str, mode: &str) {
    host.appc(["provision", "--name", name, "--network", mode]).succeeds();
    let line = format!("mkdir -p /srv && echo {name} > /srv/word && exec httpd -f -p 8000 -h /srv");
    host.add_startup_command(name, &line);
    host.appc(["start", name]).succeeds();
    wait_for(host, name);
}

fn wait_for(host: &Host, name: &str) {
    for address in addresses(host, name) {
        eventually("a web server in the container", || (host.sh(&get(&address, 8000)).code == 0).then_some(()));
    }
}

/// Whether `from` gets an answer of `to`, by both protocols; it must be the same for both.
#[track_caller]
fn reaches(host: &Host, from: &str, to: &str) -> bool {
    let running = addresses(host, to)
        .map(|address| host.spawn("appc", ["-c", from, "run", "--", "sh", "-c", &get(&address, 8000)]));
    let found = running.map(|one| {
        let got = one.wait();
        assert!(if got.code == 0 { got.text() == to } else { got.stdout.is_empty() }, "{}", got.transcript());
        got.code == 0
    });
    assert_eq!(found[0], found[1], "from {from} to {to}: v4 and v6 differ");
    found[0]
}

#[track_caller]
fn filter_bridges(host: &Host, on: bool) {
    for protocol in ["iptables", "ip6tables", "arptables"] {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{protocol}");
        // Not there where br_netfilter is not loaded.
        host.sh(&format!("! test -e {path} || echo {} > {path}", u8::from(on))).succeeds();
    }
}

#[test]
fn bridged_and_routed_containers_have_the_same_rules() {
    in_sandbox_for(std::time::Duration::from_secs(300), |host| {
        serve(host, "one", "bridge");
        serve(host, "two", "bridge");
        serve(host, "way", "routed");
        assert_eq!(host.inspect("one")["network"]["mode"], "bridge");
        assert_eq!(host.inspect("way")["network"]["mode"], "routed");
        let ports = host.run("ip", ["-o", "link", "show", "master", &bridge(host)]).succeeds();
        assert_eq!(ports.lines().count(), 2, "{ports}");
        let outside = Outside::new(host);
        let _server = outside.serve(host);
        let mut server = host.command("busybox");
        server.args(["httpd", "-f", "-p", "8001", "-h", "outside"]);
        let _own_server = host.start_command(server, appcontainers_tests::LIMIT);
        eventually("a web server of the host", || (host.sh(&get("127.0.0.1", 8001)).code == 0).then_some(()));
        let pairs = [("one", "two"), ("two", "one"), ("one", "way"), ("way", "one")];

        // With br_netfilter, as on hosts with Docker, and without.
        for filtered in [true, false] {
            filter_bridges(host, filtered);
            for (from, to) in pairs {
                assert!(!reaches(host, from, to), "{from} to {to} by default, br_netfilter: {filtered}");
                host.appc(["allow", from, &format!("{to}:8000")]).succeeds();
                assert!(reaches(host, from, to), "{from} to {to} when allowed, br_netfilter: {filtered}");
                host.appc(["deny", from, &format!("{to}:8000")]).succeeds();
                assert!(!reaches(host, from, to), "{from} to {to} when denied, br_netfilter: {filtered}");
            }
            for name in ["one", "two", "way"] {
                let outsides = ["198.18.0.2", "[2001:db8:1::2]"].map(|address| get(address, 8000));
                for line in &outsides {
                    assert_eq!(host.sh_in(name, line).succeeds(), "outside", "{name} {filtered}");
                }
                host.appc(["set", name, "--egress", "none"]).succeeds();
                assert_ne!(host.sh_in(name, &any_of(&outsides)).code, 0, "{name} {filtered}");
                host.appc(["set", name, "--egress", "all"]).succeeds();
                let hosts = ["198.18.0.1", "[2001:db8:1::1]"].map(|address| get(address, 8001));
                assert_ne!(host.sh_in(name, &any_of(&hosts)).code, 0, "{name} to the host {filtered}");
                let own = addresses(host, name).map(|address| get(&address, 8000));
                for line in &own {
                    assert_eq!(host.sh(line).succeeds(), name);
                }
                assert_ne!(outside.sh(host, &any_of(&own)).code, 0, "{name} from outside {filtered}");
            }
            host.appc(["link", "one", "db", "two:8000"]).succeeds();
            assert_eq!(host.sh_in("one", &get("db", 8000)).succeeds(), "two");
            host.appc(["unlink", "one", "db"]).succeeds();

            host.appc(["publish", "8080", "two:8000"]).succeeds();
            for address in ["198.18.0.1", "[2001:db8:1::1]"] {
                assert_eq!(outside.sh(host, &get(address, 8080)).succeeds(), "two", "{filtered}");
                // Also from another port of the bridge, and from the very same.
                for name in ["one", "two", "way"] {
                    assert_eq!(host.sh_in(name, &get(address, 8080)).succeeds(), "two", "{name} {filtered}");
                }
            }
            assert_eq!(host.sh(&get("127.0.0.1", 8080)).succeeds(), "two", "{filtered}");
            host.appc(["unpublish", "8080", "two"]).succeeds();
            assert_ne!(outside.sh(host, &get("198.18.0.1", 8080)).code, 0);
        }

        // What is let through counts.
        host.appc(["allow", "one", "two:8000"]).succeeds();
        assert!(reaches(host, "one", "two"));
        let table = appcontainers::network::table(host.paths());
        let element =
            host.sh(&format!("nft list set inet {table} allow4 | tr -d '\\n' | grep -o 'elements.*'")).succeeds();
        assert!(element.contains("counter packets") && !element.contains("counter packets 0"), "{element}");
        // And nobody was told of a shorter way, which there is not.
        let told = in_network_of(host, "one", "cat /proc/net/snmp /proc/net/snmp6").succeeds();
        let icmp: Vec<_> = told.lines().filter(|line| line.starts_with("Icmp:")).collect();
        let column = icmp[0].split_whitespace().position(|word| word == "InRedirects").unwrap();
        assert_eq!(icmp[1].split_whitespace().nth(column), Some("0"), "{told}");
        let redirects = told.lines().find(|line| line.starts_with("Icmp6InRedirects")).unwrap();
        assert!(redirects.ends_with("0") && !redirects.ends_with("00"), "{redirects}");
    });
}

/// Sends frames from the container's interface: `send DESTINATION SOURCE TYPE PAYLOAD`, MACs and payload in hexadecimal.
const FRAMES: &str = r#"
import socket, struct
def raw(text): return bytes.fromhex(text.replace(":", ""))
def v4(text): return socket.inet_aton(text)
def v6(text): return socket.inet_pton(socket.AF_INET6, text)
def total(data):
    data += b"\0" * (len(data) % 2)
    s = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while s >> 16: s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
def send(to, source, kind, payload):
    link.send(raw(to) + raw(source) + struct.pack("!H", kind) + payload)
def udp4(source, to, word):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(word), 1, 0, 64, 17, 0, v4(source), v4(to))
    head = head[:10] + struct.pack("!H", total(head)) + head[12:]
    return head + struct.pack("!HHHH", 9, 9, 8 + len(word), 0) + word
def udp6(source, to, word):
    body = struct.pack("!HHHH", 9, 9, 8 + len(word), 0) + word
    pseudo = v6(source) + v6(to) + struct.pack("!IxxxB", len(body), 17)
    body = body[:6] + struct.pack("!H", total(pseudo + body)) + body[8:]
    return struct.pack("!IHBB16s16s", 6 << 28, len(body), 17, 64, v6(source), v6(to)) + body
def arp(operation, mac, ip, to_mac, to):
    return struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, operation, raw(mac), v4(ip), raw(to_mac), v4(to))
def nd(kind, source, to, target, option, mac):
    flags = 0x60000000 if kind == 136 else 0
    body = struct.pack("!BBHI16sBB6s", kind, 0, 0, flags, v6(target), option, 1, raw(mac))
    pseudo = v6(source) + v6(to) + struct.pack("!IxxxB", len(body), 58)
    body = body[:2] + struct.pack("!H", total(pseudo + body)) + body[4:]
    return struct.pack("!IHBB16s16s", 6 << 28, len(body), 58, 255, v6(source), v6(to)) + body
ALL = "ff:ff:ff:ff:ff:ff"
NONE = "00:00:00:00:00:00"
"#;

/// Prints what it hears at port 9, word by word, until the word `end`.
const LISTENER: &str = r#"
import select, socket
ears = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)]
ears[1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
ears[0].bind(("0.0.0.0", 9)); ears[1].bind(("::", 9))
print("ready", flush=True)
word = b""
while word != b"end":
    for ear in select.select(ears, [], [])[0]:
        word = ear.recv(100)
        print(word.decode(), flush=True)
"#;

/// Prints every frame that comes in at eth0 and whose source is none of those named, until one says so.
const SNIFFER: &str = r#"
import socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.bind(("eth0", 3))
link.settimeout(20)
print("ready", flush=True)
while True:
    frame, where = link.recvfrom(2000)
    if where[2] == 4: continue
    if frame[6:12].hex(":") not in sys.argv[1]: print("foreign", frame.hex(), flush=True)
    if b"THE-END" in frame: break
print("over", flush=True)
"#;

fn python(host: &Host, pid: &str, program: &str, argument: &str) -> Running {
    host.spawn("nsenter", ["-t", pid, "-n", PYTHON, "-c", program, argument])
}

#[test]
fn a_container_speaks_from_its_port_with_its_own_addresses_alone() {
    in_sandbox_for(std::time::Duration::from_secs(60), |host| {
        serve(host, "one", "bridge");
        serve(host, "two", "bridge");
        serve(host, "way", "routed");
        let outside = Outside::new(host);
        let bridge = bridge(host);
        let pid = |name: &str| host.recorded_pid(name, "init").unwrap().as_raw_nonzero().to_string();
        let link = host.run("cat", [&format!("/sys/class/net/{bridge}/address")]).succeeds();
        let gateway = |family: &str| {
            let route = in_network_of(host, "one", &format!("ip {family} route show default")).succeeds();
            route.split_whitespace().nth(2).unwrap().to_owned()
        };
        let (gateway4, gateway6) = (gateway("-4"), gateway("-6"));
        let bare = |name: &str| {
            let [v4, v6] = addresses(host, name);
            (v4, v6.trim_matches(['[', ']']).to_owned(), mac(host, name))
        };
        let ((one4, one6, one), (two4, two6, two), (way4, way6, way)) = (bare("one"), bare("two"), bare("way"));
        let says = |words: &str| {
            let program = format!("{FRAMES}\n{words}");
            host.run("nsenter", ["-t", &pid("one"), "-n", PYTHON, "-c", &program]).succeeds();
        };
        // What the kernel knows of the bridge and its neighbours; but not which groups the host's own interfaces are in, of
        // which they join one more when their own addresses are settled.
        let known = || {
            host.sh(&format!(
                "bridge fdb show br {bridge} | grep -v 'self permanent' | sort; ip -4 neigh show dev {bridge} | sort; ip -6 neigh show dev {bridge} | sort
                 ip neigh show dev {}",
                port(host, "one")
            ))
            .succeeds()
        };

        for filtered in [true, false] {
            filter_bridges(host, filtered);
            let before = known();
            for address in [&one4, &one6, &two4, &two6] {
                assert!(before.contains(&format!("{address} lladdr")), "{address}: {before}");
            }
            let listener = python(host, &outside.pid().as_raw_nonzero().to_string(), LISTENER, "");
            let mut listener = Heard::new(listener);
            let port_link = host.run("cat", [format!("/sys/class/net/{}/address", port(host, "two"))]).succeeds();
            let mut sniffer = Heard::new(python(host, &pid("two"), SNIFFER, &format!("{link} {port_link}")));

            // Addresses of others, and MACs; together too, as the one has them who is at another port.
            let foreign: String = [(&one, &two4, &two6), (&two, &two4, &two6), (&two, &one4, &one6), (&way, &way4, &way6)]
                .into_iter()
                .chain([(&one, &way4, &way6), (&link, &gateway4, &gateway6)])
                .map(|(mac, v4, v6)| {
                    format!(
                        "send({link:?}, {mac:?}, 0x800, udp4({v4:?}, '198.18.0.2', b'{mac}-{v4}'))\n\
                         send({link:?}, {mac:?}, 0x86dd, udp6({v6:?}, '2001:db8:1::2', b'{mac}-{v6}'))\n\
                         send({link:?}, {mac:?}, 0x8100, b'\\0\\0\\x08\\0' + udp4({v4:?}, '198.18.0.2', b'tag-{mac}-{v4}'))\n\
                         send('01:80:c2:00:00:0e', {mac:?}, 0x800, udp4({v4:?}, '198.18.0.2', b'reserved-{mac}-{v4}'))\n\
                         send({link:?}, {mac:?}, 0x806, arp(1, {mac:?}, {v4:?}, NONE, {gateway4:?}))\n\
                         send(ALL, {mac:?}, 0x806, arp(1, {mac:?}, {v4:?}, NONE, {gateway4:?}))\n\
                         send(ALL, {one:?}, 0x806, arp(2, {mac:?}, {v4:?}, NONE, {v4:?}))\n\
                         send({two:?}, {one:?}, 0x806, arp(2, {mac:?}, {v4:?}, {two:?}, {two4:?}))\n"
                    )
                })
                .collect();
            says(&foreign);
            // Who lies to its neighbours: the host, and the container beside.
            says(&format!(
                "send(ALL, {one:?}, 0x806, arp(2, {one:?}, {gateway4:?}, ALL, {gateway4:?}))\n\
                 send({two:?}, {one:?}, 0x806, arp(2, {one:?}, {gateway4:?}, {two:?}, {two4:?}))\n\
                 send({two:?}, {one:?}, 0x806, arp(2, {one:?}, {one4:?}, {two:?}, {two4:?}))\n\
                 send({link:?}, {one:?}, 0x806, arp(2, {one:?}, {two4:?}, {link:?}, {gateway4:?}))\n\
                 send({link:?}, {one:?}, 0x806, arp(2, {two:?}, {one4:?}, {link:?}, {gateway4:?}))\n\
                 send('33:33:00:00:00:01', {one:?}, 0x86dd, nd(136, {gateway6:?}, 'ff02::1', {gateway6:?}, 2, {one:?}))\n\
                 send('33:33:00:00:00:01', {one:?}, 0x86dd, nd(136, {one6:?}, 'ff02::1', {gateway6:?}, 2, {one:?}))\n\
                 send({two:?}, {one:?}, 0x86dd, nd(136, {one6:?}, {two6:?}, {gateway6:?}, 2, {one:?}))\n\
                 send({link:?}, {one:?}, 0x86dd, nd(136, {one6:?}, {gateway6:?}, {two6:?}, 2, {one:?}))\n\
                 send({link:?}, {one:?}, 0x86dd, nd(135, {two6:?}, {gateway6:?}, {gateway6:?}, 1, {one:?}))\n\
                 send({link:?}, {one:?}, 0x86dd, nd(135, {one6:?}, {gateway6:?}, {gateway6:?}, 1, {two:?}))\n\
                 send({link:?}, {one:?}, 0x86dd, nd(135, 'fe80::bad', {gateway6:?}, {gateway6:?}, 1, {one:?}))\n"
            ));
            // Straight to the container beside, and to all.
            says(&format!(
                "for to in ({two:?}, ALL, '33:33:00:00:00:01', '01:00:5e:00:00:01', '06:00:00:00:00:01'):\n\
                 \x20   send(to, {one:?}, 0x800, udp4({one4:?}, {two4:?}, b'straight'))\n\
                 \x20   send(to, {one:?}, 0x86dd, udp6({one6:?}, {two6:?}, b'straight'))\n\
                 \x20   send(to, {one:?}, 0x88b5, b'straight')\n"
            ));
            // As many neighbours as the host's table has room for.
            says(&format!(
                "for n in range(2000):\n\
                 \x20   mac, ip = '02:00:00:00:%02x:%02x' % (n >> 8, n & 255), '10.213.%d.%d' % (9 + (n >> 8), n & 255)\n\
                 \x20   send(ALL, mac, 0x806, arp(1, mac, ip, NONE, {gateway4:?}))\n\
                 \x20   send(ALL, {one:?}, 0x806, arp(1, {one:?}, ip, NONE, {gateway4:?}))\n\
                 \x20   send('01:80:c2:00:00:%02x' % (n % 16), mac, 0x806, arp(1, mac, ip, NONE, {gateway4:?}))\n\
                 \x20   send({link:?}, {one:?}, 0x86dd, nd(135, 'fe80::%x' % (n + 1), {gateway6:?}, {gateway6:?}, 1, {one:?}))\n"
            ));
            // Its own are heard; the order is that of sending.
            says(&format!(
                "send({link:?}, {one:?}, 0x86dd, udp6({one6:?}, '2001:db8:1::2', b'own'))\n\
                 import time; time.sleep(0.5)\n\
                 send({link:?}, {one:?}, 0x800, udp4({one4:?}, '198.18.0.2', b'end'))\n"
            ));
            assert_eq!(listener.until("end"), ["own"], "br_netfilter: {filtered}");
            let word =
                format!("import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'THE-END', ({two4:?}, 9))");
            host.run(PYTHON, ["-c", &word]).succeeds();
            assert!(sniffer.until("over").is_empty(), "a frame of another container, br_netfilter: {filtered}");
            assert_eq!(known(), before, "br_netfilter: {filtered}");

            for name in ["one", "two", "way"] {
                let address = &addresses(host, name)[1];
                assert_eq!(host.sh(&get(address, 8000)).succeeds(), name);
            }
            let inside = in_network_of(host, "two", "ip neigh show dev eth0").succeeds();
            assert!(!inside.contains(&one), "{inside}");
        }
        // A routed one has not what is another's at the bridge, either.
        let way_link = host.run("cat", [format!("/sys/class/net/{}/address", port(host, "way"))]).succeeds();
        let mut listener = Heard::new(python(host, &outside.pid().as_raw_nonzero().to_string(), LISTENER, ""));
        let program = format!(
            "{FRAMES}\n\
             for mac in ({two:?}, {way:?}):\n\
             \x20   send({way_link:?}, mac, 0x800, udp4({two4:?}, '198.18.0.2', b'foreign'))\n\
             \x20   send({way_link:?}, mac, 0x86dd, udp6({two6:?}, '2001:db8:1::2', b'foreign'))\n\
             send({way_link:?}, {way:?}, 0x800, udp4({way4:?}, '198.18.0.2', b'end'))\n"
        );
        host.run("nsenter", ["-t", &pid("way"), "-n", PYTHON, "-c", &program]).succeeds();
        assert!(listener.until("end").is_empty());
    });
}

#[test]
fn a_routed_container_puts_nothing_into_the_hosts_table_of_neighbours() {
    in_sandbox_for(std::time::Duration::from_secs(60), |host| {
        serve(host, "one", "routed");
        serve(host, "two", "routed");
        let outside = Outside::new(host);
        let pid = host.recorded_pid("one", "init").unwrap().as_raw_nonzero().to_string();
        let one = mac(host, "one");
        let link = host.run("cat", [format!("/sys/class/net/{}/address", port(host, "one"))]).succeeds();
        let [one4, one6] = addresses(host, "one").map(|address| address.trim_matches(['[', ']']).to_owned());
        let two4 = ip(host, "two");
        let [gateway4, gateway6] = ["-4", "-6"].map(|family| {
            let route = in_network_of(host, "one", &format!("ip {family} route show default")).succeeds();
            route.split_whitespace().nth(2).unwrap().to_owned()
        });
        // Which addresses are known; not whether one was just confirmed, nor those outside, which says of itself what it is.
        let known = || {
            let shown = host.sh("ip -4 neigh show nud all; ip -6 neigh show nud all").succeeds();
            let lines = shown.lines().filter(|line| !line.contains("NOARP") && !line.contains(" dev up0 "));
            let mut lines: Vec<_> = lines.map(|line| line.trim_end().rsplit_once(' ').unwrap().0.to_owned()).collect();
            lines.sort();
            lines
        };
        let says = |words: &str| {
            let program = format!("{FRAMES}\n{words}");
            host.run("nsenter", ["-t", &pid, "-n", PYTHON, "-c", &program]).succeeds();
        };
        for address in [&one4, &one6] {
            assert!(known().iter().any(|line| line.starts_with(&format!("{address} dev"))), "{address}: {:?}", known());
        }
        // The host knows all with whom it speaks.
        for address in ["198.18.0.1", "[2001:db8:1::1]"] {
            assert_ne!(outside.sh(host, &get(address, 8001)).code, 0);
        }
        let before = known();

        // More of each than the kernel's table has room for.
        says(&format!(
            "for n in range(2000):\n\
             \x20   mac, ip = '02:00:00:00:%02x:%02x' % (n >> 8, n & 255), '10.213.%d.%d' % (9 + (n >> 8), n & 255)\n\
             \x20   send(ALL, mac, 0x806, arp(1, mac, ip, NONE, {gateway4:?}))\n\
             \x20   send(ALL, {one:?}, 0x806, arp(1, {one:?}, ip, NONE, {gateway4:?}))\n\
             \x20   send(ALL, {one:?}, 0x806, arp(2, {one:?}, ip, ALL, ip))\n\
             \x20   send({link:?}, {one:?}, 0x86dd, nd(135, 'fe80::%x' % (n + 1), {gateway6:?}, {gateway6:?}, 1, {one:?}))\n\
             \x20   send({link:?}, mac, 0x86dd, nd(135, 'fd00::%x' % (n + 1), {gateway6:?}, {gateway6:?}, 1, mac))\n\
             \x20   send({link:?}, {one:?}, 0x86dd, udp6('fe80::%x' % (n + 1), {gateway6:?}, b'answer me'))\n"
        ));
        // Another one's address, and its own under another MAC.
        says(&format!(
            "send(ALL, {one:?}, 0x806, arp(1, {one:?}, {two4:?}, NONE, {gateway4:?}))\n\
             send(ALL, {one:?}, 0x806, arp(2, '02:00:00:00:00:99', {one4:?}, ALL, {one4:?}))\n"
        ));
        assert_eq!(known(), before);
        for name in ["one", "two"] {
            for address in addresses(host, name) {
                assert_eq!(host.sh(&get(&address, 8000)).succeeds(), name);
            }
        }
        let mut listener = Heard::new(python(host, &outside.pid().as_raw_nonzero().to_string(), LISTENER, ""));
        let word = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'end', ('198.18.0.2', 9))";
        host.run(PYTHON, ["-c", word]).succeeds();
        assert!(listener.until("end").is_empty());

        // Its own questions are answered, if it has forgotten what it was told.
        in_network_of(host, "one", "ip neigh flush dev eth0 nud permanent && ! ip neigh show | grep PERMANENT")
            .succeeds();
        for address in ["198.18.0.2", "[2001:db8:1::2]"] {
            let ping = format!("ping -c 1 -w 5 {}", address.trim_matches(['[', ']']));
            host.sh_in("one", &ping).succeeds();
        }
        assert!(in_network_of(host, "one", "ip neigh show").succeeds().contains(&gateway4));
    });
}

/// What a program prints, line by line.
struct Heard(Running);

impl Heard {
    fn new(mut program: Running) -> Self {
        program.read_until("ready\n");
        Self(program)
    }

    /// The lines before this one.
    fn until(&mut self, line: &str) -> Vec<String> {
        let text = self.0.read_until(&format!("{line}\n"));
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines = text.lines().map(str::to_owned);
        lines.filter(|one| one != line && !one.is_empty()).collect()
    }
}

#[test]
fn a_container_at_the_bridge_lives_as_others_do() {
    in_sandbox_for(std::time::Duration::from_secs(60), |host| {
        serve(host, "one", "bridge");
        serve(host, "two", "bridge");
        let [old4, old6] = addresses(host, "two");
        host.appc(["allow", "one", "two:8000"]).succeeds();
        let bridge = bridge(host);
        let known = || {
            host.sh(&format!("ip neigh show dev {bridge}; ip route show dev {bridge}; ip -6 route show dev {bridge}; bridge fdb show br {bridge}")).succeeds()
        };

        // A restart: the same address behind another port.
        let before = port(host, "two");
        host.appc(["restart", "two"]).succeeds();
        wait_for(host, "two");
        assert_ne!(port(host, "two"), before);
        assert!(reaches(host, "one", "two"));

        // Another address while it runs, and back.
        let new = format!("{}.200", old4.rsplit_once('.').unwrap().0);
        host.appc(["set", "two", "--ip", &new]).succeeds();
        assert_eq!(addresses(host, "two")[0], new);
        assert_ne!(addresses(host, "two")[1], old6);
        assert!(reaches(host, "one", "two"));
        let now = known();
        let bare = old6.trim_matches(['[', ']']);
        assert!(now.contains(&format!("{new} ")) && !now.contains(&format!("{old4} ")) && !now.contains(bare), "{now}");
        host.appc(["set", "two", "--ip", &old4]).succeeds();
        assert!(reaches(host, "one", "two"));

        // A monitor that is killed takes nothing along.
        host.kill_monitor("two");
        assert!(reaches(host, "one", "two"));
        host.sh_in("two", "true").succeeds();

        // What somebody takes out comes back with a setup, and the doctor names it.
        let table = appcontainers::network::table(host.paths());
        let two = port(host, "two");
        for (gone, said) in [
            (format!("nft flush set bridge {table} port4"), "elements of the firewall's sets are gone"),
            (format!("nft flush chain bridge {table} own_frame"), "rules instead of"),
            (format!("ip route delete {old4} dev {bridge}"), "of container two is gone"),
            (format!("ip link set {two} nomaster"), ""),
            (format!("ip link delete {bridge}"), "is gone"),
        ] {
            host.sh(&gone).succeeds();
            let doctor = host.appc(["doctor"]).text();
            assert!(doctor.contains(said), "{gone}: {doctor}");
            host.appc(["setup"]).succeeds();
            assert!(reaches(host, "one", "two"), "{gone}");
            assert!(!reaches(host, "two", "one"), "{gone}");
        }

        // What somebody deletes comes back with the next start: bridge, table, ports.
        host.appc(["stop", "one"]).succeeds();
        for gone in [
            format!("ip link delete {bridge}"),
            format!("nft delete table bridge {table}"),
            "nft flush ruleset".to_owned(),
        ] {
            host.sh(&gone).succeeds();
            host.appc(["start", "one"]).succeeds();
            wait_for(host, "one");
            assert!(reaches(host, "one", "two"), "{gone}");
            assert!(!reaches(host, "two", "one"), "{gone}");
            let ports = host.sh(&format!("nft list table bridge {table}")).succeeds();
            assert!(ports.contains(&old4) && ports.contains(&ip(host, "one")), "{ports}");
            host.appc(["stop", "one"]).succeeds();
        }

        // What has stopped leaves nothing at the bridge, and another name changes nothing.
        host.appc(["stop", "two"]).succeeds();
        eventually("nothing is left at the bridge", || {
            let left = known();
            let (one, two) = (mac(host, "one"), mac(host, "two"));
            (![&one, &two, &old4].into_iter().any(|word| left.contains(word))).then_some(())
        });
        host.appc(["rename", "two", "three"]).succeeds();
        host.appc(["start", "three"]).succeeds();
        host.appc(["start", "one"]).succeeds();
        for address in addresses(host, "three") {
            assert_eq!(host.sh_in("one", &get(&address, 8000)).succeeds(), "two");
        }
        let said = host.appc(["doctor"]).text();
        assert!(!said.contains("three") && !said.contains(&port(host, "three")), "{said}");
    });
}

#[test]
fn an_image_is_loaded_to_the_bridge_and_an_operating_system_is_at_it_too() {
    in_sandbox(|host| {
        host.app_image(|_| {});
        host.appc(["load-image", "app.aimg", "--name", "web", "--network", "bridge"]).succeeds();
        host.appc(["start", "web"]).succeeds();
        assert_eq!(host.inspect("web")["network"]["mode"], "bridge");
        let shown = host.run("ip", ["-o", "link", "show", "master", &bridge(host)]).succeeds();
        assert!(shown.contains(&port(host, "web")), "{shown}");
        let line = "ip -o link show; ip route show default";
        let run = ["run", "--rm", "--image", "app", "--network", "bridge", "--", "sh", "-c", line];
        assert!(host.appc(run).succeeds().contains("default via"));
        host.appc(["provision", "--name", "os", "--init", "system", "--network", "bridge"]).succeeds();
        let init = "#!/bin/sh\ntrap 'exit 0' PWR USR2\nwhile :; do sleep 600 & wait $!; done\n";
        fs::write(host.file("init.tar"), Archive::new().program("sbin/init", init).finish()).unwrap();
        host.sh("appc -c os put - / < init.tar").succeeds();
        host.appc(["start", "os"]).succeeds();
        host.start("way");
        host.appc(["allow", "os", "way"]).succeeds();
        host.sh_in("os", &format!("ping -c 1 -w 5 {}", ip(host, "way"))).succeeds();
        host.sh_in("os", &format!("! ping -c 1 -w 1 {}", ip(host, "web"))).succeeds();
        let said = host.appc(["provision", "--network", "flat"]).fails(2);
        assert!(said.contains("use routed or bridge"), "{said}");
        host.appc(["run", "--network", "bridge", "--", "true"]).fails(2);
    });
}
