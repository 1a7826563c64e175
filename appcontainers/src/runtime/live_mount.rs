//! Mounts into a container that runs, and out of it: when it starts, before anything of its own runs, and later.
//!
//! What is mounted is noted ([`RunningMounts`]), a mount before it is made (without its number): if the command is
//! killed in between, the next one sees that.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use appcontainers_sys::{
    inside::{Failure, Inside, Kind, Step, Which},
    tree::DetachedMount,
};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags},
    io::Errno,
};

use super::{
    ProcessIdentity, StartRecord,
    running_mounts::{RunningMount, RunningMounts},
};
use crate::{
    ContainerName, Paths,
    mounts::{Mount, MountError, MountPath, MountSource},
    state::StateError,
    volume::{self, VolumeHold},
};

/// What is about to be mounted: opened, so that it is there, and what is in its place later does not matter.
#[derive(Debug)]
pub struct PreparedMount {
    mount: Mount,
    opened: OwnedFd,
    /// A sized volume's file system is a mount of its own already.
    of_volume: Option<DetachedMount>,
    /// Nobody rolls the volume back, or removes it, meanwhile.
    _hold: Option<VolumeHold>,
}

impl PreparedMount {
    /// Opens what is mounted.
    pub(crate) fn open(paths: &Paths, name: &ContainerName, mount: &Mount) -> Result<Self, MountError> {
        let failed = |source| MountError::Source {
            name: name.clone(),
            source_shown: mount.source.clone(),
            path: mount.path.clone(),
            source,
        };
        let (opened, of_volume, hold) = match &mount.source {
            MountSource::Bind(path) => (open_real(path).map_err(failed)?, None, None),
            MountSource::Volume(volume) => {
                let hold = VolumeHold::shared(paths, volume).map_err(failed)?;
                let (opened, tree) = volume::open_data(paths, volume).map_err(failed)?;
                (opened, tree, Some(hold))
            }
        };
        Ok(Self { mount: mount.clone(), opened, of_volume, _hold: hold })
    }

    fn kind(&self) -> io::Result<Kind> {
        let status = rustix::fs::fstat(&self.opened)?;
        let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        Ok(if is_directory { Kind::Directory } else { Kind::File })
    }

    /// Mounts it; the kernel's number of the mount.
    fn attach(self, container: &Target<'_>) -> Result<u64, MountError> {
        let mount = &self.mount;
        let failed = |step: &str, source| MountError::Attach {
            name: container.name.clone(),
            path: mount.path.clone(),
            step: step.to_owned(),
            source,
        };
        let kind = self.kind().map_err(|source| failed("look at what is mounted", source))?;
        let tree = match self.of_volume {
            Some(tree) => tree,
            None => DetachedMount::of(self.opened.as_fd()).map_err(|source| failed("take what is mounted", source))?,
        };
        let users = container.inside.user_namespace();
        tree.restrict(mount.read_only, users).map_err(|source| match source.raw_os_error() {
            Some(code) if users.is_some() && [Errno::INVAL, Errno::PERM].contains(&Errno::from_raw_os_error(code)) => {
                MountError::NotMapped {
                    name: container.name.clone(),
                    source_shown: mount.source.clone(),
                    file_system: file_system(&self.opened),
                }
            }
            _ => failed("set the flags of the mount", source),
        })?;
        let lock_at = match kind {
            Kind::Directory => container.directory.to_owned(),
            Kind::File => container.directory.join(LOCK_FILE),
        };
        let attached = container.inside.attach(&tree, kind, mount.path.as_path(), &lock_at);
        attached.map_err(|failure| explain(container.name, mount, failure))
    }
}

/// A file in a container's run directory, for [`Inside::attach`].
const LOCK_FILE: &str = "mounting";

/// A container into which something is mounted.
struct Target<'a> {
    name: &'a ContainerName,
    directory: PathBuf,
    inside: Inside,
}

impl<'a> Target<'a> {
    fn of(paths: &Paths, name: &'a ContainerName, start: &StartRecord, is_mapped: bool) -> Result<Self, MountError> {
        let ended = || MountError::Ended { name: name.clone() };
        let init = start.init.ok_or_else(ended)?;
        let pid = init.pid().ok_or_else(ended)?;
        let inside = Inside::of(pid, is_mapped).map_err(|_| ended())?;
        // What was opened is that process's: it lived before, and does now.
        if !ProcessIdentity::is_alive(&init) {
            return Err(ended());
        }
        let directory = paths.container_run(name);
        let lock_file = directory.join(LOCK_FILE);
        fs::write(&lock_file, "").map_err(|source| StateError::Write { path: lock_file, source })?;
        Ok(Self { name, directory, inside })
    }
}

