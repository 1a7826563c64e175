//! The text of the firewall: one nftables table of our own, for `nft -f`.
//!
//! What belongs to a container is in sets and maps (see [`Set`]); the chains are the same however many containers there are.
//! They decide only about containers' packets; what other tables say about these holds too (an `accept` in one
//! base chain does not stop the next table's).
//!
//! Nothing is let through only because it belongs to a connection: a packet of either direction is looked up by the one that
//! opened its connection. So what is denied ends at once, and no table of connections has to be searched.
//!
//! Who is refused is told so: TCP by a reset, for of ICMP errors the kernel sends one destination a few each second
//! (`icmp_ratelimit`), and who gets none waits in vain.
//!
//! ```text
//! prerouting   raw      source     drop what has not the address and the MAC of the container at that interface
//!              dstnat   translate  the host's published ports -> their container's
//! output       dstnat   translate  likewise, for the host itself
//! forward               through    who opened the connection?
//!                                  to a container:     to_container, and its answers: of_container
//!                                  from one to others: to_outside, and their answers: of_outside
//! input                 to_host    from a container: answers alone
//! postrouting  srcnat   outbound   to the outside under the host's address
//! output                no_short_cut  no word to a container at the bridge of a shorter way to another one there
//! ```
//!
//! A second table, of the family arp, sees to it that a container speaks of nobody's address but its own: what it asks and says
//! on its link would fill the table of neighbours that the whole host has in common (`gc_thresh3`, arp(7)). In IPv6 that is the
//! matter of `own_source`.
//!
//! A container's interface is one of its own, or the bridge: what is at that is told apart by the bridge's own table (see
//! `bridge.rs`).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::{Ipv4Network, Ipv6Network};

use super::element::{Family, Set};

/// What the text depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ruleset<'a> {
    pub(crate) table: &'a str,
    pub(crate) bridge: &'a str,
    pub(crate) veth_prefix: &'a str,
    pub(crate) subnet: Ipv4Network,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) v6: Option<(Ipv6Network, Ipv6Addr)>,
}

impl Ruleset<'_> {
    /// The default policy: out yes, in no, from container to container no, from the host to a container
    /// yes, from a container to the host only answers, link-local addresses (a cloud's metadata) no.
    pub(crate) fn text(&self) -> String {
        let Self { table, bridge, veth_prefix, subnet, gateway, v6 } = self;
        let sets: String = Set::ALL
            .iter()
            .flat_map(|set| Family::ALL.map(|family| format!("\t{}\n", set.definition(family))))
            .collect();
        let [to_container, of_container] = [false, true]
            .map(|is_answer| FAMILIES.map(|family| served(is_answer, [veth_prefix, bridge], family)).concat());
        let [to_outside, of_outside] =
            [false, true].map(|is_answer| FAMILIES.map(|family| limited(is_answer, family)).concat());
        let masquerade_v6 = v6.map_or_else(String::new, |(subnet, gateway)| {
            format!(
                "\t\tip6 saddr {subnet} oifname != \"{veth_prefix}*\" oifname != \"{bridge}\" masquerade\n\
                 \t\tct status dnat ip6 saddr {subnet} oifname \"{veth_prefix}*\" snat ip6 to {gateway}\n\
                 \t\tct status dnat ip6 saddr {subnet} oifname \"{bridge}\" snat ip6 to {gateway}\n"
            )
        });
        let from_outside = format!("iifname != \"{veth_prefix}*\" iifname != \"{bridge}\"");
        let pretended_v6 =
            v6.map_or_else(String::new, |(subnet, _)| format!("\t\t{from_outside} ip6 saddr {subnet} drop\n"));
        // Added, then deleted, then made: one transaction, whether the table was there or not.
        let speakers = Set::Speaker.definition(Family::V4);
        format!(
            r#"add table arp {table}
delete table arp {table}
table arp {table} {{
	{speakers}
	chain source {{
		type filter hook input priority 0; policy accept;
		iifname "{veth_prefix}*" arp saddr ip . arp saddr ether != @speaker4 drop
	}}
}}
add table inet {table}
delete table inet {table}
table inet {table} {{
{sets}
	chain source {{
		type filter hook prerouting priority raw; policy accept;
		iifname "{veth_prefix}*" jump own_source
		iifname "{bridge}" jump own_source
	}}
	chain own_source {{
		iifname . ip saddr . ether saddr @member4 accept
		iifname . ip6 saddr . ether saddr @member6 accept
		drop
	}}
	chain published {{
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local goto translate
	}}
	chain published_to_host {{
		type nat hook output priority -100; policy accept;
		ip6 daddr ::1 accept
		fib daddr type local goto translate
	}}
	chain translate {{
		meta nfproto ipv4 dnat ip to ip daddr . meta l4proto . th dport map @publish_at4
		meta nfproto ipv4 dnat ip to meta l4proto . th dport map @publish4
		meta nfproto ipv6 dnat ip6 to ip6 daddr . meta l4proto . th dport map @publish_at6
		meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @publish6
	}}
	chain to_host {{
		type filter hook input priority filter - 5; policy accept;
		iifname != "{veth_prefix}*" iifname != "{bridge}" accept
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
		ct state established,related accept
		goto refuse
	}}
	chain through {{
		type filter hook forward priority filter - 5; policy accept;
		iifname != "{veth_prefix}*" iifname != "{bridge}" oifname != "{veth_prefix}*" oifname != "{bridge}" accept
		ct state invalid drop
		ct state related accept
		ct direction original oifname "{veth_prefix}*" goto to_container
		ct direction original oifname "{bridge}" goto to_container
		ct direction original goto to_outside
		iifname "{veth_prefix}*" goto of_container
		iifname "{bridge}" goto of_container
		goto of_outside
	}}
	chain to_container {{
		{from_outside} ip saddr {subnet} drop
{pretended_v6}{to_container}		{from_outside} ct state new drop
		goto refuse
	}}
	chain of_container {{
{of_container}		goto refuse
	}}
	chain to_outside {{
		ip daddr 169.254.0.0/16 goto refuse
{to_outside}		accept
	}}
	chain of_outside {{
{of_outside}		accept
	}}
	chain refuse {{
		meta l4proto tcp reject with tcp reset
		reject with icmpx admin-prohibited
	}}
	chain outbound {{
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr {subnet} oifname != "{veth_prefix}*" oifname != "{bridge}" masquerade
		ct status dnat ip saddr {{ {subnet}, 127.0.0.0/8 }} oifname "{veth_prefix}*" snat ip to {gateway}
		ct status dnat ip saddr {{ {subnet}, 127.0.0.0/8 }} oifname "{bridge}" snat ip to {gateway}
{masquerade_v6}	}}
	chain no_short_cut {{
		type filter hook output priority filter - 5; policy accept;
		oifname "{bridge}" icmp type redirect drop
		oifname "{bridge}" icmpv6 type nd-redirect drop
	}}
}}
"#
        )
    }
}

