//! `containers/NAME/network.json`: what one container may reach and be reached by. Who has the host's lock writes it, for a
//! change may concern two containers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::rule::{Allow, Egress, Link, Peer, Publication};
use crate::{
    ContainerName, Hostname, Paths,
    error::chain,
    state::{Durability, StateError, Versioned, read, write},
};

/// A container's rules. Nothing in it: out yes, in no.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    /// Who may connect to it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allow: BTreeSet<Allow>,
    /// The services that it knows by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<Hostname, Link>,
    /// The host's ports that are its own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub publish: BTreeSet<Publication>,
    /// Where it may connect to outside.
    #[serde(default, skip_serializing_if = "Egress::is_all")]
    pub egress: Egress,
    /// The containers in whose files this one is named, so that nobody has to look through all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub named_by: BTreeSet<Peer>,
}

impl Versioned for NetworkPolicy {
    const KIND: &'static str = "list of a container's network rules";
    const VERSION: u32 = 1;
}

impl NetworkPolicy {
    /// The rules of a container; none if it has no file.
    pub fn load(paths: &Paths, name: &ContainerName) -> Result<Self, StateError> {
        Ok(read(&path(paths, name))?.unwrap_or_default())
    }

    /// The rules of one container among many: where they can't be read, that is said, and it reaches nothing and is not reached.
    pub(crate) fn load_or_none(paths: &Paths, name: &ContainerName) -> Self {
        Self::load(paths, name).unwrap_or_else(|error| {
            tracing::warn!(%name, error = %chain(&error), "a container's rules can't be read: it reaches nothing");
            Self { egress: Egress::None, ..Self::default() }
        })
    }

    /// Whether a container has a file of rules.
    pub(crate) fn exists(paths: &Paths, name: &ContainerName) -> bool {
        path(paths, name).exists()
    }

    pub(super) fn store(&self, paths: &Paths, name: &ContainerName, durability: Durability) -> Result<(), StateError> {
        write(&path(paths, name), self, durability)
    }

    /// The containers that its rules name.
    pub(super) fn named(&self) -> BTreeSet<Peer> {
        let clients = self.allow.iter().filter_map(|allow| allow.from.container());
        clients.chain(self.links.values().map(|link| &link.provider)).cloned().collect()
    }

    /// Takes away every rule that names the container.
    pub(super) fn forget(&mut self, peer: &Peer) {
        self.allow.retain(|allow| allow.from.container() != Some(peer));
        self.links.retain(|_, link| link.provider != *peer);
        self.named_by.remove(peer);
    }

    /// Gives the container another name in every rule that names it.
    pub(super) fn rename(&mut self, old: &Peer, new: &Peer) {
        let allow = std::mem::take(&mut self.allow);
        self.allow = allow
            .into_iter()
            .map(|mut allow| {
                if allow.from.container() == Some(old) {
                    allow.from = super::rule::Client::Container(new.clone());
                }
                allow
            })
            .collect();
        for link in self.links.values_mut().filter(|link| link.provider == *old) {
            link.provider = new.clone();
        }
        if self.named_by.remove(old) {
            self.named_by.insert(new.clone());
        }
    }
}

pub(super) fn path(paths: &Paths, name: &ContainerName) -> PathBuf {
    paths.container(name).join("network.json")
}
