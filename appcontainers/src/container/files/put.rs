//! Files from the host into a container.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use super::{
    from_working_dir,
    host::{self, HostProgram},
    operation::Operation,
    relay::Relayed,
    user_option,
};
use crate::{
    Container, Error, Progress,
    archive::{self, ArchiveError},
    error::io_error,
    progress::Step,
};

/// What is put into a container.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{NoProgress, Paths, PutOptions, PutSource, Service};
///
/// let web = Service::open(Paths::from_env()?).container(&"web".parse()?)?;
/// let options = PutOptions { owner: Some("app:app".to_owned()) };
/// web.put(PutSource::Path("./site/.".into()), "/srv/www", &options, &NoProgress)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum PutSource {
    /// A file of the host's, or a directory with all below it. `DIR/.` is what the directory has.
    Path(PathBuf),
    /// A tar, plain or compressed (gzip, zstd, xz), read as it comes.
    Tar(File),
}

/// How to put files into a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// `USER`, `UID`, `USER:GROUP` or `UID:GID` of the container, who gets everything. If absent, owners are kept, as
    /// numbers.
    pub owner: Option<String>,
}

impl Container {
    /// Copies files from the host to `dest` in the container, running or stopped, as `cp -a` does: into `dest` if that
    /// is a directory; otherwise `dest` is what they become, in a directory that is there. A tar is unpacked below the
    /// directory `dest`. A relative `dest` starts from the container's working directory, else its user's home.
    ///
    /// Modes, owners, times, links, extended attributes and holes are kept. What is mounted below a directory is left
    /// out, with a warning.
    pub fn put(
        &self,
        source: PutSource,
        dest: &str,
        options: &PutOptions,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let config = self.record()?.config;
        let dest = from_working_dir(&config, dest);
        let mut argv = vec!["untar".to_owned()];
        match source {
            PutSource::Path(_) => argv.extend(["--to".to_owned(), dest]),
            PutSource::Tar(_) => argv.extend(["--into".to_owned(), dest, "--existing".to_owned()]),
        }
        argv.extend(user_option(&config));
        argv.extend(options.owner.iter().flat_map(|owner| ["--owner".to_owned(), owner.clone()]));
        let operation = Operation { argv, ..Operation::default() };
        match source {
            PutSource::Path(path) => self.put_path(operation, path, progress),
            PutSource::Tar(tar) => self.put_tar(operation, tar, progress),
        }
    }

    fn put_path(&self, operation: Operation, path: PathBuf, progress: &dyn Progress) -> Result<(), Error> {
        // Asked first, so that a wrong name starts no container.
        let metadata = fs::symlink_metadata(&path).map_err(io_error("read", &path))?;
        let step = Step::begin(progress, "copying", metadata.is_file().then_some(metadata.len()));
        let (packing, stream) = HostProgram::pack(&host::absolute(&path)?)?;
        let streamed = self.stream_in(operation, stream, &step);
        let packed = packing.finish();
        let (operated, relayed) = streamed?;
        match relayed.map_err(io_error("read", &path))? {
            Relayed::All => packed.and_then(|()| operated.check(self)),
            // The container's side gave up first: its words say why, and the host's only that nobody reads.
            Relayed::Part => operated.check(self).and(packed),
        }
    }

    fn put_tar(&self, operation: Operation, tar: File, progress: &dyn Progress) -> Result<(), Error> {
        let name = PathBuf::from("the archive");
        let of_archive = |source| Error::Archive { archive: name.clone(), source };
        let step = Step::begin(progress, "unpacking", None);
        let plain = archive::open(tar).map_err(of_archive)?;
        let (operated, relayed) = self.stream_in(operation, plain, &step)?;
        relayed.map_err(|source| of_archive(ArchiveError::Read { member: None, source }))?;
        operated.check(self)
    }
}
