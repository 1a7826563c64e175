//! Files from a container to the host. What comes from a container is hostile.

use std::{fs::File, io::ErrorKind, path::PathBuf};

use super::{
    from_working_dir,
    host::{self, HostProgram},
    operation::Operation,
    user_option,
};
use crate::{Container, Error, Progress, error::io_error, progress::Step};

/// Where fetched files go.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{FetchDestination, FetchOptions, NoProgress, Paths, Service};
///
/// let web = Service::open(Paths::from_env()?).container(&"web".parse()?)?;
/// let here = FetchDestination::Path(".".into());
/// web.fetch("/var/log/app.log", here, FetchOptions::default(), &NoProgress)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum FetchDestination {
    /// A path of the host's.
    Path(PathBuf),
    /// As a plain tar into a file, a pipe or whatever else is open. Nothing of it is looked at.
    Tar(File),
}

/// How to fetch files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchOptions {
    /// Keep what grants rights on the host: set-user-ID and set-group-ID bits, file capabilities, and other attributes in
    /// `security.` and `trusted.`.
    pub keep_privileges: bool,
}

impl Container {
    /// Copies the file `source`, or a directory with all below it, from the container, running or stopped, to the host, as
    /// `cp -a` does: into the destination if that is a directory; otherwise the destination is what it becomes, in a
    /// directory that is there. `DIR/.` is what the directory has. A relative `source` starts from the container's
    /// working directory, else its user's home.
    ///
    /// Modes, owners (as the numbers that they are in the container), times, links, extended attributes and holes are
    /// kept; what grants rights is not, unless that is asked for. What is mounted below a directory and sockets are left
    /// out, with a warning. Nothing is written but below the destination, and no symbolic link there is followed. Device
    /// nodes are an error.
    pub fn fetch(
        &self,
        source: &str,
        dest: FetchDestination,
        options: FetchOptions,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let config = self.record()?.config;
        let mut argv = vec!["tar".to_owned()];
        argv.extend(user_option(&config));
        argv.push(from_working_dir(&config, source));
        let operation = Operation { argv, ..Operation::default() };
        let step = Step::begin(progress, "copying", None);
        match dest {
            FetchDestination::Path(path) => self.fetch_to(operation, path, name_of(source), options, &step),
            FetchDestination::Tar(file) => {
                let (operated, relayed) = self.stream_out(operation, file, Some(&step))?;
                match relayed {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                    Err(error) => Err(io_error("write", "the archive")(error)),
                    Ok(()) => operated.check(self),
                }
            }
        }
    }

    fn fetch_to(
        &self,
        operation: Operation,
        path: PathBuf,
        name: Option<&str>,
        options: FetchOptions,
        step: &Step<'_>,
    ) -> Result<(), Error> {
        let (unpacking, stream) = HostProgram::unpack(&host::absolute(&path)?, name, options.keep_privileges)?;
        let streamed = self.stream_out(operation, stream, Some(step));
        let unpacked = unpacking.finish();
        let (operated, relayed) = streamed?;
        match relayed {
            // The container's side failed first, if one did: the host's only misses the end of the archive.
            Ok(()) => operated.check(self).and(unpacked),
            Err(error) => unpacked.and_then(|()| Err(io_error("write", &path)(error))),
        }
    }
}

/// What a path calls a file or directory; none if it means what a directory has.
fn name_of(path: &str) -> Option<&str> {
    let last = path.trim_end_matches('/').rsplit('/').next();
    last.filter(|name| !matches!(*name, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_last_part_unless_only_contents_are_meant() {
        for (path, name) in [("/a/b", Some("b")), ("b//", Some("b")), ("/a/b/.", None), ("/", None), ("..", None)] {
            assert_eq!(name_of(path), name, "{path}");
        }
    }
}
