//! Other programs' firewall rules that would stop containers' packets: what one table accepts, another may
//! still drop.
//!
//! Looks at the base chains of other tables that drop what no rule of theirs accepts, and whether one of their rules lets
//! containers' interfaces through. What to do about it depends on whose table it is; it is always a line for the shell.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::Check;
use crate::{
    Paths,
    error::chain,
    network::{HostNetwork, bridge, table, veth_prefix},
    program::{NFT, ProgramError},
};

const NAME: &str = "other-firewalls";

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    chain: Option<Chain>,
    rule: Option<Rule>,
}

#[derive(Deserialize, Clone)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    policy: Option<String>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default)]
    expr: Vec<Value>,
}

/// Whether another table drops containers' packets.
pub(super) fn check(paths: &Paths) -> Check {
    let mut interfaces = vec![format!("{}*", veth_prefix(paths))];
    if HostNetwork::is_with_bridge(paths) {
        interfaces.push(bridge(paths));
    }
    match look(&table(paths), &interfaces) {
        Ok(check) => check,
        Err(LookError::Program(error)) => Check::warning(NAME, chain(&error), "run: nft -j list chains"),
        Err(LookError::Answer) => {
            Check::warning(NAME, "what nftables lists is not understood", "look at: nft list ruleset")
        }
    }
}

enum LookError {
    Program(ProgramError),
    Answer,
}

fn look(own_table: &str, interfaces: &[String]) -> Result<Check, LookError> {
    let list = |arguments: &[&str]| {
        let text = NFT.run(arguments, "").map_err(LookError::Program)?;
        parse(&text).ok_or(LookError::Answer)
    };
    let chains: Vec<Chain> = list(&["-j", "list", "chains"])?.into_iter().filter_map(|item| item.chain).collect();
    let mut obstacles = Vec::new();
    for table in suspects(&chains, own_table) {
        // Only these, as tables may be large.
        let items = list(&["-j", "list", "table", &table.0, &table.1])?;
        obstacles.extend(interfaces.iter().flat_map(|interface| judge(&items, interface)));
    }
    Ok(tell(&obstacles))
}

fn parse(text: &str) -> Option<Vec<Item>> {
    Some(serde_json::from_str::<Listing>(text).ok()?.nftables)
}

/// The tables (family, name) that may be in the way.
fn suspects(chains: &[Chain], own_table: &str) -> BTreeSet<(String, String)> {
    let others = chains.iter().filter(|chain| chain.table != own_table && obstructs(chain).is_some());
    others.map(|chain| (chain.family.clone(), chain.table.clone())).collect()
}

/// What a base chain drops that it is not told to accept. That of firewalld has a rule for that at its end.
fn obstructs(chain: &Chain) -> Option<Hook> {
    let drops = chain.policy.as_deref() == Some("drop") || chain.table == FIREWALLD;
    match chain.hook.as_deref().filter(|_| drops && matches!(chain.family.as_str(), "ip" | "ip6" | "inet"))? {
        "forward" => Some(Hook::Forward),
        "input" if chain.table != FIREWALLD => Some(Hook::Input),
        _ => None,
    }
}

const FIREWALLD: &str = "firewalld";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    Forward,
    Input,
}

/// What is in the way, and a line of shell that mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Obstacle {
    detail: String,
    mend: String,
}

/// What of one table is in the way of an interface's packets; `*` at its name's end stands for any more.
fn judge(table: &[Item], interface: &str) -> Vec<Obstacle> {
    let rules: Vec<&Rule> = table.iter().filter_map(|item| item.rule.as_ref()).collect();
    let names: BTreeSet<&str> = table.iter().filter_map(|item| Some(item.chain.as_ref()?.name.as_str())).collect();
    let lets_through = |key: &str| rules.iter().any(|rule| matches_interface(rule, key, interface) && goes_on(rule));
    let mut obstacles = Vec::new();
    for chain in table.iter().filter_map(|item| item.chain.as_ref()) {
        let Chain { family, table, name, .. } = chain;
        match obstructs(chain) {
            Some(Hook::Forward) if !(lets_through("iifname") && lets_through("oifname")) => obstacles.push(Obstacle {
                detail: format!(
                    "chain {name} of table {family} {table} drops what is forwarded, containers' packets too"
                ),
                mend: mend_forward(chain, &names, interface),
            }),
            Some(Hook::Input) => obstacles.extend(judge_input(chain, &rules, interface, lets_through("iifname"))),
            _ => {}
        }
    }
    obstacles
}

