//! What a new container is given beyond its image: options of every command that makes one.

use appcontainers::Settings;

use super::limit_args::LimitArgs;

/// Options for [`Settings`].
#[derive(Debug, Default, clap::Args)]
pub(super) struct SettingsArgs {
    #[command(flatten)]
    limits: LimitArgs,
}

impl SettingsArgs {
    pub(super) fn into_settings(self) -> anyhow::Result<Settings> {
        let Self { limits } = self;
        Ok(Settings { limits: limits.into_limits() })
    }
}
