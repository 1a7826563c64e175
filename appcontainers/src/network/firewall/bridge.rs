//! The text of the table of the family bridge, for `nft -f`. It is there where a container was a port of the bridge since the
//! host's boot.
//!
//! ```text
//! prerouting  from_port   a frame has its port's own MAC and address, and is for the host; all others are dropped
//! forward     to_port     from port to port only what br_netfilter has given another destination
//! ```
//!
//! So no container sees another one's frames, and packets go through the chains of the family inet: there they come in by the
//! bridge, and are told apart by their addresses, which are sure. Where br_netfilter is loaded (Docker does that), the kernel
//! runs the chains of the family inet for frames in the bridge, and what is for a port of the host's that a container at
//! the bridge publishes goes from port to port, through the same chains. Ports that are `isolated` would not take that, so they
//! are not.

use super::element::{Family, Set};

/// The table with its sets and chains; containers' ports are named with this prefix.
pub(super) fn text(table: &str, veth_prefix: &str) -> String {
    let sets = Family::ALL.map(|family| format!("\t{}\n", Set::Port.definition(family))).concat();
    // Added, then deleted, then made: one transaction, whether the table was there or not.
    format!(
        r#"add table bridge {table}
delete table bridge {table}
table bridge {table} {{
{sets}
	chain from_port {{
		type filter hook prerouting priority -300; policy accept;
		iifname "{veth_prefix}*" goto own_frame
	}}
	chain own_frame {{
		ether type arp meta pkttype {{ host, broadcast }} iifname . ether saddr . arp saddr ip @port4 iifname . arp saddr ether . arp saddr ip @port4 accept
		ether type ip meta pkttype host iifname . ether saddr . ip saddr @port4 accept
		ether type ip6 meta pkttype host iifname . ether saddr . ip6 saddr @port6 accept
		ether type ip6 icmpv6 type nd-neighbor-solicit iifname . ether saddr . ip6 saddr @port6 accept
		drop
	}}
	chain to_port {{
		type filter hook forward priority -300; policy accept;
		iifname "{veth_prefix}*" meta pkttype != host drop
	}}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_ports_are_looked_at() {
        let text = text("t", "v1a2b");
        assert!(text.starts_with("add table bridge t\ndelete table bridge t\ntable bridge t {\n"), "{text}");
        assert!(text.contains("set port6 { type ifname . ether_addr . ipv6_addr; }"), "{text}");
        let hooks = text.split("policy accept;\n").skip(1);
        assert!(hooks.clone().all(|rules| rules.trim_start().starts_with("iifname \"v1a2b*\" ")), "{text}");
        assert_eq!(hooks.count(), 2);
    }
}
