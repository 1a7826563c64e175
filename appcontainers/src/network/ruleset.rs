//! The text of the firewall: one nftables table of our own, for `nft -f`.
//!
//! Containers are known by the names of their veths, so nothing here changes when one starts or stops.
//! It decides only about their packets; what other tables say about them holds too (an `accept` in one
//! base chain does not stop the next table's).

use ipnetwork::Ipv4Network;

/// What the text depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ruleset<'a> {
    pub(super) table: &'a str,
    pub(super) bridge: &'a str,
    pub(super) veth_prefix: &'a str,
    pub(super) subnet: Ipv4Network,
}

impl Ruleset<'_> {
    /// The default policy: out yes, in no, from container to container no, from the host to a container
    /// yes, from a container to the host only answers, link-local addresses (a cloud's metadata) no.
    pub(super) fn text(&self) -> String {
        let Self { table, bridge, veth_prefix, subnet } = self;
        // Added, then deleted, then made: one transaction, whether the table was there or not.
        format!(
            r#"add table inet {table}
delete table inet {table}
table inet {table} {{
	chain source {{
		comment "a container sends from its own address only: the way back must be its own interface"
		type filter hook prerouting priority raw; policy accept;
		iifname "{veth_prefix}*" fib saddr . iif oif missing drop
	}}
	chain to_host {{
		type filter hook input priority filter - 5; policy accept;
		iifname != "{veth_prefix}*" accept
		ct state established,related accept
		reject with icmpx admin-prohibited
	}}
	chain through {{
		type filter hook forward priority filter - 5; policy accept;
		iifname != "{veth_prefix}*" oifname != "{veth_prefix}*" accept
		ct state established,related accept
		ct state invalid drop
		iifname != "{veth_prefix}*" drop
		oifname "{veth_prefix}*" reject with icmpx admin-prohibited
		ip daddr 169.254.0.0/16 reject with icmpx admin-prohibited
		ip saddr {subnet} accept
		drop
	}}
	chain outbound {{
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr {subnet} oifname != "{veth_prefix}*" oifname != "{bridge}" masquerade
	}}
}}
"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_replaced_in_one_transaction_and_names_no_container() {
        let subnet = "10.213.0.0/16".parse().unwrap();
        let text = Ruleset { table: "t", bridge: "appc0", veth_prefix: "v1a2b", subnet }.text();
        assert!(text.starts_with("add table inet t\ndelete table inet t\ntable inet t {\n"), "{text}");
        assert!(text.contains("iifname \"v1a2b*\" fib saddr . iif oif missing drop"), "{text}");
        assert!(
            text.contains("ip saddr 10.213.0.0/16 oifname != \"v1a2b*\" oifname != \"appc0\" masquerade"),
            "{text}"
        );
        assert!(!text.contains("policy drop"), "packets of others would be dropped: {text}");
    }
}
