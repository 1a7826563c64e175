//! `appc up`

use std::time::Duration;

use appcontainers::build::{Up, UpOptions};

use super::{build, build_args::BuildArgs, values};
use crate::{context::Context, progress::Bars, stdio};

/// Build an app file's image and have its container up and ready
///
/// Doing it again changes what has changed, and no more: nothing at all where nothing has. A container whose image was
/// built anew is stopped and gets it; it keeps its name, address, MAC and rules, and what was written in it is gone. What
/// has changed of its rules and settings (section 'container' of the file) is changed while it runs, but for its variables (env),
/// which restart it. With a health check, up waits until it is healthy.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc up
  appc up -f shop/appc.toml
  appc down                     stopped, and removed")]
pub(crate) struct Args {
    #[command(flatten)]
    build: BuildArgs,
    /// Where it is stopped to get its new image: KILL what has not ended after this
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    timeout: Duration,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let (file, build) = self.build.into_parts()?;
        let options = UpOptions { build, stop_timeout: self.timeout };
        let up = context.service.up(&file, &options, &Bars::default())?;
        stdio::note(&build::summary(&up.built));
        stdio::note(&summary(&up));
        context.print(&up, |up| format!("{}\n", up.name))
    }
}

fn summary(up: &Up) -> String {
    let done: Vec<&str> = up.done.iter().map(|action| action.as_str()).collect();
    let what = if done.is_empty() { "up already, nothing has changed".to_owned() } else { done.join(", ") };
    format!("container {}: {what}", up.name)
}
