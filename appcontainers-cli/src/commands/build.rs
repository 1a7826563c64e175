//! `appc build`

use std::path::PathBuf;

use appcontainers::{
    AppFile, ImageName,
    build::{BuildOptions, Built},
};

use super::build_args::BuildArgs;
use crate::{context::Context, progress::Bars, render, stdio};

/// Build the image that an app file describes
///
/// Steps are run in a container, one after the other; what each of them writes is a layer. A step that was done before on
/// the same layers, with the same words and the same files, is not done again: what it gave is taken from the cache.
/// 'appc gc' forgets what no build has needed for 30 days, 'appc gc --build-cache' all of it.
///
/// The same inputs give the same layers: what a step writes is dated SOURCE_DATE_EPOCH at the latest. What a step
/// writes that is different each time (a log with dates, random numbers) stays different.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc build
  appc build -f shop/appc.toml -o shop.aimg    into a file as well
  appc build --no-cache --tag shop-test        all steps anew, under another name
  appc build --schema > appc.schema.json       what an app file may have, for editors

docs/appc.toml.md describes the file.")]
pub(crate) struct Args {
    #[command(flatten)]
    build: BuildArgs,
    /// Write the image to this file, too
    #[arg(short, long, value_name = "DEST.aimg")]
    output: Option<PathBuf>,
    /// Name the image [default: the file's name]
    #[arg(long, value_name = "NAME")]
    tag: Option<ImageName>,
    /// Print the JSON Schema of app files, and do nothing else
    #[arg(long)]
    schema: bool,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        if self.schema {
            return stdio::print(&AppFile::schema());
        }
        let (file, options) = self.build.into_parts()?;
        let options = BuildOptions { output: self.output, tag: self.tag, ..options };
        let built = context.service.build(&file, &options, &Bars::default())?;
        stdio::note(&summary(&built));
        context.print(&built, |built| format!("{}\n", built.image.name))
    }
}

/// What came of it, in a line.
pub(super) fn summary(built: &Built) -> String {
    let Built { image, steps, .. } = built;
    let cached = steps.iter().filter(|step| step.cached).count();
    let size = render::size(image.size_bytes);
    format!("built {}: {size}, {}; {} steps, {cached} of them cached", image.name, image.digest, steps.len())
}
