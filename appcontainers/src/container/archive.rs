//! Loading an archive into a container.
//!
//! The whole archive is decompressed and checked before its first member is written, so that one that is cut off,
//! corrupt or holds what a container may not have changes nothing.

use std::{
    fs::File,
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use super::Container;
use crate::{
    Error, NoProgress, Progress,
    archive::{self, ArchiveError},
    error::io_error,
    progress::Step,
};

/// Where an archive comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveSource {
    /// A file.
    File(PathBuf),
    /// This program's standard input, read to its end first.
    Stdin,
}

impl Container {
    /// Unpacks a tar archive, plain or compressed (gzip, zstd, xz), into the home directory of the container's user.
    pub fn load_archive(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.load_archive_with(&ArchiveSource::File(path.as_ref().to_owned()), None, &NoProgress)
    }

    /// Unpacks a tar archive into `into`, or the home directory of the container's user.
    pub fn load_archive_with(
        &self,
        source: &ArchiveSource,
        into: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        self.record()?;
        let (mut file, name) = open(source)?;
        let of_archive = |source| Error::Archive { archive: name.clone(), source };
        let handle = |file: &File| file.try_clone().map_err(io_error("copy the handle of", &name));
        let summary = {
            let metadata = file.metadata().map_err(io_error("read", &name))?;
            if metadata.is_dir() {
                return Err(Error::ArchiveIsDirectory { path: name });
            }
            let length = metadata.len();
            let step = Step::begin(progress, "checking the archive", Some(length));
            let plain = archive::open(handle(&file)?).map_err(of_archive)?;
            let summary = archive::verify(plain).map_err(of_archive)?;
            step.advance(length);
            summary
        };
        file.rewind().map_err(io_error("read", &name))?;

        let lock = self.lock()?;
        let step = Step::begin(progress, "unpacking the archive", Some(summary.bytes));
        let (input, output) = io::pipe().map_err(io_error("make a pipe for", &name))?;
        let plain = archive::open(handle(&file)?).map_err(of_archive)?;
        let feeding = std::thread::spawn(move || feed(plain, output));
        let unpacked = self.unpack(&lock, File::from(std::os::fd::OwnedFd::from(input)), into);
        let fed = feeding.join().unwrap_or_else(|_| Err(io::Error::other("the thread that read the archive died")));
        step.advance(summary.bytes);
        unpacked?;
        fed.map_err(|source| of_archive(ArchiveError::Read { member: None, source }))
    }
}

fn open(source: &ArchiveSource) -> Result<(File, PathBuf), Error> {
    match source {
        ArchiveSource::File(path) => Ok((File::open(path).map_err(io_error("open", path))?, path.clone())),
        ArchiveSource::Stdin => {
            let name = PathBuf::from("standard input");
            let mut spool =
                tempfile::tempfile().map_err(io_error("create a temporary file in", std::env::temp_dir()))?;
            io::copy(&mut io::stdin().lock(), &mut spool).map_err(io_error("read", &name))?;
            spool.rewind().map_err(io_error("read", &name))?;
            Ok((spool, name))
        }
    }
}

/// Writes the tar to the command's input; that it does not want all of it is no error.
fn feed(mut plain: archive::PlainTar, mut output: io::PipeWriter) -> io::Result<()> {
    match io::copy(&mut plain, &mut output).and_then(|_| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map(drop),
    }
}