/// Containers open no connections to the host, but their answers come to it, and neighbour discovery.
fn judge_input(chain: &Chain, rules: &[&Rule], interface: &str, lets_through: bool) -> Option<Obstacle> {
    let Chain { family, table, name, .. } = chain;
    let mentions = |what: &dyn Fn(&Value) -> bool| {
        rules.iter().any(|rule| rule.expr.iter().filter_map(|expr| expr.get("match")).any(what) && goes_on(rule))
    };
    let of_connections = |matched: &Value| matched["left"]["ct"]["key"] == "state";
    // iptables-nft shows as an opaque "xt" what it has no expression for, a connection's state among that.
    let is_opaque = rules.iter().any(|rule| rule.expr.iter().any(|expr| expr.get("xt").is_some()));
    let of_neighbours = |matched: &Value| {
        let text = matched.to_string();
        text.contains("icmpv6") || text.contains("ipv6-icmp")
    };
    let has_answers = is_opaque || mentions(&of_connections);
    let has_neighbours = is_opaque || family == "ip" || mentions(&of_neighbours);
    let (missing, what) = match (has_answers, has_neighbours) {
        _ if lets_through => return None,
        (false, _) => ("ct state established,related accept", "containers' answers to this host"),
        (true, false) => ("meta l4proto ipv6-icmp accept", "IPv6 neighbour discovery of containers"),
        (true, true) => return None,
    };
    Some(Obstacle {
        detail: format!("chain {name} of table {family} {table} drops {what}"),
        mend: format!("nft insert rule {family} {table} {name} iifname '\"{interface}\"' {missing}"),
    })
}

fn mend_forward(chain: &Chain, names: &BTreeSet<&str>, interface: &str) -> String {
    // As iptables(8) has it.
    let plus = interface.replace('*', "+");
    let Chain { family, table, name, .. } = chain;
    if table == FIREWALLD {
        return format!(
            "firewall-cmd --permanent --zone=trusted --add-interface='{plus}'; \
             firewall-cmd --permanent --new-policy=appc-in; \
             firewall-cmd --permanent --policy=appc-in --add-ingress-zone=ANY; \
             firewall-cmd --permanent --policy=appc-in --add-egress-zone=trusted; \
             firewall-cmd --permanent --policy=appc-in --set-target=ACCEPT; firewall-cmd --reload"
        );
    }
    if names.contains("ufw-user-forward") || names.contains("ufw6-user-forward") {
        return format!("ufw route allow in on '{plus}'; ufw route allow out on '{plus}'");
    }
    if family != "inet" && table == "filter" && name == "FORWARD" {
        let program = if family == "ip" { "iptables" } else { "ip6tables" };
        // Docker writes its own part anew, and leaves that one to the user.
        let chain = if names.contains("DOCKER-USER") { "DOCKER-USER" } else { "FORWARD" };
        let insert = |side: &str| format!("{program} -I {chain} {side} '{plus}' -j ACCEPT");
        return format!("{}; {}", insert("-i"), insert("-o"));
    }
    let insert = |key: &str| format!("nft insert rule {family} {table} {name} {key} '\"{interface}\"' accept");
    format!("{}; {}", insert("iifname"), insert("oifname"))
}

/// Whether a rule is about all that comes from, or goes to, containers' interfaces.
fn matches_interface(rule: &Rule, key: &str, interface: &str) -> bool {
    let matches: Vec<_> = rule.expr.iter().filter_map(|expr| expr.get("match")).collect();
    let [only] = matches[..] else { return false };
    only["op"] == "==" && only["left"]["meta"]["key"] == key && only["right"] == interface
}

/// Whether a rule lets through what it matches, or has another chain decide.
fn goes_on(rule: &Rule) -> bool {
    rule.expr.iter().any(|expr| ["accept", "jump", "goto"].iter().any(|verdict| expr.get(verdict).is_some()))
}

