//! Mounts into the mount namespace of processes that run: a container's; and reading a file there.
//!
//! A child that is forked for it enters the namespaces, for a process with threads can't. Until it ends it makes system
//! calls and nothing else: in a forked child of a program with threads, a lock of the C library may be held for ever.
//!
//! ```text
//! parent: opens the namespaces and the container's root      child: a mount namespace of its own -> the mount, its flags
//!         waits, reads what came of it                              locked -> the container's -> the target -> attached
//! ```
//! Names below the container's root are looked up one by one, and no symbolic link on the way is followed: what the container's
//! processes change meanwhile leads nowhere else.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags},
    io::Errno,
    mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags},
    pipe::PipeFlags,
    process::{Pid, WaitOptions},
    thread::{LinkNameSpaceType, UnshareFlags},
};

use crate::tree::DetachedMount;

const BY_DESCRIPTORS: MoveMountFlags =
    MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH.union(MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH);

/// Since Linux 6.5 (`move_mount(2)`).
const MOVE_MOUNT_BENEATH: u32 = 0x200;

/// The namespaces and the root of a process that runs.
#[derive(Debug)]
pub struct Inside {
    mounts: OwnedFd,
    users: Option<OwnedFd>,
    root: OwnedFd,
}

/// What is mounted, and so what its mount point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// Which mount is meant, of those that may be at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one with this number (`statx(2)`, `STATX_MNT_ID`).
    Mount(u64),
    /// All that are on top there and show the file system with this number (`st_dev`).
    FileSystem(u64),
}

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A child, its pipe, or what it needs could not be made.
    Prepare,
    /// Locking the flags of the mount.
    Lock,
    /// Entering the namespaces.
    Enter,
    /// Looking a name on the way up, or making it; the position of that name on the way.
    Name(usize),
    /// Attaching it.
    Attach,
    /// Unmounting it.
    Detach,
}

/// A step that failed.
#[derive(Debug)]
pub struct Failure {
    /// Which one.
    pub step: Step,
    /// What the kernel said.
    pub source: io::Error,
}

type Outcome = Result<u64, (Step, Errno)>;

impl Inside {
    /// Those of process `pid`, which the caller knows to be the one that it means. With `is_mapped`, it has a user namespace
    /// of its own.
    pub fn of(pid: Pid, is_mapped: bool) -> io::Result<Self> {
        let open = |what: &str, flags| {
            let path = format!("/proc/{}/{what}", pid.as_raw_nonzero());
            rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
        };
        Ok(Self {
            mounts: open("ns/mnt", OFlags::RDONLY)?,
            users: if is_mapped { Some(open("ns/user", OFlags::RDONLY)?) } else { None },
            root: open("root", OFlags::PATH | OFlags::DIRECTORY)?,
        })
    }

