//! Files that a container gets from the host before it starts for the first time: rendered once, when it is made, and kept beside its
//! configuration, so that a fresh writable layer gets them as well.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Seek, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    ContainerName, Error, FileMode, InsidePath, InvalidInside, Paths,
    error::io_error,
    inside::check_owner,
    skeleton::{self, SkeletonContext, TreeFile},
};

/// The ending of templates.
const TEMPLATE: &str = ".tera";

/// Where they are kept, in the container's directory.
const KEPT: &str = "files.tar";

/// Under which word the agent finds whose a file is to be.
const OWNER: &str = "APPC.owner";

/// A file or a directory of the host's for a new container. As text: `SRC:DEST[:MODE[:OWNER]]`.
///
/// # Examples
///
/// ```
/// use appcontainers::BootFile;
///
/// let file: BootFile = "app.conf.tera:/etc/app/:0640:root:www".parse()?;
/// assert_eq!(file.path.to_string(), "/etc/app/app.conf");
/// assert_eq!(file.owner.as_deref(), Some("root:www"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFile {
    /// On the host. One that ends with `.tera` is a template, rendered as those of the skeleton; in a directory, each that does.
    pub source: PathBuf,
    /// In the container.
    pub path: InsidePath,
    /// Its permissions; those that it has on the host if absent. Only for a file.
    pub mode: Option<FileMode>,
    /// Whose it is, by the container's own names and numbers (`USER[:GROUP]`); root's if absent.
    pub owner: Option<String>,
}

/// A text that is none, or a file that can't be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootFileError {
    /// Not all parts are there.
    #[error(
        "{text:?} names no file for the container: use SRC:DEST[:MODE[:OWNER]], as app.conf:/etc/app.conf:0640:app:www"
    )]
    Form {
        /// What was said.
        text: String,
    },
    /// The path, the mode or the owner.
    #[error(transparent)]
    Inside(#[from] InvalidInside),
    /// It is neither a file nor a directory.
    #[error("{} is neither a file nor a directory: it can't be given to a container", path.display())]
    Kind {
        /// Which one.
        path: PathBuf,
    },
    /// Permissions for a directory.
    #[error("{} is a directory: its files keep the permissions that they have; leave the mode out", path.display())]
    ModeOfDirectory {
        /// Which one.
        path: PathBuf,
    },
    /// Two at one place.
    #[error("two files are to be {path} in the container; leave one out")]
    Twice {
        /// The place.
        path: String,
    },
}

impl FromStr for BootFile {
    type Err = BootFileError;

    fn from_str(text: &str) -> Result<Self, BootFileError> {
        let form = || BootFileError::Form { text: text.to_owned() };
        let mut parts = text.splitn(4, ':');
        let source = parts.next().filter(|source| !source.is_empty()).ok_or_else(form)?;
        let destination = parts.next().filter(|destination| !destination.is_empty()).ok_or_else(form)?;
        let path = if destination.ends_with('/') {
            let name = Path::new(source).file_name().and_then(|name| name.to_str()).ok_or_else(form)?;
            format!("{destination}{}", name.strip_suffix(TEMPLATE).unwrap_or(name)).parse()?
        } else {
            destination.parse()?
        };
        let mode = parts.next().filter(|mode| !mode.is_empty()).map(str::parse).transpose()?;
        let owner = parts.next().map(|owner| check_owner(owner).map(|()| owner.to_owned())).transpose()?;
        Ok(Self { source: source.into(), path, mode, owner })
    }
}

/// One file of those that are asked for.
#[derive(Debug)]
struct One<'a> {
    asked: &'a BootFile,
    inside: PathBuf,
    file: TreeFile,
}

/// Looks whether all of them can be read, before anything is made.
pub(super) fn check(files: &[BootFile]) -> Result<(), Error> {
    for one in find(files)? {
        File::open(&one.file.path).map_err(io_error("read", &one.file.path))?;
    }
    Ok(())
}

/// Renders them for a container and keeps them beside its configuration.
pub(super) fn keep(
    paths: &Paths,
    name: &ContainerName,
    files: &[BootFile],
    context: &SkeletonContext,
) -> Result<(), Error> {
    if files.is_empty() {
        return Ok(());
    }
    let path = paths.container(name).join(KEPT);
    let file = File::create(&path).map_err(io_error("create", &path))?;
    let mut archive = tar::Builder::new(file);
    for one in find(files)? {
        let source = one.file.path.clone();
        let bytes = one.file.render(context)?;
        append(&mut archive, &one, bytes).map_err(io_error("copy", source))?;
    }
    let mut file = archive.into_inner().map_err(io_error("write", &path))?;
    file.flush().map_err(io_error("write", &path))
}

/// Those that a container has kept, as a tar.
pub(super) fn kept(paths: &Paths, name: &ContainerName) -> Result<Option<File>, Error> {
    let path = paths.container(name).join(KEPT);
    match File::open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("open", &path)(error)),
    }
}

/// Keeps for `to` what is kept for `from`, as it was rendered for that.
pub(super) fn copy_kept(paths: &Paths, from: &ContainerName, to: &ContainerName) -> Result<(), Error> {
    let [from, to] = [from, to].map(|name| paths.container(name).join(KEPT));
    match fs::copy(&from, &to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("copy", from)(error)),
        _ => Ok(()),
    }
}

