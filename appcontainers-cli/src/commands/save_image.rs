//! `appc save-image`

use std::path::PathBuf;

use appcontainers::{ImageName, SaveOptions, Saved};

use crate::{context::Context, progress::Bars, render, stdio};

/// Save a container as one file
///
/// Only what the container changed is packed; the layers of its base are copied as they are. A container that runs is
/// frozen while its files are read. The file is whole or not there at all.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc save-image app.aimg
  appc save-image app.aimg --thin                      without its base, which must be where it is loaded
  appc save-image app.aimg --compression-level 19      smaller and slower")]
pub(crate) struct Args {
    /// The file to write
    #[arg(value_name = "DEST.aimg")]
    dest: PathBuf,
    /// Leave the base's layers out: the file names them, and loading it needs that base in the store
    #[arg(long)]
    thin: bool,
    /// How hard zstd tries, 1 to 22 [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=22))]
    compression_level: Option<u32>,
    /// The image's name where it is loaded [default: the file's name]
    #[arg(long)]
    name: Option<ImageName>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let container = context.container(None)?;
        let Self { dest, thin, compression_level, name } = self;
        let options = SaveOptions { thin, compression_level, name };
        // What could not be saved of single files, the library has reported as warnings.
        let Saved { image, .. } = container.save_image_with(&dest, &options, &Bars::default())?;
        if context.json {
            return stdio::print(&render::json(&image)?);
        }
        let (size, dest) = (render::size(image.size_bytes), dest.display().to_string());
        stdio::note(&format!("saved {} as {}: {size}, {}", container.name(), render::plain(&dest), image.digest));
        Ok(())
    }
}