fn tell(obstacles: &[Obstacle]) -> Check {
    if obstacles.is_empty() {
        return Check::fit(NAME, "none drops what is forwarded");
    }
    let mut details: Vec<&str> = obstacles.iter().map(|one| one.detail.as_str()).collect();
    let mut seen = BTreeSet::new();
    details.retain(|detail| seen.insert(*detail));
    let mut mends: Vec<&str> = obstacles.iter().map(|one| one.mend.as_str()).collect();
    mends.dedup();
    Check::warning(NAME, details.join("; "), mends.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict;

    fn base(family: &str, table: &str, name: &str, hook: &str, policy: &str) -> Value {
        json!({"chain": {"family": family, "table": table, "name": name, "handle": 1, "type": "filter", "hook": hook,
            "prio": 0, "policy": policy}})
    }

    fn regular(family: &str, table: &str, name: &str) -> Value {
        json!({"chain": {"family": family, "table": table, "name": name, "handle": 2}})
    }

    fn interface(key: &str, name: &str, verdict: &str) -> Value {
        json!({"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 3, "expr": [
            {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": name}},
            {"counter": {"packets": 0, "bytes": 0}}, {verdict: null}]}})
    }

    /// What is told of one table with these items.
    fn told(items: &[Value]) -> Check {
        let all = [[json!({"metainfo": {"version": "1.0.6"}})].as_slice(), items].concat();
        let text = json!({"nftables": all});
        let items = parse(&text.to_string()).unwrap();
        let chains: Vec<_> = items.iter().filter_map(|item| item.chain.clone()).collect();
        let obstacles =
            if suspects(&chains, "appcontainers").is_empty() { Vec::new() } else { judge(&items, "v1a2b*") };
        tell(&obstacles)
    }

    #[test]
    fn a_forward_chain_that_drops_is_named_with_its_owners_own_mend() {
        for (family, name, more, mend) in [
            (
                "ip",
                "filter",
                None,
                "iptables -I FORWARD -i 'v1a2b+' -j ACCEPT; iptables -I FORWARD -o 'v1a2b+' -j ACCEPT",
            ),
            (
                "ip",
                "filter",
                Some("DOCKER-USER"),
                "iptables -I DOCKER-USER -i 'v1a2b+' -j ACCEPT; iptables -I DOCKER-USER -o",
            ),
            ("ip6", "filter", Some("DOCKER-USER"), "ip6tables -I DOCKER-USER -i 'v1a2b+' -j ACCEPT"),
            (
                "ip",
                "filter",
                Some("ufw-user-forward"),
                "ufw route allow in on 'v1a2b+'; ufw route allow out on 'v1a2b+'",
            ),
            ("ip6", "filter", Some("ufw6-user-forward"), "ufw route allow in on 'v1a2b+'"),
            ("inet", "mine", None, "nft insert rule inet mine FORWARD iifname '\"v1a2b*\"' accept; nft insert rule"),
        ] {
            let mut items = vec![base(family, name, "FORWARD", "forward", "drop")];
            items.extend(more.map(|chain| regular(family, name, chain)));
            let check = told(&items);
            assert_eq!(check.verdict, Verdict::Warning);
            assert!(check.detail.contains(&format!("chain FORWARD of table {family} {name}")), "{}", check.detail);
            let found = check.mend.unwrap();
            assert!(found.starts_with(mend), "{found}");
        }
    }

    #[test]
    fn firewalld_rejects_by_a_rule_and_has_zones() {
        let chain = base("inet", "firewalld", "filter_FORWARD", "forward", "accept");
        let mend = told(std::slice::from_ref(&chain)).mend.unwrap();
        assert!(mend.starts_with("firewall-cmd --permanent --zone=trusted --add-interface='v1a2b+'"), "{mend}");
        let mended = ["iifname", "oifname"].map(|key| interface(key, "v1a2b*", "goto"));
        assert_eq!(told(&[[chain].as_slice(), &mended].concat()).verdict, Verdict::Fit);
    }

    #[test]
    fn what_lets_containers_through_in_both_directions_is_no_obstacle() {
        let chain = base("ip", "filter", "FORWARD", "forward", "drop");
        let with = |rules: &[Value]| told(&[std::slice::from_ref(&chain), rules].concat()).verdict;
        let [into, out] = ["iifname", "oifname"].map(|key| interface(key, "v1a2b*", "accept"));
        assert_eq!(with(&[into.clone(), out.clone()]), Verdict::Fit);
        assert_eq!(with(std::slice::from_ref(&into)), Verdict::Warning);
        assert_eq!(with(&[into, interface("oifname", "v9999*", "accept")]), Verdict::Warning);
        assert_eq!(with(&[out, interface("iifname", "v1a2b*", "drop")]), Verdict::Warning);
    }

    #[test]
    fn what_drops_nothing_or_is_ours_is_no_obstacle() {
        assert_eq!(told(&[base("ip", "filter", "FORWARD", "forward", "accept")]).verdict, Verdict::Fit);
        assert_eq!(told(&[base("inet", "appcontainers", "through", "forward", "drop")]).verdict, Verdict::Fit);
        assert_eq!(told(&[base("bridge", "filter", "FORWARD", "forward", "drop")]).verdict, Verdict::Fit);
        assert_eq!(told(&[]).verdict, Verdict::Fit);
    }

    #[test]
    fn an_input_chain_has_to_take_answers_and_neighbour_discovery() {
        let chain = base("inet", "mine", "input", "input", "drop");
        let accept = |matched: Value| json!({"rule": {"expr": [{"match": matched}, {"accept": null}]}});
        let answers =
            accept(json!({"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}));
        let neighbours = accept(json!({"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "ipv6-icmp"}));
        let with = |rules: &[&Value]| {
            let rules: Vec<Value> = rules.iter().map(|rule| (*rule).clone()).collect();
            told(&[std::slice::from_ref(&chain), &rules].concat())
        };
        assert!(with(&[]).mend.unwrap().ends_with("iifname '\"v1a2b*\"' ct state established,related accept"));
        let check = with(&[&answers]);
        assert!(check.detail.contains("neighbour discovery"), "{}", check.detail);
        assert_eq!(
            check.mend.unwrap(),
            "nft insert rule inet mine input iifname '\"v1a2b*\"' meta l4proto ipv6-icmp accept"
        );
        assert_eq!(with(&[&answers, &neighbours]).verdict, Verdict::Fit);
    }
}