/// Mounts all that a container is to have into it, before anything of its own runs.
pub fn mount_all(
    paths: &Paths,
    name: &ContainerName,
    start: &StartRecord,
    is_mapped: bool,
    mut prepared: Vec<PreparedMount>,
) -> Result<(), MountError> {
    if prepared.is_empty() {
        return Ok(());
    }
    let target = Target::of(paths, name, start, is_mapped)?;
    let mut running = RunningMounts::default();
    // What is below another mount comes after that.
    prepared.sort_by_key(|prepared| prepared.mount.path.clone());
    for prepared in prepared {
        let mount = prepared.mount.clone();
        let id = prepared.attach(&target)?;
        let one = RunningMount { source: mount.source, read_only: mount.read_only, id: Some(id) };
        running.mounts.insert(mount.path, one);
    }
    Ok(running.store(paths, name)?)
}

/// Opens all that a container is to have mounted. Others can do nothing with its volumes as long as this is held.
pub fn prepare_mounts(paths: &Paths, name: &ContainerName, mounts: &[Mount]) -> Result<Vec<PreparedMount>, MountError> {
    mounts.iter().map(|mount| PreparedMount::open(paths, name, mount)).collect()
}

/// Makes what is mounted into a running container what it is to have: mounts what is missing, unmounts what is too much. Nothing
/// to do is the rule. The caller has the container's lock.
pub(crate) fn follow(
    paths: &Paths,
    name: &ContainerName,
    start: &StartRecord,
    is_mapped: bool,
    wanted: &[Mount],
) -> Result<(), MountError> {
    let mut running = RunningMounts::load(paths, name)?;
    let is_wanted = |path: &MountPath, one: &RunningMount| {
        wanted.iter().any(|mount| {
            mount.path == *path && mount.source == one.source && mount.read_only == one.read_only && one.id.is_some()
        })
    };
    let too_much: Vec<_> = running.mounts.iter().filter(|(path, one)| !is_wanted(path, one)).collect();
    let too_much: Vec<_> = too_much.into_iter().map(|(path, one)| (path.clone(), one.clone())).collect();
    let missing: Vec<_> = wanted.iter().filter(|mount| !running.mounts.contains_key(&mount.path)).collect();
    if too_much.is_empty() && missing.is_empty() {
        return Ok(());
    }
    // All is opened before anything is changed.
    let mut prepared = prepare_mounts(paths, name, &missing.into_iter().cloned().collect::<Vec<_>>())?;
    let target = Target::of(paths, name, start, is_mapped)?;
    for (path, one) in too_much.into_iter().rev() {
        let id = one.id.or_else(|| found_number(paths, name, start, &path, &one));
        if let Some(id) = id {
            unmount(start, &target, &path, id)?;
        }
        running.mounts.remove(&path);
        running.store(paths, name)?;
        if let Some(mount) = wanted.iter().find(|mount| mount.path == path) {
            prepared.push(PreparedMount::open(paths, name, mount)?);
        }
    }
    prepared.sort_by_key(|prepared| prepared.mount.path.clone());
    for prepared in prepared {
        let mount = prepared.mount.clone();
        let begun = RunningMount { source: mount.source, read_only: mount.read_only, id: None };
        running.mounts.insert(mount.path.clone(), begun.clone());
        running.store(paths, name)?;
        match prepared.attach(&target) {
            Ok(id) => drop(running.mounts.insert(mount.path, RunningMount { id: Some(id), ..begun })),
            Err(error) => {
                running.mounts.remove(&mount.path);
                running.store(paths, name)?;
                return Err(error);
            }
        }
        running.store(paths, name)?;
    }
    Ok(())
}

