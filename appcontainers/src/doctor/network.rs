//! Checks of what the host gives containers' network beside our own table: resolvers, routers, room for connections, nftables.

use std::{fs, net::IpAddr};

use super::Check;
use crate::{Paths, network::is_own_address, program::NFT, runtime::resolv_conf};

/// The oldest version of nftables that knows all that the firewall's text has, and says its counters as JSON: Ubuntu 22.04's.
const OLDEST_NFT: (u32, u32, u32) = (1, 0, 2);

/// Whether containers can reach the resolvers that they get.
pub(super) fn resolvers(paths: &Paths) -> Check {
    let file = paths.skeletons().join("user/start/etc/resolv.conf");
    let is_given = file.exists() || file.with_extension("conf.tera").exists();
    let text = if is_given { fs::read(&file).ok() } else { resolv_conf() };
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    if is_given && text.is_empty() {
        return Check::fit("resolvers", "from a skeleton");
    }
    judge_resolvers(&text, &|address| is_own_address(address).unwrap_or(false), &file.display().to_string())
}

fn judge_resolvers(text: &str, is_own: &dyn Fn(IpAddr) -> bool, skeleton: &str) -> Check {
    const NAME: &str = "resolvers";
    let mut named = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some("nameserver") {
            // A scope, as in fe80::1%eth0, means nothing in a container.
            named.extend(words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok()));
        }
    }
    let listed = named.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mend = || format!("name resolvers that containers reach, as 'nameserver 192.0.2.53', in {skeleton}");
    let is_out_of_reach = |address: &IpAddr| {
        let is_link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        address.is_loopback() || is_link_local || is_own(*address)
    };
    if named.is_empty() {
        Check::warning(NAME, "this host names none: containers can't resolve names of the outside", mend())
    } else if named.iter().all(is_out_of_reach) {
        let detail = format!("{listed}: this host itself, which containers open no connection to");
        Check::warning(NAME, detail, mend())
    } else {
        Check::fit(NAME, listed)
    }
}

/// Whether the host still takes the default route that it has from a router.
pub(super) fn router_advertisements() -> Check {
    let routes = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let number = |path: String| fs::read_to_string(path).ok()?.trim().parse().ok();
    let forwards = number("/proc/sys/net/ipv6/conf/all/forwarding".to_owned()).unwrap_or(0u8) != 0;
    judge_advertisements(forwards, &routes, &|interface| {
        number(format!("/proc/sys/net/ipv6/conf/{interface}/accept_ra"))
    })
}

/// `routes` is the text of `/proc/net/ipv6_route`: destination, length of its prefix, …, flags, interface.
fn judge_advertisements(forwards: bool, routes: &str, accept_ra: &dyn Fn(&str) -> Option<u8>) -> Check {
    const NAME: &str = "router-advertisements";
    // linux/ipv6_route.h
    const RTF_DEFAULT: u32 = 0x0001_0000;
    const RTF_ADDRCONF: u32 = 0x0004_0000;
    let learned = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, "00", .., flags, interface] = fields[..] else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        (flags & RTF_DEFAULT != 0 && flags & RTF_ADDRCONF != 0).then(|| interface.to_owned())
    };
    let mut deaf: Vec<_> = routes.lines().filter_map(learned).filter(|name| accept_ra(name) == Some(1)).collect();
    deaf.dedup();
    if !forwards || deaf.is_empty() {
        return Check::fit(NAME, "no default route depends on them, or they are taken");
    }
    let detail =
        format!("this host forwards IPv6, so {} takes none any more: its IPv6 default route will go", deaf.join(", "));
    let mends: Vec<_> = deaf.iter().map(|name| format!("sysctl -w net.ipv6.conf.{name}.accept_ra=2")).collect();
    Check::warning(NAME, detail, mends.join("; "))
}

/// Whether the kernel has room for more connections.
pub(super) fn connections() -> Check {
    let number = |name: &str| {
        fs::read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{name}")).ok()?.trim().parse().ok()
    };
    judge_connections(number("count").zip(number("max")))
}

fn judge_connections(count_and_max: Option<(u64, u64)>) -> Check {
    const NAME: &str = "connections";
    match count_and_max {
        None => Check::fit(NAME, "not tracked yet"),
        Some((count, max)) if max > 0 && count >= max - max / 10 => {
            let detail =
                format!("{count} of {max} that the kernel tracks at most: new ones are dropped when it is full");
            Check::warning(NAME, detail, format!("sysctl -w net.netfilter.nf_conntrack_max={}", max.saturating_mul(2)))
        }
        Some((count, max)) => Check::fit(NAME, format!("{count} of {max}")),
    }
}

