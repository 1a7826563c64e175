//! The directory that an archive is extracted into. The kernel resolves every name below it (openat2(2)): no `..`, no
//! symbolic link and no race leads out of it.

use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid, openat2},
    io::Errno,
};

/// The mode of directories that are not in the archive.
const NEW_DIRECTORY: Mode = Mode::from_raw_mode(0o755);

/// How often a name is tried that others rename meanwhile: the kernel says EAGAIN then.
const TRIES: usize = 64;

/// Why a name can't be resolved.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("cannot enter {path} to extract into it: {source}")]
    Open { path: String, source: Errno },
    #[error("{member}: its name has .., which would lead out of the directory")]
    Parent { member: String },
    #[error("{member}: a symbolic link on its way leads out of the directory")]
    LeadsOut { member: String },
    #[error("{member}: a symbolic link on its way is not followed")]
    Link { member: String },
    #[error("{member}: {step}: {source}")]
    Step { member: String, step: &'static str, source: Errno },
    #[error("the kernel or the container's seccomp policy has no openat2, which extracting needs")]
    NoOpenat2,
}

/// A member's name as a path below the place: no `/` at its beginning, no `.`, no `..`; empty for the place itself.
pub(super) fn relative(name: &[u8]) -> Result<PathBuf, PlaceError> {
    let mut path = PathBuf::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(PlaceError::Parent { member: name.escape_ascii().to_string() }),
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Ok(path)
}

/// An open directory that names are resolved below.
pub(super) struct Place {
    root: Rc<OwnedFd>,
    resolve: ResolveFlags,
    /// The directory of the last member, for the next one is often in it too.
    last: Option<(PathBuf, Rc<OwnedFd>)>,
}

impl Place {
    /// Opens an absolute path, making what is missing of it; its last part, if made, belongs to `owner`.
    pub(super) fn open(path: &Path, owner: Option<(u32, u32)>) -> Result<Self, PlaceError> {
        let error = |source| PlaceError::Open { path: path.display().to_string(), source };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut whole = Self::whole().map_err(error)?;
        let below = relative(path.as_os_str().as_bytes())?;
        if below.as_os_str().is_empty() {
            return Ok(whole);
        }
        let is_missing = whole.try_open(&below, flags).is_err();
        let directory = whole.directory(&below, NEW_DIRECTORY).map_err(|source| PlaceError::with_path(path, source))?;
        if let (true, Some((uid, gid))) = (is_missing, owner) {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(&directory, "", uid, gid, AtFlags::EMPTY_PATH).map_err(error)?;
        }
        Ok(Self::below(directory))
    }

    /// Opens an absolute path that is there.
    pub(super) fn existing(path: &Path) -> Result<Self, Errno> {
        let whole = Self::whole()?;
        let directory = whole.try_open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        let is_whole = same_file(&directory, &whole.root)?;
        Ok(if is_whole { whole } else { Self::below(Rc::new(directory)) })
    }

