//! Finds the files of a phase: ours, and over them the user's.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::Phase;
use crate::Paths;

/// The most bytes of one file, and of what a template gives.
pub(super) const MAX_FILE_BYTES: usize = 1024 * 1024;

/// The most files of one phase.
const MAX_FILES: usize = 1024;

/// How deep directories may be.
const MAX_DEPTH: usize = 32;

/// The ending of templates.
const TEMPLATE: &str = ".tera";

/// Why a skeleton can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SkeletonError {
    /// It can't be read.
    #[error("cannot read skeleton {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A default can't be written.
    #[error("cannot install skeleton {}", path.display())]
    Install {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It is a symbolic link, a device, a socket or a pipe.
    #[error("skeleton {} is neither a file nor a directory; replace it by a copy of what it stands for", path.display())]
    NotAFile {
        /// Which one.
        path: PathBuf,
    },
    /// Two files of one directory would be the same file in the container.
    #[error("skeletons {} and {}{TEMPLATE} are one file in the container; remove one", path.display(), path.display())]
    Twice {
        /// The one that is no template.
        path: PathBuf,
    },
    /// It is longer than is allowed.
    #[error("skeleton {} is longer than {limit} bytes", path.display())]
    TooLarge {
        /// Which one.
        path: PathBuf,
        /// The most bytes.
        limit: usize,
    },
    /// There are too many files, or directories are too deep.
    #[error("{} has more than {MAX_FILES} files or is more than {MAX_DEPTH} directories deep", path.display())]
    TooMany {
        /// The phase's directory.
        path: PathBuf,
    },
    /// A template that is not UTF-8.
    #[error("template {} is not UTF-8 text", path.display())]
    NotText {
        /// Which one.
        path: PathBuf,
    },
    /// A template that can't be rendered.
    #[error("template {}, line {line}: {message}", path.display())]
    Template {
        /// Which one.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What Tera says.
        message: String,
    },
    /// The files do not fit into an archive.
    #[error("cannot pack skeleton {}", path.display())]
    Pack {
        /// The path in the container.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Where a file of the container comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) is_template: bool,
}

/// Path in the container, and source on the host.
pub(super) type Sources = BTreeMap<PathBuf, Source>;

/// The files of a phase by their paths in the container.
pub(super) fn find(paths: &Paths, phase: Phase) -> Result<Sources, SkeletonError> {
    let mut sources = walk(&paths.skeletons().join("default").join(phase.directory()))?;
    sources.extend(walk(&paths.skeletons().join("user").join(phase.directory()))?);
    Ok(sources)
}

/// The bytes of a file, if they are not too many.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, SkeletonError> {
    let cannot = |source| SkeletonError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(SkeletonError::TooLarge { path: path.to_owned(), limit: MAX_FILE_BYTES });
    }
    Ok(bytes)
}

/// All files below a directory; a missing one has none.
pub(super) fn walk(top: &Path) -> Result<Sources, SkeletonError> {
    let mut sources = Sources::new();
    let mut directories = vec![(top.to_owned(), PathBuf::new(), 0)];
    while let Some((directory, inside, depth)) = directories.pop() {
        let cannot = |source| SkeletonError::Read { path: directory.clone(), source };
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth == 0 => break,
            entries => entries.map_err(cannot)?,
        };
        for entry in entries {
            let entry = entry.map_err(cannot)?;
            // Not of what a link points to: a link is refused.
            let metadata = entry.metadata().map_err(cannot)?;
            if metadata.is_dir() {
                directories.push((entry.path(), inside.join(entry.file_name()), depth + 1));
            } else if metadata.is_file() {
                add(&mut sources, entry.path(), &inside, metadata.permissions().mode() & 0o777)?;
            } else {
                return Err(SkeletonError::NotAFile { path: entry.path() });
            }
            if sources.len() > MAX_FILES || depth >= MAX_DEPTH || directories.len() > MAX_FILES {
                return Err(SkeletonError::TooMany { path: top.to_owned() });
            }
        }
    }
    Ok(sources)
}

fn add(sources: &mut Sources, path: PathBuf, inside: &Path, mode: u32) -> Result<(), SkeletonError> {
    let name = path.file_name().unwrap_or_default();
    let template_name = name.to_str().and_then(|name| name.strip_suffix(TEMPLATE)).filter(|name| !name.is_empty());
    let target = inside.join(template_name.map_or(name, |name| name.as_ref()));
    let source = Source { is_template: template_name.is_some(), path, mode };
    match sources.insert(target, source) {
        None => Ok(()),
        Some(other) => {
            let path = other.path;
            let plain = path.to_str().and_then(|path| path.strip_suffix(TEMPLATE)).map(PathBuf::from);
            Err(SkeletonError::Twice { path: plain.unwrap_or(path) })
        }
    }
}
