//! `appc base`

use std::path::PathBuf;

use appcontainers::{ImageName, ImageSummary, Recipe};

use super::image::summaries;
use crate::{context::Context, progress::Bars, render};

/// Build, import, list and remove bases: images that hold an operating system
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Build(Build),
    Import(Import),
    Ls(Ls),
    Recipes(Recipes),
    Rm(Rm),
}

impl Command {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Command::Build(args) => args.execute(context),
            Command::Import(args) => args.execute(context),
            Command::Ls(args) => args.execute(context),
            Command::Recipes(args) => args.execute(context),
            Command::Rm(args) => args.execute(context),
        }
    }
}

/// Build a base from a recipe
///
/// 'busybox' needs no network; the recipes of distributions fetch packages from their archives (mmdebstrap).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc base build                 the small offline base, busybox
  appc base build debian-12
  appc base build ./my-base.toml  a recipe of your own
  appc base recipes               the recipes there are")]
pub(crate) struct Build {
    /// A recipe's name, or the path of a .toml file
    #[arg(default_value = "busybox")]
    recipe: String,
}

impl Build {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        print_name(context, &context.service.build_base(&self.recipe, &Bars::default())?)
    }
}

/// Make a base of a root file system that you have
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc base import rootfs.tar.zst --name mine
  appc base import /srv/rootfs")]
pub(crate) struct Import {
    /// A directory, a squashfs, or an archive: .tar, .tar.gz, .tar.zst, .tar.xz
    #[arg(value_name = "FILE|DIR")]
    source: PathBuf,
    /// Name the base [default: the file's name without its endings]
    #[arg(long)]
    name: Option<ImageName>,
}

impl Import {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        print_name(context, &context.service.import_base(&self.source, self.name, &Bars::default())?)
    }
}

/// List bases
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {}

impl Ls {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        context.print(&context.service.bases()?, |bases| summaries(bases))
    }
}

/// List the recipes that 'base build' knows
#[derive(Debug, clap::Args)]
pub(crate) struct Recipes {}

impl Recipes {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        context.print(&context.service.recipes()?, |recipes| recipe_table(recipes))
    }
}

/// Remove a base; refused while a container or an image needs it
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// The base's name
    name: ImageName,
}

impl Rm {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.service.remove_base(&self.name)?)
    }
}

fn print_name(context: &Context, base: &ImageSummary) -> anyhow::Result<()> {
    context.print(base, |base| format!("{}\n", base.name))
}

fn recipe_table(recipes: &[Recipe]) -> String {
    let row = |recipe: &Recipe| [recipe.name.to_string(), recipe.description.clone()];
    render::table(["NAME", "DESCRIPTION"], recipes.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_are_a_table() {
        let text =
            "description = 'small, offline'\n[source.busybox]\nprogram = '/bin/busybox'\npackage = 'busybox-static'\n";
        let recipe = Recipe::parse("busybox".parse().unwrap(), text).unwrap();
        render::assert_documented("appc base recipes", &recipe);
        assert_eq!(recipe_table(&[recipe]), "NAME     DESCRIPTION\nbusybox  small, offline\n");
    }
}
