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

#[cfg(test)]
mod tests {
    use appcontainers::{ImageSummary, build::BuiltStep};

    use super::*;

    #[test]
    fn what_was_built_is_told_as_documented() {
        let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse().unwrap();
        let image = ImageSummary {
            name: "shop".parse().unwrap(),
            digest,
            created: "2026-01-02T03:04:05Z".parse().unwrap(),
            architecture: "x86_64".to_owned(),
            layers: 3,
            size_bytes: 5_000_000,
            base: Some("busybox".parse().unwrap()),
        };
        let step = BuiltStep { line: 4, step: "run make install".to_owned(), cached: true, layer: Some(digest) };
        let built = Built { image, steps: vec![step], left_out: Vec::new() };
        render::assert_documented("appc build", &built);
        assert!(summary(&built).starts_with("built shop: 5.0 MB, sha256:ba78"), "{}", summary(&built));
        assert!(summary(&built).ends_with("; 1 steps, 1 of them cached"));
    }
}
