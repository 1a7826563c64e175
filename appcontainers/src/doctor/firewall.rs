//! Other programs' firewall rules that would stop containers' packets: what one table accepts, another may
//! still drop.

use serde::Deserialize;

use super::Check;
use crate::{
    Paths,
    error::chain,
    network::{table, veth_prefix},
    program::NFT,
};

const NAME: &str = "other-firewalls";

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    chain: Option<Chain>,
}

#[derive(Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    policy: Option<String>,
}

/// Whether another table drops what is forwarded (Docker's and ufw's do).
pub(super) fn check(paths: &Paths) -> Check {
    match NFT.run(&["-j", "list", "chains"], "") {
        Ok(listing) => judge(&listing, &table(paths), &veth_prefix(paths)),
        Err(error) => Check::warning(NAME, chain(&error), "run: nft -j list chains"),
    }
}

fn judge(listing: &str, own_table: &str, veths: &str) -> Check {
    let Ok(listing) = serde_json::from_str::<Listing>(listing) else {
        return Check::warning(NAME, "the list of nftables chains is not understood", "look at: nft list ruleset");
    };
    let dropping = listing.nftables.into_iter().filter_map(|item| item.chain).find(|chain| {
        chain.table != own_table
            && matches!(chain.family.as_str(), "ip" | "inet")
            && chain.hook.as_deref() == Some("forward")
            && chain.policy.as_deref() == Some("drop")
    });
    match dropping {
        None => Check::fit(NAME, "none drops what is forwarded"),
        Some(Chain { family, table, name, .. }) => {
            let mend = match (family.as_str(), name.as_str()) {
                ("ip", "FORWARD") => {
                    format!("iptables -I FORWARD -i '{veths}+' -j ACCEPT; iptables -I FORWARD -o '{veths}+' -j ACCEPT")
                }
                _ => format!("let that chain accept packets from and to interfaces {veths}*"),
            };
            let detail =
                format!("chain {name} of table {family} {table} drops what is forwarded, containers' packets too");
            Check::warning(NAME, detail, mend)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_docker_host_is_told_how_to_let_containers_through() {
        let chain = |table, policy| {
            format!(
                r#"{{"nftables":[{{"metainfo":{{"version":"1"}}}},{{"chain":{{"family":"ip","table":"{table}",
                "name":"FORWARD","handle":1,"type":"filter","hook":"forward","prio":0,"policy":"{policy}"}}}}]}}"#
            )
        };
        let check = judge(&chain("filter", "drop"), "appcontainers", "v1a2b");
        assert_eq!(check.verdict, Verdict::Warning);
        assert!(check.mend.unwrap().starts_with("iptables -I FORWARD -i 'v1a2b+'"));
        assert_eq!(judge(&chain("filter", "accept"), "appcontainers", "v1a2b").verdict, Verdict::Fit);
        assert_eq!(judge(&chain("appcontainers", "drop"), "appcontainers", "v1a2b").verdict, Verdict::Fit);
    }
}
