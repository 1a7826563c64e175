//! What a copy takes from beside the app file: which files, and what is in them. Nothing is followed out of the directory.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags, openat2, readlinkat, statx},
    io::Errno,
};

use super::{
    BuildError, Copy,
    hashes::{Hashes, Identity},
    ignore::Ignore,
};
use crate::image::{Digest, Hasher, pack::Walk};

/// All that one copy takes.
#[derive(Debug)]
pub(super) struct Files {
    /// The directory that the items are in.
    root: OwnedFd,
    /// What it is called, for messages.
    shown: PathBuf,
    /// The directory in the image.
    pub(super) into: String,
    /// Each directory before what is in it.
    pub(super) items: Vec<Item>,
}

/// Something that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Where it is below the root.
    source: Vec<u8>,
    /// Where it goes, below `into`.
    pub(super) path: Vec<u8>,
    pub(super) mode: u32,
    pub(super) content: Content,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Directory,
    File { size_bytes: u64, digest: Digest },
    Link(Vec<u8>),
}

impl Files {
    /// Looks for what `copy` takes from `context`, and what is in it.
    pub(super) fn collect(
        context: &Path,
        copy: &Copy,
        ignore: &Ignore,
        hashes: &mut Hashes,
    ) -> Result<Self, BuildError> {
        let shown = context.join(&copy.from);
        let failed = |source: io::Error| BuildError::Source { path: shown.clone(), source };
        let directory = File::open(context).map_err(failed)?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let from = openat2(&directory, copy.from.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
            .map_err(|errno| failed(explained(errno)))?;
        let stat =
            statx(&from, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).map_err(|errno| failed(errno.into()))?;
        match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::Directory => Self::of_directory(from, shown, copy, ignore, hashes),
            FileType::RegularFile => {
                let (into, name) = destination(copy);
                let mut files = Self { root: directory.into(), shown: context.to_owned(), into, items: Vec::new() };
                let source = copy.from.as_bytes().to_vec();
                let digest = hashes.get(Identity::of(&stat), || files.hash(&source))?;
                let mode = mode(copy, stat.stx_mode.into(), false);
                let content = Content::File { size_bytes: stat.stx_size, digest };
                files.items.push(Item { source, path: name, mode, content });
                Ok(files)
            }
            _ => Err(BuildError::Special { path: shown }),
        }
    }

    fn of_directory(
        root: OwnedFd,
        shown: PathBuf,
        copy: &Copy,
        ignore: &Ignore,
        hashes: &mut Hashes,
    ) -> Result<Self, BuildError> {
        let mut files = Self { root, shown, into: copy.to.clone(), items: Vec::new() };
        let failed = |source| BuildError::Walk { path: files.shown.clone(), source };
        // Patterns are for paths from the app file's directory.
        let prefix: Vec<&str> = copy.from.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let root = files.root.try_clone().map_err(|source| BuildError::Source { path: files.shown.clone(), source })?;
        let mut walk = Walk::new(std::os::fd::AsFd::as_fd(&root)).map_err(failed)?;
        let mut items = Vec::new();
        while let Some(found) = walk.next().map_err(failed)? {
            let path = found.path.as_slice();
            if path.is_empty() {
                continue;
            }
            let file_type = found.file_type();
            let is_directory = file_type == FileType::Directory;
            let whole = [prefix.join("/").as_bytes(), path].join(&b"/"[..]);
            if ignore.leaves_out(whole.strip_prefix(b"/").unwrap_or(&whole), is_directory) {
                walk.skip_below(path);
                continue;
            }
            if found.is_foreign && is_directory {
                tracing::warn!("{} is mounted over: what is in it is left out", files.shown(path).display());
            }
            let content = match file_type {
                FileType::Directory => Content::Directory,
                FileType::RegularFile => {
                    let digest = hashes.get(Identity::of(&found.stat), || files.hash(path))?;
                    Content::File { size_bytes: found.stat.stx_size, digest }
                }
                FileType::Symlink => Content::Link(walk.read_link(path).map_err(failed)?),
                _ => return Err(BuildError::Special { path: files.shown(path) }),
            };
            let mode = mode(copy, found.stat.stx_mode.into(), is_directory);
            items.push(Item { source: path.to_owned(), path: path.to_owned(), mode, content });
        }
        files.items = items;
        Ok(files)
    }

    /// Opens a file that was found.
    pub(super) fn open(&self, item: &Item) -> Result<File, BuildError> {
        self.open_path(&item.source)
    }

    pub(super) fn shown(&self, path: &[u8]) -> PathBuf {
        self.shown.join(std::ffi::OsStr::from_bytes(path))
    }

    /// What a link says now.
    pub(super) fn link(&self, item: &Item) -> Result<Vec<u8>, BuildError> {
        let failed = |errno: Errno| BuildError::Source { path: self.shown(&item.source), source: errno.into() };
        let link = readlinkat(&self.root, item.source.as_slice(), Vec::new()).map_err(failed)?;
        Ok(link.into_bytes())
    }