    /// Its user namespace, if it has one of its own.
    pub fn user_namespace(&self) -> Option<BorrowedFd<'_>> {
        self.users.as_ref().map(AsFd::as_fd)
    }

    /// Attaches `mount` at `target`, an absolute path inside; what is missing of that is made, as the user namespace's root.
    /// Its flags can't be taken away by that root. The number of the mount (`statx(2)`, `STATX_MNT_ID`).
    ///
    /// `lock_at` is a file or directory, as `kind` says, that the caller's mount namespace has: nobody sees anything there.
    pub fn attach(&self, mount: &DetachedMount, kind: Kind, target: &Path, lock_at: &Path) -> Result<u64, Failure> {
        self.attach_by(mount, kind, target, lock_at, put)
    }

    /// As [`Self::attach`]; but where a mount of the same file system is already, this one takes its place: nobody finds
    /// nothing there meanwhile (before Linux 6.5 that one stays beneath).
    pub fn replace(&self, mount: &DetachedMount, kind: Kind, target: &Path, lock_at: &Path) -> Result<u64, Failure> {
        self.attach_by(mount, kind, target, lock_at, put_in_place)
    }

    fn attach_by(
        &self,
        mount: &DetachedMount,
        kind: Kind,
        target: &Path,
        lock_at: &Path,
        put: fn(BorrowedFd<'_>, &End<'_>) -> Result<(), Errno>,
    ) -> Result<u64, Failure> {
        let names = names(target).map_err(prepare)?;
        let lock_at = CString::new(lock_at.as_os_str().as_bytes()).map_err(|_| prepare(Errno::INVAL.into()))?;
        in_child(|| {
            let locked = self.lock_flags(mount, &lock_at).map_err(|errno| (Step::Lock, errno))?;
            let mount = locked.as_ref().map_or(mount.as_fd(), AsFd::as_fd);
            self.enter().map_err(|errno| (Step::Enter, errno))?;
            let end = self.reach(&names, kind)?;
            put(mount, &end).and_then(|()| mount_id(mount)).map_err(|errno| (Step::Attach, errno))
        })
    }

    /// Unmounts the mounts that are meant at `target`, as soon as nothing uses them any more. False if what is there is another
    /// one, or none.
    pub fn detach(&self, target: &Path, which: Which) -> Result<bool, Failure> {
        let names = names(target).map_err(prepare)?;
        let Some((last, way)) = names.split_last() else { return Err(prepare(Errno::INVAL.into())) };
        let done = in_child(|| {
            self.enter_mounts().map_err(|errno| (Step::Enter, errno))?;
            let mut directory = duplicate(self.root.as_fd()).map_err(|errno| (Step::Enter, errno))?;
            for (position, name) in way.iter().enumerate() {
                match look_up(directory.as_fd(), name, OFlags::DIRECTORY) {
                    Ok(next) => directory = next,
                    Err(Errno::NOENT) => return Ok(0),
                    Err(errno) => return Err((Step::Name(position), errno)),
                }
            }
            for done in 0.. {
                let there = look_up(directory.as_fd(), last, OFlags::empty());
                match there.and_then(|there| is_meant(there.as_fd(), which)) {
                    Ok(true) => {}
                    Ok(false) | Err(Errno::NOENT) => return Ok(done),
                    Err(errno) => return Err((Step::Name(way.len()), errno)),
                }
                unmount(directory.as_fd(), last).map_err(|errno| (Step::Detach, errno))?;
            }
            Ok(0)
        })?;
        Ok(done != 0)
    }

    /// The same mount, with flags that only who may do anything on this host can take away. The kernel locks them where a
    /// namespace of mounts is made for a user namespace (`mount_namespaces(7)`), so that is done: nothing without one.
    fn lock_flags(&self, mount: &DetachedMount, at: &CStr) -> Result<Option<OwnedFd>, Errno> {
        let Some(users) = &self.users else { return Ok(None) };
        enter_namespace_of_own()?;
        rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(mount, c"", CWD, at, flags)?;
        rustix::thread::move_into_link_name_space(users.as_fd(), Some(LinkNameSpaceType::User))?;
        enter_namespace_of_own()?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        rustix::mount::open_tree(CWD, at, flags).map(Some)
    }

    /// Becomes the container's root among its mounts.
    fn enter(&self) -> Result<(), Errno> {
        self.enter_mounts()?;
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        if self.users.is_none() {
            return Ok(());
        }
        let (user, group) = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)
    }

    fn enter_mounts(&self) -> Result<(), Errno> {
        rustix::thread::move_into_link_name_space(self.mounts.as_fd(), Some(LinkNameSpaceType::Mount))
    }

    /// The end of the way, made where it is missing.
    fn reach<'a>(&self, names: &'a [CString], kind: Kind) -> Result<End<'a>, (Step, Errno)> {
        let root = || duplicate(self.root.as_fd()).map_err(|errno| (Step::Enter, errno));
        let mut end = End { directory: root()?, name: c".", there: root()? };
        for (position, name) in names.iter().enumerate() {
            let is_last = position + 1 == names.len();
            let flags = if is_last && kind == Kind::File { OFlags::empty() } else { OFlags::DIRECTORY };
            let next = match look_up(end.there.as_fd(), name, flags) {
                Err(Errno::NOENT) => {
                    let made = if flags.is_empty() {
                        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                        rustix::fs::openat(&end.there, name, flags, Mode::from_raw_mode(0o644)).map(drop)
                    } else {
                        rustix::fs::mkdirat(&end.there, name, Mode::from_raw_mode(0o755))
                    };
                    match made {
                        // Somebody in there was faster: what it is will be seen.
                        Ok(()) | Err(Errno::EXIST) => look_up(end.there.as_fd(), name, flags),
                        Err(errno) => Err(errno),
                    }
                }
                found => found,
            };
            // What is mounted on a directory must be one.
            let next = next.and_then(|next| match flags.is_empty() && is_directory(next.as_fd())? {
                true => Err(Errno::NOTDIR),
                false => Ok(next),
            });
            let there = next.map_err(|errno| (Step::Name(position), errno))?;
            end = End { directory: end.there, name, there };
        }
        Ok(end)
    }
}

fn prepare(source: io::Error) -> Failure {
    Failure { step: Step::Prepare, source }
}

/// The names of an absolute path that has no `..`, at least one.
fn names(target: &Path) -> io::Result<Vec<CString>> {
    let invalid = || io::Error::from(Errno::INVAL);
    let mut components = target.components();
    if components.next() != Some(Component::RootDir) {
        return Err(invalid());
    }
    let names = components.map(|component| match component {
        Component::Normal(name) => CString::new(name.as_bytes()).map_err(|_| invalid()),
        _ => Err(invalid()),
    });
    let names = names.collect::<io::Result<Vec<_>>>()?;
    if names.is_empty() { Err(invalid()) } else { Ok(names) }
}

/// One name in a directory; ELOOP for a symbolic link.
fn look_up(directory: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(directory, name, flags | OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // Something was renamed meanwhile (openat2(2)).
            Err(Errno::AGAIN) => {}
            opened => return opened,
        }
    }
}

/// The end of a way: what is there, its name, and the directory that it is in.
struct End<'a> {
    directory: OwnedFd,
    name: &'a CStr,
    there: OwnedFd,
}

