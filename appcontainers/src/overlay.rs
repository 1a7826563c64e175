//! What a container's writable layer changed, compared with the layers below it.
//!
//! Reads the upper directory and the layers' mounts by file descriptor; needs no mounted overlay. Packing an
//! upper is [`crate::image::pack::delta`]; copying one as it is, `copy`.

mod attributes;
mod copy;
mod shift;

pub use copy::CopyError;
pub(crate) use copy::{Contents, copy};
pub(crate) use shift::Shift;

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, fgetxattr, openat2, statx},
    io::Errno,
};
use serde::Serialize;

use crate::image::pack::{Found, IdShift, PackError, Walk};

/// One difference between a container's files and its image's.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{ChangeKind, Paths, Service};
///
/// let web = Service::open(Paths::from_env()?).container(&"web".parse()?)?;
/// for change in web.changes()?.iter().filter(|change| change.kind == ChangeKind::Added) {
///     println!("{change:?}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happened to it.
    pub kind: ChangeKind,
    /// Absolute, as the container sees it; bytes that are no UTF-8 are replaced.
    pub path: String,
    /// What it is, or was if it is deleted.
    pub file_type: ChangedType,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// No layer has it.
    Added,
    /// A layer has it, with other content or metadata.
    Modified,
    /// A layer has it, the container does not see it.
    Deleted,
}

/// Types that a listing tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangedType {
    /// A file with content.
    File,
    /// A directory; of an added or deleted one what is in it is listed, too.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a pipe or a socket.
    Special,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Modified => 'M',
            ChangeKind::Deleted => 'D',
        };
        write!(f, "{letter} {}", self.path)
    }
}

impl From<FileType> for ChangedType {
    fn from(file_type: FileType) -> Self {
        match file_type {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            _ => Self::Special,
        }
    }
}

/// Compares an overlay's upper directory with its layers: `lowers` are the directories that they are mounted on, the
/// topmost first, with the image's own ids. Sorted by path.
pub fn changes(upper: impl AsFd, lowers: &[impl AsFd], ids: IdShift) -> Result<Vec<Change>, PackError> {
    let lowers = Lowers(lowers.iter().map(AsFd::as_fd).collect());
    let mut walk = Walk::new(upper.as_fd())?;
    let mut changes = Vec::new();
    while let Some(found) = walk.next()? {
        let below = lowers.find(&found.path)?;
        let is_directory = found.file_type() == FileType::Directory;
        let kind = match below {
            Some(_) if found.is_whiteout() => {
                lowers.list_deleted(&found.path, &mut changes)?;
                continue;
            }
            None if found.is_whiteout() => continue,
            None => ChangeKind::Added,
            Some(below) => {
                let was_directory = file_type(&below) == FileType::Directory;
                if was_directory && (!is_directory || is_opaque(upper.as_fd(), &found.path)?) {
                    lowers.list_hidden(&found.path, upper.as_fd(), &mut changes)?;
                }
                if is_directory && was_directory && !has_other_metadata(&found, &below, ids) {
                    continue;
                }
                ChangeKind::Modified
            }
        };
        changes.push(Change { kind, path: absolute(&found.path), file_type: found.file_type().into() });
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path).then(a.kind.cmp(&b.kind)));
    Ok(changes)
}

fn has_other_metadata(found: &Found, below: &Statx, ids: IdShift) -> bool {
    let now = &found.stat;
    // A directory is copied up when something in it changes; its time then says nothing.
    now.stx_mode != below.stx_mode
        || ids.to_container(now.stx_uid) != Some(below.stx_uid)
        || ids.to_container(now.stx_gid) != Some(below.stx_gid)
}

/// The layers below an upper, as overlayfs merges them.
struct Lowers<'fd>(Vec<BorrowedFd<'fd>>);