/// One tar out of two: the members of `first`, then those of `second`.
pub(super) fn chain(directory: &Path, first: Option<Vec<u8>>, second: Option<File>) -> Result<Option<File>, Error> {
    /// Two blocks of zeros.
    const END_BYTES: usize = 1024;
    let Some(mut first) = first else { return Ok(second) };
    let failed = || io_error("write a temporary file in", directory);
    let mut spool = tempfile::tempfile_in(directory).map_err(failed())?;
    if let Some(mut second) = second {
        first.truncate(first.len().saturating_sub(END_BYTES));
        spool.write_all(&first).map_err(failed())?;
        io::copy(&mut second, &mut spool).map_err(failed())?;
    } else {
        spool.write_all(&first).map_err(failed())?;
    }
    spool.rewind().map_err(failed())?;
    Ok(Some(spool))
}

fn find(files: &[BootFile]) -> Result<Vec<One<'_>>, Error> {
    let mut found = Vec::new();
    let mut places = BTreeSet::new();
    for asked in files {
        let status = fs::metadata(&asked.source).map_err(io_error("read", &asked.source))?;
        if status.is_dir() {
            if asked.mode.is_some() {
                return Err(BootFileError::ModeOfDirectory { path: asked.source.clone() }.into());
            }
            let tree = skeleton::tree(&asked.source)?;
            found.extend(tree.into_iter().map(|(below, file)| One {
                asked,
                inside: asked.path.relative().join(below),
                file,
            }));
        } else if status.is_file() {
            let file = TreeFile::new(&asked.source).map_err(io_error("read", &asked.source))?;
            found.push(One { asked, inside: asked.path.relative().to_owned(), file });
        } else {
            return Err(BootFileError::Kind { path: asked.source.clone() }.into());
        }
    }
    for one in &found {
        if !places.insert(&one.inside) {
            return Err(BootFileError::Twice { path: format!("/{}", one.inside.display()) }.into());
        }
    }
    Ok(found)
}

fn append(archive: &mut tar::Builder<File>, one: &One<'_>, rendered: Option<Vec<u8>>) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(one.asked.mode.map_or(one.file.mode, FileMode::bits));
    let owner = one.asked.owner.as_deref().unwrap_or("0:0");
    let ids = owner.split_once(':').and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    let (uid, gid): (u64, u64) = ids.unwrap_or_default();
    header.set_uid(uid);
    header.set_gid(gid);
    if ids.is_none() {
        archive.append_pax_extensions([(OWNER, owner.as_bytes())])?;
    }
    let source = File::open(&one.file.path)?;
    let status = source.metadata()?;
    let modified = status.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    header.set_mtime(modified.map_or(0, |time| time.as_secs()));
    match rendered {
        Some(bytes) => {
            header.set_size(bytes.len() as u64);
            append_data(archive, &mut header, &one.inside, &mut bytes.as_slice())
        }
        None => {
            header.set_size(status.len());
            append_data(archive, &mut header, &one.inside, &mut (&source).take(status.len()))
        }
    }
}

/// An archive with less data than its head says is none.
fn append_data(
    archive: &mut tar::Builder<File>,
    header: &mut tar::Header,
    path: &Path,
    data: &mut dyn Read,
) -> io::Result<()> {
    let size = header.size()?;
    let mut counted = Counted { data, count: 0 };
    archive.append_data(header, path, &mut counted)?;
    if counted.count == size { Ok(()) } else { Err(io::Error::other("it was cut while it was copied")) }
}

struct Counted<'a> {
    data: &'a mut dyn Read,
    count: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.data.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_as_destination_takes_the_files_own_name() {
        let parse = |text: &str| text.parse::<BootFile>().unwrap();
        assert_eq!(parse("a/app.conf.tera:/etc/").path.to_string(), "/etc/app.conf");
        // As given.
        assert_eq!(parse("a/app.conf.tera:/etc/app.conf.tera").path.to_string(), "/etc/app.conf.tera");
        let file = parse("a:/b::app");
        assert_eq!((file.mode, file.owner.as_deref()), (None, Some("app")));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("a", "SRC:DEST"),
            (":/b", "SRC:DEST"),
            ("a:", "SRC:DEST"),
            ("a:b", "no path"),
            ("a:/b/../c", "no path"),
            ("a:/proc/x", "kernel"),
            ("a:/b:999", "no mode"),
            ("a:/b:4755", "no mode"),
            ("a:/b:644:", "no owner"),
            ("a:/b:644:a:b:c", "no owner"),
        ] {
            let error = text.parse::<BootFile>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_chain_of_two_archives_is_one() {
        let place = tempfile::tempdir().unwrap();
        let file = skeleton::RenderedFile { path: "one".into(), mode: 0o644, bytes: b"1".to_vec() };
        let first = skeleton::to_tar(&[file]).unwrap();
        let second = skeleton::RenderedFile { path: "two".into(), mode: 0o644, bytes: b"2".to_vec() };
        let path = place.path().join("second");
        fs::write(&path, skeleton::to_tar(&[second]).unwrap()).unwrap();
        let chained = chain(place.path(), Some(first), Some(File::open(&path).unwrap())).unwrap().unwrap();
        let mut archive = tar::Archive::new(chained);
        let names: Vec<_> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(names, [Path::new("one"), Path::new("two")]);
    }
}