    /// All items as one digest: names, kinds, modes and what is in them.
    pub(super) fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for item in &self.items {
            add(&item.path);
            add(&item.mode.to_le_bytes());
            match &item.content {
                Content::Directory => add(b"directory"),
                Content::File { digest, .. } => {
                    add(b"file");
                    add(digest.as_bytes());
                }
                Content::Link(target) => {
                    add(b"link");
                    add(target);
                }
            }
        }
        hasher.finish()
    }

    fn hash(&self, path: &[u8]) -> Result<Digest, BuildError> {
        let mut hasher = Hasher::default();
        let read = io::copy(&mut self.open_path(path)?, &mut hasher);
        read.map_err(|source| BuildError::Source { path: self.shown(path), source })?;
        Ok(hasher.finish())
    }

    fn open_path(&self, path: &[u8]) -> Result<File, BuildError> {
        // NONBLOCK: someone may have put a pipe in its place.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(&self.root, path, flags, Mode::empty(), resolve);
        opened.map(File::from).map_err(|errno| BuildError::Source { path: self.shown(path), source: explained(errno) })
    }
}

/// Where a file goes: the directory, and its name there.
fn destination(copy: &Copy) -> (String, Vec<u8>) {
    let (into, name) = copy.to.rsplit_once('/').unwrap_or(("", &copy.to));
    let own_name = copy.from.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let into = if into.is_empty() { "/" } else { into };
    (into.to_owned(), if name.is_empty() { own_name } else { name }.as_bytes().to_vec())
}

fn mode(copy: &Copy, found: u32, is_directory: bool) -> u32 {
    match copy.mode {
        Some(mode) if is_directory => mode.of_directory(),
        Some(mode) => mode.of_file(),
        None => found & 0o7777,
    }
}

/// What openat2 says of a way out.
fn explained(errno: Errno) -> io::Error {
    match errno {
        Errno::XDEV => io::Error::other("a symbolic link leads out of the directory of the app file"),
        errno => errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::Paths;

    fn collect(context: &Path, from: &str, to: &str, ignore: &[&str]) -> Result<Files, BuildError> {
        let patterns: Vec<String> = ignore.iter().map(|pattern| (*pattern).to_owned()).collect();
        let mut hashes = Hashes::open(&Paths::new(context, context), context);
        let copy = Copy { from: from.to_owned(), to: to.to_owned(), ..Copy::default() };
        Files::collect(context, &copy, &Ignore::new(&patterns), &mut hashes)
    }

    fn names(files: &Files) -> Vec<String> {
        files.items.iter().map(|item| String::from_utf8(item.path.clone()).unwrap()).collect()
    }

    #[test]
    fn a_directory_gives_its_content_in_order_without_what_is_left_out() {
        let place = tempfile::tempdir().unwrap();
        let context = place.path();
        fs::create_dir_all(context.join("src/a/target")).unwrap();
        for file in ["src/b", "src/a/x", "src/a/target/o", "src/a/x.log"] {
            fs::write(context.join(file), file).unwrap();
        }
        symlink("/etc/passwd", context.join("src/link")).unwrap();
        let files = collect(context, "./src/", "/srv", &["target", "*.log"]).unwrap();
        assert_eq!(names(&files), ["a", "a/x", "b", "link"]);
        assert_eq!(files.into, "/srv");
        let same = collect(context, "src", "/srv", &["target", "*.log"]).unwrap();
        assert_eq!(files.digest(), same.digest());
        assert_eq!(names(&collect(context, "src", "/srv", &["src/a/"]).unwrap()), ["b", "link"]);
        fs::write(context.join("src/b"), "other").unwrap();
        assert_ne!(collect(context, "src", "/srv", &["target", "*.log"]).unwrap().digest(), files.digest());
    }

    #[test]
    fn a_file_becomes_what_is_named_or_goes_into_a_directory() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("app"), "x").unwrap();
        for (to, into, name) in [("/srv/program", "/srv", "program"), ("/srv/", "/srv", "app"), ("/app", "/", "app")] {
            let files = collect(place.path(), "app", to, &[]).unwrap();
            assert_eq!((files.into.as_str(), names(&files)), (into, vec![name.to_owned()]));
        }
    }

    #[test]
    fn no_link_leads_out_and_nothing_special_comes_in() {
        let place = tempfile::tempdir().unwrap();
        symlink("/etc", place.path().join("out")).unwrap();
        let error = collect(place.path(), "out/passwd", "/x", &[]).unwrap_err();
        assert!(crate::error::chain(&error).contains("leads out"), "{error:?}");
        assert!(matches!(collect(place.path(), "missing", "/x", &[]), Err(BuildError::Source { .. })));
        let _socket = std::os::unix::net::UnixListener::bind(place.path().join("socket")).unwrap();
        assert!(matches!(collect(place.path(), ".", "/x", &["out"]), Err(BuildError::Special { .. })));
        assert!(collect(place.path(), ".", "/x", &["socket"]).is_ok());
    }
}