impl Lowers<'_> {
    /// What the layers show at a path.
    fn find(&self, path: &[u8]) -> Result<Option<Statx>, PackError> {
        let mut visible = self.0.clone();
        let mut found = None;
        for end in ends_of_prefixes(path) {
            let prefix = &path[..end];
            found = None;
            let mut directories = Vec::new();
            for layer in visible {
                let Some(stat) = look(layer, prefix)? else { continue };
                if is_whiteout(&stat) {
                    break;
                }
                let is_directory = file_type(&stat) == FileType::Directory;
                if !is_directory && found.is_some() {
                    // A file below a directory ends the merge.
                    break;
                }
                found.get_or_insert(stat);
                if !is_directory {
                    break;
                }
                directories.push(layer);
                if is_opaque(layer, prefix)? {
                    break;
                }
            }
            visible = directories;
            if found.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Lists a path that is gone, and all that was below it.
    fn list_deleted(&self, path: &[u8], changes: &mut Vec<Change>) -> Result<(), PackError> {
        let mut pending = vec![path.to_owned()];
        while let Some(path) = pending.pop() {
            let Some(stat) = self.find(&path)? else { continue };
            let file_type = file_type(&stat);
            changes.push(Change { kind: ChangeKind::Deleted, path: absolute(&path), file_type: file_type.into() });
            if file_type == FileType::Directory {
                pending.extend(self.names(&path)?.into_iter().map(|name| join(&path, &name)));
            }
        }
        Ok(())
    }

    /// Lists what an opaque directory, or what replaced a directory, hides and does not have itself.
    fn list_hidden(&self, path: &[u8], upper: BorrowedFd<'_>, changes: &mut Vec<Change>) -> Result<(), PackError> {
        for name in self.names(path)? {
            let child = join(path, &name);
            if look(upper, &child)?.is_none() {
                self.list_deleted(&child, changes)?;
            }
        }
        Ok(())
    }

    /// The names in a directory of any layer; some may be hidden.
    fn names(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, PackError> {
        let mut names = std::collections::BTreeSet::new();
        for layer in &self.0 {
            let failed = |errno: Errno| PackError::read("list", path, errno);
            let directory = match open(*layer, path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                result => result.map_err(failed)?,
            };
            for entry in Dir::new(directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.insert(name.to_owned());
                }
            }
        }
        Ok(names.into_iter().collect())
    }
}

/// Where each leading part of a path ends: `a/b` has `a` and `a/b`; the root has itself.
fn ends_of_prefixes(path: &[u8]) -> Vec<usize> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.chain([path.len()]).collect()
}

fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

fn is_whiteout(stat: &Statx) -> bool {
    file_type(stat) == FileType::CharacterDevice && (stat.stx_rdev_major, stat.stx_rdev_minor) == (0, 0)
}

/// True if what lower layers have in this directory is hidden.
fn is_opaque(root: BorrowedFd<'_>, path: &[u8]) -> Result<bool, PackError> {
    let directory = match open(root, path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        result => result.map_err(|errno| PackError::read("open", path, errno))?,
    };
    let mut value = [0; 1];
    match fgetxattr(&directory, "trusted.overlay.opaque", value.as_mut_slice()) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(PackError::read("read the attributes of", path, errno)),
    }
}

/// What is at a path; none if nothing is, or if a part of the way is no directory.
fn look(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<Statx>, PackError> {
    let failed = |errno: Errno| PackError::read("look at", path, errno);
    let file = match open(root, path, OFlags::PATH) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        result => result.map_err(failed)?,
    };
    statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).map(Some).map_err(failed)
}

fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, if path.is_empty() { b"." } else { path }, flags, Mode::empty(), resolve)
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_owned() } else { [directory, b"/", name].concat() }
}

fn absolute(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::fs::{PermissionsExt, symlink},
        path::Path,
    };

    use super::*;

    fn write(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
    }

    fn identity() -> IdShift {
        IdShift::NONE
    }

    fn diff(upper: &Path, lowers: &[&Path]) -> Vec<String> {
        let lowers: Vec<File> = lowers.iter().map(|lower| File::open(lower).unwrap()).collect();
        let changes = changes(File::open(upper).unwrap(), &lowers, identity()).unwrap();
        changes.iter().map(Change::to_string).collect()
    }

    #[test]
    fn added_and_modified_are_told_apart_by_the_layers() {
        let place = tempfile::tempdir().unwrap();
        let [upper, top, bottom] = ["upper", "top", "bottom"].map(|name| place.path().join(name));
        write(&bottom, &["etc/a", "etc/b", "opt/x"]);
        write(&top, &["etc/c"]);
        write(&upper, &["etc/a", "etc/c", "etc/new", "srv/n"]);
        symlink("nowhere", upper.join("etc/b")).unwrap();
        assert_eq!(
            diff(&upper, &[&top, &bottom]),
            ["M /etc/a", "M /etc/b", "M /etc/c", "A /etc/new", "A /srv", "A /srv/n"]
        );
    }

    #[test]
    fn a_directory_counts_only_when_its_own_metadata_changed() {
        let place = tempfile::tempdir().unwrap();
        let [upper, lower] = ["upper", "lower"].map(|name| place.path().join(name));
        write(&lower, &["d/a", "e/a"]);
        write(&upper, &["d/b", "e/b"]);
        fs::set_permissions(upper.join("e"), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(diff(&upper, &[&lower]), ["A /d/b", "M /e", "A /e/b"]);
    }

    #[test]
    fn a_file_in_a_directorys_place_hides_all_that_was_in_it() {
        let place = tempfile::tempdir().unwrap();
        let [upper, lower] = ["upper", "lower"].map(|name| place.path().join(name));
        write(&lower, &["d/a/b", "d/c"]);
        write(&upper, &["d"]);
        assert_eq!(diff(&upper, &[&lower]), ["M /d", "D /d/a", "D /d/a/b", "D /d/c"]);
    }
}