/// Unmounts one; gone already is fine.
fn unmount(start: &StartRecord, target: &Target<'_>, path: &MountPath, id: u64) -> Result<(), MountError> {
    match target.inside.detach(path.as_path(), Which::Mount(id)) {
        Ok(true) => Ok(()),
        Ok(false) if mounts_of(start).iter().any(|one| one.id == id) => {
            Err(MountError::Covered { name: target.name.clone(), path: path.clone() })
        }
        Ok(false) => Ok(()),
        Err(Failure { source, .. }) => {
            Err(MountError::Detach { name: target.name.clone(), path: path.clone(), source })
        }
    }
}

/// The number of a mount that was begun by a command which was killed: the mount at that place that shows its source.
fn found_number(
    paths: &Paths,
    name: &ContainerName,
    start: &StartRecord,
    path: &MountPath,
    one: &RunningMount,
) -> Option<u64> {
    let mount = Mount { source: one.source.clone(), path: path.clone(), read_only: one.read_only };
    let pid = start.init?.pid;
    let there = PathBuf::from(format!("/proc/{pid}/root")).join(path.as_str().trim_start_matches('/'));
    let flags = StatxFlags::INO | StatxFlags::MNT_ID;
    let found = rustix::fs::statx(CWD, &there, AtFlags::SYMLINK_NOFOLLOW, flags).ok()?;
    let opened = PreparedMount::open(paths, name, &mount).ok()?.opened;
    let shown = rustix::fs::statx(&opened, "", AtFlags::EMPTY_PATH, flags).ok()?;
    let identity = |status: &rustix::fs::Statx| (status.stx_dev_major, status.stx_dev_minor, status.stx_ino);
    let is_mount = mounts_of(start).iter().any(|mount| mount.id == found.stx_mnt_id && mount.place == path.as_str());
    (is_mount && identity(&found) == identity(&shown)).then_some(found.stx_mnt_id)
}

struct Listed {
    id: u64,
    place: String,
}

/// The mounts that a container's init sees (`proc_pid_mountinfo(5)`).
fn mounts_of(start: &StartRecord) -> Vec<Listed> {
    let Some(init) = start.init else { return Vec::new() };
    let text = fs::read(format!("/proc/{}/mountinfo", init.pid)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (id, place) = (words.next()?.parse().ok()?, words.nth(3)?.to_owned());
        Some(Listed { id, place })
    });
    lines.collect()
}

/// Opens a path of the host's that had no symbolic link in it when it was said: one that has now is refused.
fn open_real(path: &Path) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve) {
        Err(Errno::LOOP) => Err(io::Error::other("there is a symbolic link in its path now")),
        opened => Ok(opened?),
    }
}

/// What a file system is called, for messages.
fn file_system(opened: &OwnedFd) -> String {
    let magic = rustix::fs::fstatfs(opened).map_or(0, |status| status.f_type as u64 & 0xffff_ffff);
    let known = match magic {
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x6969 => "nfs",
        0x0102_1997 => "9p",
        0x6573_5546 => "fuse",
        0xff53_4d42 | 0xfe53_4d42 => "cifs",
        0x2fc1_2fc1 => "zfs",
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        _ => return format!("number {magic:#x}"),
    };
    known.to_owned()
}

fn explain(name: &ContainerName, mount: &Mount, failure: Failure) -> MountError {
    let (name, path) = (name.clone(), mount.path.clone());
    let at = |position: usize| {
        let names = path.as_str().split('/').skip(1).take(position + 1);
        names.fold(String::new(), |way, name| way + "/" + name)
    };
    match (failure.step, failure.source.raw_os_error().map(Errno::from_raw_os_error)) {
        (Step::Name(position), Some(Errno::LOOP)) => MountError::Symlink { at: at(position), name, path },
        (Step::Name(position), Some(Errno::NOTDIR)) => {
            MountError::OtherKind { at: at(position), name, what: mount.source.clone(), path }
        }
        (Step::Attach, Some(Errno::NOTDIR)) => {
            MountError::OtherKind { at: path.to_string(), name, what: mount.source.clone(), path }
        }
        (step, _) => {
            let step = match step {
                Step::Prepare => "begin it".to_owned(),
                Step::Lock => "lock the flags of the mount".to_owned(),
                Step::Enter => "enter the container".to_owned(),
                Step::Name(position) => format!("reach or make {}", at(position)),
                Step::Attach | Step::Detach => "attach it".to_owned(),
            };
            MountError::Attach { name, path, step, source: failure.source }
        }
    }
}
