//! Gives a running container its secrets: the work of a process of its own, which ends with it.

use std::{
    fs::File,
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use appcontainers_sys::{
    inside::{Inside, Kind, Which},
    tree::DetachedMount,
};
use rustix::process::Pid;
use serde_json::Value;

use super::{
    SECRETS_DIRECTORY, SecretError, SecretGrant,
    error::failed,
    key::Key,
    owner,
    place::{Delivered, DeliveredSecret, Place},
    store,
};
use crate::{
    ContainerName, InsidePath, Paths, event,
    network::{IdRange, Reservations},
    record::ContainerRecord,
    runtime::{StartRecord, Status},
};

/// What has to be done in the container's own namespaces.
#[derive(Debug, Default)]
struct Changes {
    /// What of the host's is shown where.
    attach: Vec<(PathBuf, Kind, InsidePath)>,
    detach: Vec<InsidePath>,
}

/// Makes the secrets that a running container has into those that it is given. Nothing is done for one that does not run.
/// The caller's memory has had secrets in it.
pub fn deliver(paths: &Paths, name: &ContainerName) -> Result<(), SecretError> {
    let Some(record) = ContainerRecord::load(paths, name)? else { return Ok(()) };
    let place = match Place::find(paths, name)? {
        Some(place) => place,
        None if record.settings.secrets.is_empty() => return Ok(()),
        None => Place::make(paths, name)?,
    };
    let _alone = place.lock()?;
    // Read again: whoever had the place before may have changed it.
    let Some(record) = ContainerRecord::load(paths, name)? else { return Ok(()) };
    let start = StartRecord::load(paths, name)?.filter(|start| start.status() == Status::Running);
    let Some(init) = start.and_then(|start| start.init?.pid()) else { return Ok(()) };
    let range = Reservations::read(paths)?.get(name).and_then(|reservation| reservation.id_range);
    place.lay_out(range)?;
    let before = place.delivered();
    let (after, changed) = write(paths, &record, &place, range, init, &before)?;
    let changes = changes(&place, &before, &after, &changed);
    if !changes.attach.is_empty() || !changes.detach.is_empty() {
        let inside = Inside::of(init, range.is_some());
        let of_process = failed("enter the namespaces of", format!("/proc/{}", init.as_raw_nonzero()));
        change(name, &inside.map_err(of_process)?, &changes, place.device()?)?;
    }
    for gone in taken_away(&before, &after) {
        // Unless another one is there now.
        if !after.secrets.iter().any(|one| place.file(&one.grant) == place.file(gone)) {
            place.remove(gone)?;
        }
    }
    if after != before {
        place.note(&after)?;
    }
    for one in &changed {
        if before.secrets.iter().any(|old| old.grant == *one) {
            event::note(paths, name, "secret-rotate", &[("secret", Value::from(one.name.as_str()))]);
        }
    }
    Ok(())
}

/// Writes what is missing or has another value. Returns what is there then, and what was written.
fn write(
    paths: &Paths,
    record: &ContainerRecord,
    place: &Place,
    range: Option<IdRange>,
    init: Pid,
    before: &Delivered,
) -> Result<(Delivered, Vec<SecretGrant>), SecretError> {
    let root = format!("/proc/{}/root", init.as_raw_nonzero());
    let (mut after, mut changed) = (Delivered::default(), Vec::new());
    let mut key = None;
    for grant in &record.settings.secrets {
        // Before it is read: one that changes meanwhile is given again.
        let stamp = store::stamp(paths, &grant.name)?;
        let one = DeliveredSecret { grant: grant.clone(), stamp };
        if !before.secrets.contains(&one) {
            let key = match &key {
                Some(key) => key,
                None => key.insert(Key::read(paths)?),
            };
            let owner = owner::resolve(&record.name, grant, range, Path::new(&root))?;
            let value = store::reveal(paths, &grant.name, key)?;
            place.put(grant, owner, &value)?;
            changed.push(grant.clone());
        }
        after.is_shown |= grant.is_shown();
        after.secrets.push(one);
    }
    Ok((after, changed))
}

fn taken_away<'a>(before: &'a Delivered, after: &Delivered) -> Vec<&'a SecretGrant> {
    let is_gone = |one: &&DeliveredSecret| !after.secrets.iter().any(|new| new.grant.path == one.grant.path);
    before.secrets.iter().filter(is_gone).map(|one| &one.grant).collect()
}

fn changes(place: &Place, before: &Delivered, after: &Delivered, changed: &[SecretGrant]) -> Changes {
    let mut changes = Changes::default();
    if let Ok(directory) = SECRETS_DIRECTORY.parse::<InsidePath>() {
        match (before.is_shown, after.is_shown) {
            (false, true) => changes.attach.push((place.shown(), Kind::Directory, directory)),
            (true, false) => changes.detach.push(directory),
            _ => {}
        }
    }
    for grant in changed.iter().filter(|grant| !grant.is_shown()) {
        changes.attach.push((place.file(grant), Kind::File, grant.path.clone()));
    }
    let gone = taken_away(before, after).into_iter().filter(|grant| !grant.is_shown());
    changes.detach.extend(gone.map(|grant| grant.path.clone()));
    changes
}

fn change(name: &ContainerName, inside: &Inside, changes: &Changes, device: u64) -> Result<(), SecretError> {
    let at = |path: &InsidePath| {
        let (container, path) = (name.clone(), path.clone());
        move |source| SecretError::Attach { container, path, source }
    };
    for (source, kind, path) in &changes.attach {
        let tree = data(source).map_err(failed("copy the mount of", source))?;
        let attached = inside.replace(&tree, *kind, path.as_path(), source);
        attached.map_err(|failure| at(path)(failure.source))?;
    }
    for path in &changes.detach {
        let detached = inside.detach(path.as_path(), Which::FileSystem(device));
        detached.map_err(|failure| at(path)(failure.source))?;
    }
    Ok(())
}

fn data(source: &Path) -> io::Result<DetachedMount> {
    let tree = DetachedMount::of(File::open(source)?.as_fd())?;
    tree.restrict_to_reading()?;
    Ok(tree)
}
