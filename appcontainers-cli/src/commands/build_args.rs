//! What every command says that builds.

use std::{io, os::fd::AsFd, path::PathBuf};

use anyhow::Context as _;
use appcontainers::{AppFile, build::BuildOptions};

use crate::signals;

/// Options of commands that build.
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    /// The app file
    #[arg(short, long, value_name = "FILE", default_value = "appc.toml")]
    file: PathBuf,
    /// Do every step, whatever is remembered of it
    #[arg(long)]
    no_cache: bool,
    /// Do the steps without a user namespace, where the kernel can't map layers' ids: root in a step is root on this host
    #[arg(long)]
    privileged: bool,
    /// Times in the image are at most this, in seconds since 1970 [default: the file's source_date_epoch, else 1980]
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", hide_env_values = true)]
    source_date_epoch: Option<u32>,
}

impl BuildArgs {
    /// The app file, and how to build it; what steps print goes to standard error.
    pub(super) fn into_parts(self) -> anyhow::Result<(AppFile, BuildOptions)> {
        let file = AppFile::read(&self.file)?;
        let stderr = io::stderr().as_fd().try_clone_to_owned().context("cannot duplicate standard error")?;
        let options = BuildOptions {
            no_cache: self.no_cache,
            privileged: self.privileged,
            source_date_epoch: self.source_date_epoch,
            steps_output: Some(stderr.into()),
            signals: Some(signals::of_an_end()?),
            ..BuildOptions::default()
        };
        Ok((file, options))
    }
}
