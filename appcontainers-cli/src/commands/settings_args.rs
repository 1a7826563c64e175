//! What a new container is given beyond its image: options of every command that makes one.

use appcontainers::Settings;

use super::life_args::LifeArgs;

/// Options for [`Settings`].
#[derive(Debug, Default, clap::Args)]
pub(super) struct SettingsArgs {
    #[command(flatten)]
    life: LifeArgs,
}

impl SettingsArgs {
    pub(super) fn into_settings(self) -> anyhow::Result<Settings> {
        let Self { life } = self;
        let mut settings = Settings::default();
        life.apply(&mut settings.life)?;
        Ok(settings)
    }
}
