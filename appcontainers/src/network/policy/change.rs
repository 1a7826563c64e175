//! A change of the rules of one or more containers, made as a whole.
//!
//! ```text
//! open the containers -> change their rules -> commit:
//!     mark -> files (who is named in a new rule before the rule) -> table -> unmark -> /etc/hosts
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
};

use super::{
    NetworkPolicy,
    activity::{self, Attachment},
    grant::{Addresses, Grant, grants},
    hosts,
    rule::Peer,
};
use crate::{
    ContainerName, Paths,
    network::{
        HostNetwork, HostNetworkError, ReservationError, Reservations, find,
        firewall::{self, Element, Set},
    },
    program::ProgramError,
    state::{Durability, HostLock, LockError, StateError},
};

/// Why rules could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A file of rules, or of a container's run directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no such container.
    #[error(transparent)]
    Reservation(#[from] ReservationError),
    /// The host's network.
    #[error(transparent)]
    Host(#[from] HostNetworkError),
    /// `nft` did not take the change.
    #[error("cannot change the firewall")]
    Firewall(#[from] ProgramError),
    /// The host's lock can't be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The kernel keeps what it was told of a container at the bridge.
    #[error("cannot take container {name} off the bridge")]
    Detach {
        /// The container.
        name: ContainerName,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A container's `/etc/hosts` can't be written.
    #[error("cannot write the names that container {name} knows")]
    Hosts {
        /// The container.
        name: ContainerName,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Rules that are being changed.
#[derive(Debug)]
pub struct PolicyChange<'lock> {
    paths: Paths,
    lock: &'lock HostLock,
    members: BTreeMap<ContainerName, Member>,
    /// Containers that have another address now, with the one that they had.
    moved: BTreeMap<Peer, Addresses>,
    /// A container that is being renamed: its own file follows later, as it is.
    renamed: Option<Peer>,
    mark: Mark,
}

/// What tells others that a change is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    NotMade,
    Made,
    /// A command that was killed had made it: what that one changed may be in the files alone.
    Found,
}

/// A container whose rules are known here.
#[derive(Debug)]
struct Member {
    peer: Peer,
    addresses: Addresses,
    before: NetworkPolicy,
    now: NetworkPolicy,
    attachment: Option<Attachment>,
}

impl<'lock> PolicyChange<'lock> {
    /// Begins a change.
    pub fn begin(paths: &Paths, lock: &'lock HostLock) -> Self {
        Self {
            paths: paths.clone(),
            lock,
            members: BTreeMap::new(),
            moved: BTreeMap::new(),
            renamed: None,
            mark: Mark::NotMade,
        }
    }

    /// The container as rules name it.
    pub fn peer(&mut self, name: &ContainerName) -> Result<Peer, PolicyError> {
        Ok(self.open(name)?.peer.clone())
    }

    /// The rules of a container, to be changed.
    pub fn policy(&mut self, name: &ContainerName) -> Result<&mut NetworkPolicy, PolicyError> {
        Ok(&mut self.open(name)?.now)
    }

    /// Takes away all rules of a container, and all of others that name it. What is left of its own file goes with the container.
    pub fn forget(&mut self, name: &ContainerName) -> Result<(), PolicyError> {
        let peer = self.peer(name)?;
        let policy = std::mem::take(self.policy(name)?);
        for other in &policy.named_by {
            if let Some(other) = self.open_peer(other)? {
                other.now.forget(&peer);
            }
        }
        Ok(())
    }

    /// Gives a container that has `new` as its name another one in all rules.
    pub(crate) fn rename(&mut self, old: &ContainerName, new: &ContainerName) -> Result<(), PolicyError> {
        let Some(reservation) = find(&self.paths, new)?.1 else { return Ok(()) };
        let (old, new) = (Peer { name: old.clone(), mac: reservation.mac }, Peer::of(&reservation));
        // Its own file moves with its directory, and names others alone.
        let own = NetworkPolicy::load(&self.paths, &old.name)?;
        for other in own.named_by.union(&own.named()) {
            if let Some(other) = self.open_peer(other)? {
                other.now.rename(&old, &new);
            }
        }
        self.renamed = Some(new);
        Ok(())
    }

    /// Says that a container's file of rules is in its new place: while it was not, others may have made a table without them.
    pub(crate) fn arrived(&mut self, name: &ContainerName) -> Result<(), PolicyError> {
        match self.open(name).map(|member| member.addresses) {
            Ok(addresses) => self.moved(name, addresses),
            Err(PolicyError::Reservation(ReservationError::Unknown { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Marks that what the table has and what it should have differ from now on, until this is committed or a later change is.
    pub(crate) fn mark(&mut self) -> Result<(), PolicyError> {
        if self.mark == Mark::NotMade {
            let path = self.paths.network_change_mark();
            let mark = if path.exists() { Mark::Found } else { Mark::Made };
            fs::write(&path, "").map_err(|source| StateError::Write { path, source })?;
            self.mark = mark;
        }
        Ok(())
    }

    /// Says that a container's address was another one until now.
    pub(crate) fn moved(&mut self, name: &ContainerName, before: Addresses) -> Result<(), PolicyError> {
        let peer = self.peer(name)?;
        for other in self.policy(name)?.named_by.clone() {
            self.open_peer(&other)?;
        }
        self.moved.insert(peer, before);
        Ok(())
    }

    /// Makes the change: in the files, in the kernel, and in the containers that run.
    pub fn commit(mut self) -> Result<(), PolicyError> {
        self.note_mentions()?;
        let (gone, new) = self.open_all_concerned()?;
        let clients = gone.iter().chain(&new).flat_map(Grant::peers).cloned();
        let mut concerned: BTreeSet<Peer> = clients.collect();
        for member in self.members.values().filter(|member| member.before.links != member.now.links) {
            concerned.insert(member.peer.clone());
        }
        let (gone, new) = self.elements(&gone, &new);
        self.mark()?;
        self.store()?;
        self.apply(&gone, &new)?;
        for peer in concerned {
            hosts::refresh(&self.paths, &peer.name).map_err(|source| PolicyError::Hosts { name: peer.name, source })?;
        }
        let mark = self.paths.network_change_mark();
        match fs::remove_file(&mark) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StateError::Write { path: mark, source }.into())
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, name: &ContainerName) -> Result<&mut Member, PolicyError> {
        if !self.members.contains_key(name) {
            let (settings, reservation) = find(&self.paths, name)?;
            let reservation = reservation.ok_or_else(|| ReservationError::Unknown { name: name.clone() })?;
            let before = NetworkPolicy::load(&self.paths, name)?;
            let member = Member {
                peer: Peer::of(&reservation),
                addresses: settings.addresses(reservation.ip),
                now: before.clone(),
                before,
                attachment: activity::attachment(&self.paths, name),
            };
            self.members.insert(name.clone(), member);
        }
        self.members.get_mut(name).ok_or_else(|| ReservationError::Unknown { name: name.clone() }.into())
    }

    /// As a rule names it; none if it is there no more.
    fn open_peer(&mut self, peer: &Peer) -> Result<Option<&mut Member>, PolicyError> {
        match self.open(&peer.name) {
            Ok(member) if member.peer == *peer => Ok(Some(member)),
            Ok(_) | Err(PolicyError::Reservation(ReservationError::Unknown { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets each container know in whose rules it is named.
    fn note_mentions(&mut self) -> Result<(), PolicyError> {
        let mentions: Vec<_> = self
            .members
            .values()
            .map(|member| (member.peer.clone(), member.before.named(), member.now.named()))
            .filter(|(_, before, now)| before != now)
            .collect();
        for (owner, before, now) in mentions {
            let renamed = self.renamed.clone();
            for peer in now.difference(&before).filter(|peer| renamed.as_ref() != Some(*peer)) {
                if let Some(member) = self.open_peer(peer)? {
                    member.now.named_by.insert(owner.clone());
                }
            }
            for peer in before.difference(&now) {
                if let Some(member) = self.open_peer(peer)? {
                    member.now.named_by.remove(&owner);
                }
            }
        }
        Ok(())
    }

    /// What is granted no more, and what anew. Both ends of a connection are known here then: the other one's rules may
    /// grant it, too.
    fn open_all_concerned(&mut self) -> Result<(BTreeSet<Grant>, BTreeSet<Grant>), PolicyError> {
        let peers: BTreeSet<Peer> = {
            let (gone, new) = self.difference();
            gone.iter().chain(&new).flat_map(Grant::peers).cloned().collect()
        };
        for peer in &peers {
            self.open_peer(peer)?;
        }
        Ok(self.difference())
    }

    fn difference(&self) -> (BTreeSet<Grant>, BTreeSet<Grant>) {
        let all = |policy: fn(&Member) -> &NetworkPolicy| -> BTreeSet<Grant> {
            let of_one = |member: &Member| grants(&member.peer, policy(member), member.attachment.as_ref());
            self.members.values().flat_map(of_one).collect()
        };
        let (before, now) = (all(|member| &member.before), all(|member| &member.now));
        // A container with another address has all its grants anew.
        let has_moved = |grant: &&Grant| grant.peers().any(|peer| self.moved.contains_key(peer));
        let moved = |grants: &BTreeSet<Grant>| grants.iter().filter(has_moved).cloned().collect::<BTreeSet<_>>();
        (&(&before - &now) | &moved(&before), &(&now - &before) | &moved(&now))
    }

    fn elements(&self, gone: &BTreeSet<Grant>, new: &BTreeSet<Grant>) -> (BTreeSet<Element>, BTreeSet<Element>) {
        let now = |peer: &Peer| {
            self.members.get(&peer.name).filter(|member| member.peer == *peer).map(|member| member.addresses)
        };
        let before = |peer: &Peer| self.moved.get(peer).copied().or_else(|| now(peer));
        let gone: BTreeSet<_> = gone.iter().flat_map(|grant| grant.elements(&before)).collect();
        let new: BTreeSet<_> = new.iter().flat_map(|grant| grant.elements(&now)).collect();
        // Two grants of one container may have an element in common: two ports of the host that are the same one inside.
        let mut kept = BTreeSet::new();
        if gone.iter().any(|element| element.set == Set::Target) {
            let all = self.members.values();
            let grants = all.flat_map(|member| grants(&member.peer, &member.now, member.attachment.as_ref()));
            let published = grants.filter(|grant| matches!(grant, Grant::Publish(..)));
            kept.extend(published.flat_map(|grant| grant.elements(&now)));
        }
        (&(&gone - &new) - &kept, new)
    }

    fn store(&self) -> Result<(), PolicyError> {
        let mut changed: Vec<_> = self.members.values().filter(|member| member.before != member.now).collect();
        changed.sort_by_key(|member| {
            !member.before.named_by.is_subset(&member.now.named_by) || member.before.named_by == member.now.named_by
        });
        for member in changed {
            let name = &member.peer.name;
            let is_ephemeral = self.paths.tmp_overlays().join(name.as_str()).exists();
            let durability = if is_ephemeral { Durability::Volatile } else { Durability::Durable };
            member.now.store(&self.paths, name, durability)?;
        }
        Ok(())
    }

    fn apply(&self, gone: &BTreeSet<Element>, new: &BTreeSet<Element>) -> Result<(), PolicyError> {
        // Where nothing was set up since the host's boot, the next start does, with these rules.
        if self.paths.network_record().exists() {
            let is_whole = self.mark == Mark::Made && HostNetwork::find_beside_change(&self.paths)?.is_some();
            let is_nothing = gone.is_empty() && new.is_empty();
            if !is_whole || (!is_nothing && firewall::change(&self.paths, gone, new).is_err()) {
                let reservations = Reservations::read(&self.paths)?;
                HostNetwork::load(&self.paths, self.lock, reservations.settings())?;
            }
        }
        Ok(())
    }
}
