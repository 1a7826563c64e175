//! The names that a container knows: in its `/etc/hosts`, which is a file of the host's run directory, shown over the image's.
//! No name of a container that it may not connect to is in it.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{Addresses, NetworkPolicy, rule::Peer};
use crate::{
    ContainerName, Hostname, Paths,
    error::chain,
    network::{Reservations, find},
};

/// Beside the shown file: what stands in it before the names of others.
const BASE: &str = "base";

/// Keeps the skeleton's part, and gives all of it.
pub(crate) fn compose(paths: &Paths, name: &ContainerName, shown: &Path, base: &[u8]) -> io::Result<Vec<u8>> {
    fs::write(shown.with_extension(BASE), base)?;
    whole(paths, name, base.to_vec())
}

/// Puts another skeleton's part into the file that a running container sees.
pub(crate) fn rebase(paths: &Paths, name: &ContainerName, base: &[u8]) -> io::Result<()> {
    fs::write(path(paths, name).with_extension(BASE), base)?;
    refresh(paths, name)
}

/// Writes the names that a running container knows anew, into the file that it sees; nothing if it does not run.
pub(crate) fn refresh(paths: &Paths, name: &ContainerName) -> io::Result<()> {
    let shown = path(paths, name);
    let base = match fs::read(shown.with_extension(BASE)) {
        Ok(base) => base,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut text = whole(paths, name, base)?;
    // A new file in its place would not be the one that is shown. In one write, as long as what was there at least: who
    // reads meanwhile sees whole lines.
    let file = File::options().write(true).open(&shown)?;
    let length = text.len();
    text.resize(length.max(file.metadata()?.len() as usize), b'\n');
    file.write_all_at(&text, 0)?;
    file.set_len(length as u64)
}

/// [`refresh`] for all containers. One whose names can't be told keeps those that it knows.
pub(in crate::network) fn refresh_all(paths: &Paths, reservations: &Reservations) {
    for one in reservations.list() {
        if let Err(error) = refresh(paths, &one.name) {
            tracing::warn!(name = %one.name, error = %chain(&error), "cannot write the names that a container knows");
        }
    }
}

/// Where the file that a container sees is on the host.
pub(crate) fn path(paths: &Paths, name: &ContainerName) -> PathBuf {
    paths.container_run(name).join("skeleton/hosts")
}

fn whole(paths: &Paths, name: &ContainerName, mut text: Vec<u8>) -> io::Result<Vec<u8>> {
    let names = names(paths, name).map_err(io::Error::other)?;
    if !names.is_empty() {
        text.extend_from_slice(b"# Links, and containers that this one may connect to:\n");
        text.extend_from_slice(names.as_bytes());
    }
    Ok(text)
}

fn names(paths: &Paths, name: &ContainerName) -> Result<String, super::PolicyError> {
    let policy = NetworkPolicy::load(paths, name)?;
    let Some(own) = find(paths, name)?.1 else { return Ok(String::new()) };
    let own = Peer::of(&own);
    let mut text = String::new();
    for (service, link) in &policy.links {
        if let Some(addresses) = addresses(paths, &link.provider)? {
            push(&mut text, addresses, service.as_str());
        }
    }
    let mut reachable: Vec<&Peer> = policy.links.values().map(|link| &link.provider).collect();
    for other in &policy.named_by {
        let allowed = NetworkPolicy::load(paths, &other.name)?.allow;
        if allowed.iter().any(|allow| allow.from.container() == Some(&own)) {
            reachable.push(other);
        }
    }
    reachable.sort();
    reachable.dedup();
    for peer in reachable {
        let Some(addresses) = addresses(paths, peer)? else { continue };
        push(&mut text, addresses, peer.name.as_str());
        let hostname = Hostname::of(&peer.name);
        if hostname.as_str() != peer.name.as_str() {
            push(&mut text, addresses, hostname.as_str());
        }
    }
    Ok(text)
}

fn addresses(paths: &Paths, peer: &Peer) -> Result<Option<Addresses>, super::PolicyError> {
    let (settings, reservation) = find(paths, &peer.name)?;
    Ok(reservation.filter(|one| one.mac == peer.mac).map(|one| settings.addresses(one.ip)))
}

fn push(text: &mut String, addresses: Addresses, name: &str) {
    for address in addresses.all() {
        let _ = writeln!(text, "{address}\t{name}");
    }
}
