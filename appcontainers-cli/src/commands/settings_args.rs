//! What a new container is given beyond its image: options of every command that makes one.

use appcontainers::Settings;

/// Options for [`Settings`].
#[derive(Debug, Default, clap::Args)]
pub(super) struct SettingsArgs {}

impl SettingsArgs {
    pub(super) fn into_settings(self) -> anyhow::Result<Settings> {
        let Self {} = self;
        Ok(Settings {})
    }
}
