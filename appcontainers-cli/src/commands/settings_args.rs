//! What a new container is given beyond its image: options of every command that makes one.

use appcontainers::Settings;

use super::secret_args::SecretArgs;

/// Options for [`Settings`].
#[derive(Debug, Default, clap::Args)]
pub(super) struct SettingsArgs {
    #[command(flatten)]
    secrets: SecretArgs,
}

impl SettingsArgs {
    pub(super) fn into_settings(self) -> anyhow::Result<Settings> {
        let Self { secrets } = self;
        Ok(Settings { secrets: secrets.into_grants() })
    }
}