fn put(mount: BorrowedFd<'_>, end: &End<'_>) -> Result<(), Errno> {
    rustix::mount::move_mount(mount, c"", &end.there, c"", BY_DESCRIPTORS)
}

fn put_in_place(mount: BorrowedFd<'_>, end: &End<'_>) -> Result<(), Errno> {
    if is_meant(end.there.as_fd(), Which::FileSystem(device(mount)?))? {
        let beneath = MoveMountFlags::from_bits_retain(BY_DESCRIPTORS.bits() | MOVE_MOUNT_BENEATH);
        match rustix::mount::move_mount(mount, c"", &end.there, c"", beneath) {
            Ok(()) => return unmount(end.directory.as_fd(), end.name),
            Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    put(mount, end)
}

/// Whether the mount that is on top there is meant.
fn is_meant(there: BorrowedFd<'_>, which: Which) -> Result<bool, Errno> {
    match which {
        Which::Mount(id) => Ok(mount_id(there)? == id),
        Which::FileSystem(number) => Ok(device(there)? == number),
    }
}

fn unmount(directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    rustix::process::fchdir(directory)?;
    rustix::mount::unmount(name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
}

/// The number of the file system that a file is on.
fn device(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    rustix::fs::fstat(fd).map(|status| status.st_dev)
}

fn is_directory(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    rustix::fs::fstat(fd).map(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 0)
}

fn mount_id(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|status| status.stx_mnt_id)
}

fn enter_namespace_of_own() -> Result<(), Errno> {
    // SAFETY: the child that calls this shares no descriptors and no directories with anybody.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
}

/// Runs `body` in a forked child: it makes system calls alone and takes no memory.
fn in_child(body: impl FnOnce() -> Outcome) -> Result<u64, Failure> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| prepare(errno.into()))?;
    // SAFETY: the child runs `body`, which the callers above hold to system calls (no allocation, no lock), writes a pipe
    // and leaves through `_exit`: it never returns to the caller's frames.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(prepare(io::Error::last_os_error())),
        0 => {
            let _ = rustix::io::write(&write, &encode(body()));
            // SAFETY: `_exit` takes a number and does not return.
            unsafe { libc::_exit(0) }
        }
        pid => pid,
    };
    drop(write);
    let mut said = [0; 24];
    let received = File::from(read).read_exact(&mut said);
    if let Some(pid) = Pid::from_raw(pid) {
        while matches!(rustix::process::waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
    }
    received.map_err(|_| prepare(io::Error::other("the process that was forked for it died")))?;
    decode(&said).map_err(|(step, errno)| Failure { step, source: errno.into() })
}

fn encode(outcome: Outcome) -> [u8; 24] {
    let [step, code, value] = match outcome {
        Ok(value) => [0, 0, value],
        Err((step, errno)) => {
            let (step, value) = match step {
                Step::Prepare => (1, 0),
                Step::Lock => (2, 0),
                Step::Enter => (3, 0),
                Step::Name(position) => (4, position as u64),
                Step::Attach => (5, 0),
                Step::Detach => (6, 0),
            };
            [step, errno.raw_os_error() as u64, value]
        }
    };
    let mut bytes = [0; 24];
    for (place, word) in bytes.chunks_exact_mut(8).zip([step, code, value]) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn decode(bytes: &[u8; 24]) -> Outcome {
    let mut words = [0; 3];
    for (word, place) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_ne_bytes(place.try_into().unwrap_or_default());
    }
    let [step, code, value] = words;
    let step = match step {
        0 => return Ok(value),
        2 => Step::Lock,
        3 => Step::Enter,
        4 => Step::Name(value as usize),
        5 => Step::Attach,
        6 => Step::Detach,
        _ => Step::Prepare,
    };
    Err((step, Errno::from_raw_os_error(code as i32)))
}

/// A file of another root, read whole: at most `most` bytes, of a regular file on that root's own file system. Symbolic links
/// are followed within that root. None if it is not there.
pub fn read_in_root(root: &Path, path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve) {
        Err(Errno::NOENT) => return Ok(None),
        opened => File::from(opened?),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_says_is_what_its_parent_hears() {
        for outcome in [Ok(7), Err((Step::Name(3), Errno::LOOP)), Err((Step::Attach, Errno::INVAL))] {
            assert_eq!(decode(&encode(outcome)), outcome);
        }
        assert_eq!(in_child(|| Ok(9)).unwrap(), 9);
        let failed = in_child(|| Err((Step::Name(1), Errno::LOOP))).unwrap_err();
        assert_eq!((failed.step, failed.source.raw_os_error()), (Step::Name(1), Some(libc::ELOOP)));
    }

    #[test]
    fn a_way_that_leads_up_or_nowhere_is_none() {
        for bad in ["", "/", "a", "/a/../b", "/a\0b"] {
            assert!(names(Path::new(bad)).is_err(), "{bad:?}");
        }
        assert_eq!(names(Path::new("/a//b/")).unwrap(), [c"a".to_owned(), c"b".to_owned()]);
    }
}
