//! What is mounted into a new container: options of every command that makes one.

use appcontainers::Mount;

use super::values;

/// Options for [`appcontainers::Settings::mounts`] and its `disk`.
#[derive(Debug, Default, clap::Args)]
pub(super) struct MountArgs {
    /// Mount a volume there (see 'appc volume'); with ':ro' the container can only read it
    #[arg(long = "volume", value_name = "NAME:PATH[:ro]", value_parser = volume)]
    volumes: Vec<Mount>,
    /// Mount a file or directory of this host there (see 'appc mount')
    #[arg(long = "bind", value_name = "SRC:PATH[:ro]", value_parser = bind)]
    binds: Vec<Mount>,
    /// It can write so much beside its image and no more, as 512M, 2G; that room is taken from this host's disk at once
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    pub(super) disk: Option<u64>,
}

impl MountArgs {
    pub(super) fn into_mounts(self) -> Vec<Mount> {
        self.volumes.into_iter().chain(self.binds).collect()
    }
}

/// A volume and where it is mounted.
pub(super) fn volume(text: &str) -> Result<Mount, String> {
    Mount::volume(text).map_err(|error| error.to_string())
}

/// A path of the host's and where it is mounted.
pub(super) fn bind(text: &str) -> Result<Mount, String> {
    Mount::bind(text).map_err(|error| error.to_string())
}
