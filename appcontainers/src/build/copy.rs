//! Makes a tar of what a copy takes: root's, all of one time, and exactly what was looked at.

use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use tar::{Builder, EntryType, Header};

use super::{
    BuildError,
    context::{Content, Files, Item},
};
use crate::image::Hasher;

/// Writes the tar. Files that are not any more what was found in them are an error: they would be remembered as what they
/// were. `None` if the reader has gone, who knows why.
pub(super) fn write(files: &Files, epoch: u32, into: impl Write) -> Result<Option<()>, BuildError> {
    let mut tar = Builder::new(into);
    for item in &files.items {
        match append(&mut tar, files, item, epoch) {
            Ok(()) => {}
            Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
            Err(Failure::Output(source)) => return Err(BuildError::Source { path: files.shown(&item.path), source }),
            Err(Failure::Build(error)) => return Err(error),
        }
    }
    match tar.into_inner().and_then(|mut into| into.flush()) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        Err(source) => Err(BuildError::Source { path: files.shown(b""), source }),
    }
}

enum Failure {
    Output(io::Error),
    Build(BuildError),
}

fn append(tar: &mut Builder<impl Write>, files: &Files, item: &Item, epoch: u32) -> Result<(), Failure> {
    let path = Path::new(OsStr::from_bytes(&item.path));
    let mut header = Header::new_gnu();
    header.set_mode(item.mode);
    header.set_mtime(epoch.into());
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    let changed = || Failure::Build(BuildError::Changed { path: files.shown(&item.path) });
    match &item.content {
        Content::Directory => {
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, path, io::empty()).map_err(Failure::Output)
        }
        Content::Link(target) => {
            if files.link(item).map_err(Failure::Build)? != *target {
                return Err(changed());
            }
            header.set_entry_type(EntryType::Symlink);
            tar.append_link(&mut header, path, OsStr::from_bytes(target)).map_err(Failure::Output)
        }
        Content::File { size_bytes, digest } => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(*size_bytes);
            let mut file = Hashed {
                inner: files.open(item).map_err(Failure::Build)?,
                hasher: Hasher::default(),
                left: *size_bytes,
            };
            tar.append_data(&mut header, path, &mut file).map_err(Failure::Output)?;
            if file.left > 0 || file.hasher.finish() != *digest {
                return Err(changed());
            }
            Ok(())
        }
    }
}

/// A file of which no more than `left` is read, and that is hashed.
struct Hashed {
    inner: std::fs::File,
    hasher: Hasher,
    left: u64,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..most])?;
        self.hasher.update(&buffer[..count]);
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        Paths,
        build::{Copy, hashes::Hashes, ignore::Ignore},
    };

    /// What is written of a directory with a file and a link, after `change`.
    fn written(change: impl FnOnce(&Path)) -> (Result<Option<()>, BuildError>, Vec<u8>) {
        let place = tempfile::tempdir().unwrap();
        let context = place.path();
        fs::create_dir(context.join("d")).unwrap();
        fs::write(context.join("d/file"), "content").unwrap();
        std::os::unix::fs::symlink("file", context.join("d/link")).unwrap();
        let mut hashes = Hashes::open(&Paths::new(context, context), context);
        let copy = Copy { from: "d".to_owned(), to: "/d".to_owned(), ..Copy::default() };
        let files = Files::collect(context, &copy, &Ignore::default(), &mut hashes).unwrap();
        change(context);
        let mut tar = Vec::new();
        (write(&files, 1_000, &mut tar), tar)
    }

    #[test]
    fn what_was_found_is_written_as_roots_and_of_one_time() {
        let (result, tar) = written(|_| {});
        assert!(matches!(result, Ok(Some(()))));
        let mut archive = tar::Archive::new(tar.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let path = entry.path().unwrap().display().to_string();
            (path, header.mtime().unwrap(), header.uid().unwrap(), entry.size())
        });
        let expected = [("file", 7), ("link", 0)].map(|(name, size)| (name.to_owned(), 1_000, 0, size));
        assert_eq!(entries.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_has_changed_since_it_was_found_is_an_error() {
        let changes: [fn(&Path); 5] = [
            |context| fs::write(context.join("d/file"), "CONTENT").unwrap(),
            |context| fs::write(context.join("d/file"), "short").unwrap(),
            |context| fs::write(context.join("d/file"), "longer than it was").unwrap(),
            |context| fs::remove_file(context.join("d/file")).unwrap(),
            |context| {
                fs::remove_file(context.join("d/link")).unwrap();
                std::os::unix::fs::symlink("other", context.join("d/link")).unwrap();
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let result = written(change).0;
            assert!(
                matches!(result, Err(BuildError::Changed { .. } | BuildError::Source { .. })),
                "{number}: {result:?}"
            );
        }
    }
}
