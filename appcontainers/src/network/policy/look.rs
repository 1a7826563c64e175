//! Reads containers' rules, and what the kernel has counted for them.

use std::collections::{BTreeMap, HashMap};

use super::{
    NetworkPolicy,
    change::PolicyError,
    grant::Addresses,
    rule::Peer,
    view::{CountedRule, Rule, rules_of, sum},
};
use crate::{
    ContainerName, Paths,
    network::{
        PoolSettings, Reservation, Reservations, find,
        firewall::{self, Element, TableFamily, Traffic},
        host::has_table,
        table,
    },
};

/// What all elements of the table have let through; nothing where there is no table.
fn counted(paths: &Paths) -> Result<BTreeMap<Element, Traffic>, PolicyError> {
    if !has_table(TableFamily::Inet, &table(paths))? {
        return Ok(BTreeMap::new());
    }
    Ok(firewall::list(paths)?.elements)
}

/// The rules of all containers, those of one after those of the other.
pub(crate) fn all_rules(paths: &Paths, reservations: &Reservations) -> Vec<Rule> {
    rules_and_elements(paths, reservations).into_iter().map(|(rule, _)| rule).collect()
}

/// As [`all_rules`], with what each has let through.
pub(crate) fn all_counted_rules(paths: &Paths, reservations: &Reservations) -> Result<Vec<CountedRule>, PolicyError> {
    let counted = counted(paths)?;
    Ok(count(rules_and_elements(paths, reservations), &counted))
}

/// The rules that concern one container: its own, and those of others that name it.
pub(crate) fn counted_rules_of(paths: &Paths, name: &ContainerName) -> Result<Vec<CountedRule>, PolicyError> {
    Ok(count(concerning(paths, name)?, &counted(paths)?))
}

fn count(rules: Vec<(Rule, Vec<Element>)>, counted: &BTreeMap<Element, Traffic>) -> Vec<CountedRule> {
    let count = |(rule, elements): (Rule, Vec<Element>)| CountedRule { rule, traffic: sum(&elements, counted) };
    rules.into_iter().map(count).collect()
}

fn rules_and_elements(paths: &Paths, reservations: &Reservations) -> Vec<(Rule, Vec<Element>)> {
    let settings = reservations.settings();
    let all: HashMap<Peer, Addresses> = reservations.list().iter().map(|one| peer_of(one, settings)).collect();
    let mut peers: Vec<_> = all.keys().collect();
    peers.sort();
    let mut rules = Vec::new();
    for peer in peers {
        let policy = NetworkPolicy::load_or_none(paths, &peer.name);
        rules.extend(rules_of(peer, &policy, &|peer| all.get(peer).copied()));
    }
    rules
}

fn concerning(paths: &Paths, name: &ContainerName) -> Result<Vec<(Rule, Vec<Element>)>, PolicyError> {
    let own = NetworkPolicy::load(paths, name)?;
    let mut known = HashMap::new();
    let names: Vec<_> = own.named_by.union(&own.named()).map(|peer| peer.name.clone()).collect();
    for other in names.iter().chain([name]) {
        let (settings, reservation) = find(paths, other)?;
        known.extend(reservation.map(|one| peer_of(&one, &settings)));
    }
    let addresses = |peer: &Peer| known.get(peer).copied();
    let mut rules = Vec::new();
    if let Some(peer) = known.keys().find(|peer| peer.name == *name) {
        rules.extend(rules_of(peer, &own, &addresses));
    }
    for other in &own.named_by {
        let theirs = rules_of(other, &NetworkPolicy::load_or_none(paths, &other.name), &addresses);
        rules.extend(theirs.into_iter().filter(|(rule, _)| rule.containers.contains(name)));
    }
    Ok(rules)
}

fn peer_of(reservation: &Reservation, settings: &PoolSettings) -> (Peer, Addresses) {
    (Peer::of(reservation), settings.addresses(reservation.ip))
}
