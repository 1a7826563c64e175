//! `appc image`

use appcontainers::{ImageName, ImageSource, ImageSummary};
use clap::builder::{OsStringValueParser, TypedValueParser as _};

use super::values;
use crate::{context::Context, render, stdio};

/// List, inspect and remove images
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Ls(Ls),
    Inspect(Inspect),
    Rm(Rm),
}

impl Command {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Command::Ls(args) => args.execute(context),
            Command::Inspect(args) => args.execute(context),
            Command::Rm(args) => args.execute(context),
        }
    }
}

/// List the images in the store
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {}

impl Ls {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        context.print(&context.service.images()?, |images| summaries(images))
    }
}

/// Show an image's manifest; works on a file without loading it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc image inspect app.aimg
  appc image inspect shop --json")]
pub(crate) struct Inspect {
    /// A file (app.aimg, ./app), or the name of an image in the store
    #[arg(value_name = "FILE.aimg|NAME", value_parser = OsStringValueParser::new().try_map(values::image_source))]
    image: ImageSource,
}

impl Inspect {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        let manifest = context.service.inspect_image(&self.image)?;
        stdio::print(&if context.json { render::json(&manifest)? } else { render::fields(&manifest)? })
    }
}

/// Remove an image from the store; refused while a container needs it
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// The image's name
    name: ImageName,
}

impl Rm {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.service.remove_image(&self.name)?)
    }
}

/// Images or bases as a table.
pub(super) fn summaries(images: &[ImageSummary]) -> String {
    let row = |image: &ImageSummary| {
        [
            image.name.to_string(),
            image.digest.short(),
            render::or_dash(image.base.as_ref()),
            image.layers.to_string(),
            render::size(image.size_bytes),
            format!("{:.0}", image.created),
        ]
    };
    render::table(["NAME", "DIGEST", "BASE", "LAYERS", "SIZE", "CREATED"], images.iter().map(row))
}

#[cfg(test)]
mod tests {
    use appcontainers::image::Digest;

    use super::*;

    #[test]
    fn images_are_a_table() {
        let image = ImageSummary {
            architecture: "x86_64".to_owned(),
            name: "shop".parse().unwrap(),
            digest: Digest::of(b"abc"),
            created: "2026-01-02T03:04:05.6Z".parse().unwrap(),
            layers: 2,
            size_bytes: 1_250_000,
            base: Some("busybox".parse().unwrap()),
        };
        let expected = "\
NAME  DIGEST        BASE     LAYERS  SIZE    CREATED
shop  ba7816bf8f01  busybox  2       1.3 MB  2026-01-02T03:04:05Z
";
        render::assert_documented("appc image ls", &image);
        assert_eq!(summaries(&[image]), expected);
    }
}