const FAMILIES: [(&str, char); 2] = [("ip", '4'), ("ip6", '6')];

/// The rules about connections to a container: packets to it, or its answers.
fn served(is_answer: bool, [veth_prefix, bridge]: [&str; 2], (ip, n): (&str, char)) -> String {
    let (client, server, port, client_side) =
        if is_answer { ("daddr", "saddr", "sport", "oifname") } else { ("saddr", "daddr", "dport", "iifname") };
    let outside = format!("{client_side} != \"{veth_prefix}*\" {client_side} != \"{bridge}\"");
    format!(
        "\t\t{ip} {client} . {ip} {server} . meta l4proto . th {port} @allow{n} accept\n\
         \t\t{ip} {client} . {ip} {server} @allow_all{n} accept\n\
         \t\tct status dnat {ip} {server} . meta l4proto . th {port} @target{n} accept\n\
         \t\t{outside} {ip} {client} . {ip} {server} . meta l4proto . th {port} @outside{n} accept\n\
         \t\t{outside} {ip} {client} . {ip} {server} @outside_all{n} accept\n"
    )
}

/// The rules about connections of a container to the outside: packets of it, or their answers.
fn limited(is_answer: bool, (ip, n): (&str, char)) -> String {
    let (client, server) = if is_answer { ("daddr", "saddr") } else { ("saddr", "daddr") };
    // Not with "!=": what is found counts, what is not found does not.
    format!(
        "\t\t{ip} {client} . {ip} {server} @egress{n} accept\n\
         \t\t{ip} {client} @limited{n} goto refuse\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_replaced_in_one_transaction_and_names_no_container() {
        let subnet = "10.213.0.0/16".parse().unwrap();
        let gateway = Ipv4Addr::new(10, 213, 0, 1);
        let ruleset = Ruleset { table: "t", bridge: "appc0", veth_prefix: "v1a2b", subnet, gateway, v6: None };
        let text = ruleset.text();
        assert!(text.starts_with("add table arp t\ndelete table arp t\ntable arp t {\n"), "{text}");
        assert!(text.contains("}\nadd table inet t\ndelete table inet t\ntable inet t {\n"), "{text}");
        assert!(
            text.contains("ip saddr 10.213.0.0/16 oifname != \"v1a2b*\" oifname != \"appc0\" masquerade"),
            "{text}"
        );
        assert!(!text.contains("policy drop"), "packets of others would be dropped: {text}");
        assert!(!text.contains("ip6 saddr fd"), "{text}");
    }
}