    /// `/`: absolute links stay below it whatever they say.
    fn whole() -> Result<Self, Errno> {
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root: Rc::new(root), resolve: ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS, last: None })
    }

    fn below(root: Rc<OwnedFd>) -> Self {
        Self { root, resolve: ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS, last: None }
    }

    /// From now on this process has nothing but the place for its `/`, and no link in it is followed.
    pub(super) fn confine(&mut self) -> Result<(), Errno> {
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(".")?;
        self.resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        Ok(())
    }

    /// The directory that holds `path`, made if it is missing, and the name in it.
    pub(super) fn parent<'a>(&mut self, path: &'a Path) -> Result<(Rc<OwnedFd>, &'a OsStr), PlaceError> {
        let name = path.file_name().unwrap_or_default();
        let parent = path.parent().unwrap_or(Path::new(""));
        if let Some((last, fd)) = &self.last
            && last == parent
        {
            return Ok((Rc::clone(fd), name));
        }
        let fd = self.directory(parent, NEW_DIRECTORY)?;
        self.last = Some((parent.to_owned(), Rc::clone(&fd)));
        Ok((fd, name))
    }

    /// A directory; if it is missing it is made, with this mode, and all above it.
    pub(super) fn directory(&mut self, path: &Path, mode: Mode) -> Result<Rc<OwnedFd>, PlaceError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if path.as_os_str().is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        match self.try_open(path, flags) {
            Ok(fd) => return Ok(Rc::new(fd)),
            Err(Errno::NOENT) => {}
            Err(source) => return Err(PlaceError::new(path, "cannot enter its directory", source)),
        }
        let (parent, name) = self.parent(path)?;
        match rustix::fs::mkdirat(&parent, name, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(source) => return Err(PlaceError::new(path, "cannot make a directory", source)),
        }
        let opened = self.try_open(path, flags);
        opened.map(Rc::new).map_err(|source| PlaceError::new(path, "cannot enter its directory", source))
    }

    /// Opens what is there, symbolic links below the place followed.
    pub(super) fn open_existing(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, PlaceError> {
        self.try_open(path, flags | OFlags::CLOEXEC).map_err(|source| PlaceError::new(path, "cannot open it", source))
    }

    /// `path` is something else now: what was opened through it may be stale.
    pub(super) fn replaced(&mut self, path: &Path) {
        if self.last.as_ref().is_some_and(|(last, _)| last.starts_with(path)) {
            self.last = None;
        }
    }

    fn try_open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut result = Err(Errno::AGAIN);
        for _ in 0..TRIES {
            result = openat2(self.root.as_fd(), path, flags, Mode::empty(), self.resolve);
            if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        result
    }
}

fn same_file(one: &OwnedFd, other: &OwnedFd) -> Result<bool, Errno> {
    let [one, other] = [rustix::fs::fstat(one)?, rustix::fs::fstat(other)?];
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

impl PlaceError {
    /// The error of a step on the way to a member.
    pub(super) fn new(member: &Path, step: &'static str, source: Errno) -> Self {
        let member = member.as_os_str().as_bytes().escape_ascii().to_string();
        match source {
            Errno::NOSYS => Self::NoOpenat2,
            Errno::XDEV => Self::LeadsOut { member },
            Errno::LOOP => Self::Link { member },
            source => Self::Step { member, step, source },
        }
    }

    fn with_path(path: &Path, error: Self) -> Self {
        match error {
            Self::Step { source, .. } => Self::Open { path: path.display().to_string(), source },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_taken_relative_and_never_lead_up() {
        assert_eq!(relative(b"/etc//./passwd").unwrap(), Path::new("etc/passwd"));
        assert_eq!(relative(b"./").unwrap(), Path::new(""));
        assert_eq!(relative(b"a/...").unwrap(), Path::new("a/..."));
        for bad in [&b".."[..], b"../a", b"a/../b", b"a/..", b"/.."] {
            assert!(relative(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn no_link_leads_out_and_those_that_stay_inside_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("inside");
        fs::create_dir_all(inside.join("real")).unwrap();
        fs::create_dir(directory.path().join("outside")).unwrap();
        for (target, link) in
            [("/etc", "absolute"), ("../outside", "up"), ("real", "fine"), ("/proc/self/root", "magic")]
        {
            std::os::unix::fs::symlink(target, inside.join(link)).unwrap();
        }
        let mut place = Place::open(&inside, None).unwrap();
        for bad in ["absolute/a", "up/a", "magic/a", "fine/../../outside/a"] {
            assert!(matches!(place.parent(Path::new(bad)), Err(PlaceError::LeadsOut { .. })), "{bad}");
        }
        place.parent(Path::new("fine/new/a")).unwrap();
        assert!(inside.join("real/new").is_dir());
    }

    proptest! {
        #[test]
        fn no_name_leads_up(name: Vec<u8>) {
            if let Ok(path) = relative(&name) {
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