/// Whether nftables is new enough; nothing where it is missing, which another check says.
pub(super) fn nft_version() -> Option<Check> {
    NFT.run(&["--version"], "").ok().map(|text| judge_version(&text))
}

fn judge_version(text: &str) -> Check {
    const NAME: &str = "nft-version";
    let version = text.split_whitespace().find_map(|word| {
        let mut numbers = word.strip_prefix('v')?.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
    });
    let (a, b, c) = OLDEST_NFT;
    match version {
        Some(version) if version >= OLDEST_NFT => {
            Check::fit(NAME, format!("{}.{}.{}", version.0, version.1, version.2))
        }
        Some((x, y, z)) => {
            let detail = format!("{x}.{y}.{z} is older than {a}.{b}.{c}: it can't load the containers' firewall");
            Check::unfit(NAME, detail, format!("install nftables {a}.{b}.{c} or newer"))
        }
        None => Check::warning(NAME, "what nft says of its version is not understood", "run: nft --version"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_resolver_on_the_host_itself_is_none_for_containers() {
        let judge = |text: &str| judge_resolvers(text, &|address| address.to_string() == "192.0.2.1", "/s/resolv.conf");
        for out_of_reach in [
            "nameserver 127.0.0.53\noptions edns0\n",
            "nameserver ::1\nnameserver 127.0.0.1\n",
            "nameserver 192.0.2.1\n",
            "nameserver fe80::1%eth0\n",
            "# nameserver 192.0.2.53\n",
            "",
        ] {
            let check = judge(out_of_reach);
            assert_eq!(check.verdict, Verdict::Warning, "{out_of_reach}");
            assert!(check.mend.unwrap().contains("/s/resolv.conf"));
        }
        assert_eq!(judge("nameserver 127.0.0.53\nnameserver 192.0.2.53\n").verdict, Verdict::Fit);
        assert_eq!(judge("search example.org\nnameserver\t2001:db8::53\n").verdict, Verdict::Fit);
    }

    #[test]
    fn a_default_route_from_a_router_needs_advertisements_that_a_forwarding_host_takes() {
        let zeros = "0".repeat(32);
        let line = |prefix: &str, flags: &str, name: &str| {
            let router = "fe800000000000000000000000000001";
            format!("{zeros} {prefix} {zeros} 00 {router} 00000400 00000001 00000000 {flags} {name}\n")
        };
        let learned = line("00", "00450003", "eth0");
        let check = judge_advertisements(true, &learned, &|_| Some(1));
        assert_eq!(check.verdict, Verdict::Warning);
        assert_eq!(check.mend.unwrap(), "sysctl -w net.ipv6.conf.eth0.accept_ra=2");
        let is_fit = |forwards, routes: &str, accept: u8| {
            judge_advertisements(forwards, routes, &|_| Some(accept)).verdict == Verdict::Fit
        };
        assert!(is_fit(true, &learned, 2));
        assert!(is_fit(false, &learned, 1));
        assert!(is_fit(true, &line("00", "00000003", "eth0"), 1), "somebody set it by hand");
        assert!(is_fit(true, &line("40", "00450003", "eth0"), 1), "no default route");
        assert!(is_fit(true, "", 1));
    }

    #[test]
    fn a_table_of_connections_is_named_before_it_is_full() {
        assert_eq!(judge_connections(Some((89, 100))).verdict, Verdict::Fit);
        let check = judge_connections(Some((90, 100)));
        assert_eq!(check.verdict, Verdict::Warning);
        assert_eq!(check.mend.unwrap(), "sysctl -w net.netfilter.nf_conntrack_max=200");
        assert_eq!(judge_connections(None).verdict, Verdict::Fit);
        assert_eq!(judge_connections(Some((0, 0))).verdict, Verdict::Fit);
    }

    #[test]
    fn an_old_nftables_is_unfit() {
        for (text, verdict) in [
            ("nftables v1.0.6 (Lester Gooch #5)", Verdict::Fit),
            ("nftables v1.0.2 (Lester Gooch)", Verdict::Fit),
            ("nftables v1.1 (x)", Verdict::Fit),
            ("nftables v0.9.8 (E.D.S.)", Verdict::Unfit),
            ("something else", Verdict::Warning),
        ] {
            assert_eq!(judge_version(text).verdict, verdict, "{text}");
        }
    }
}
