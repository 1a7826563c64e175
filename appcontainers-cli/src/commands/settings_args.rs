//! What a new container is given beyond its image: options of every command that makes one.

use appcontainers::Settings;

use super::{life_args::LifeArgs, limit_args::LimitArgs, mount_args::MountArgs, secret_args::SecretArgs};

/// Options for [`Settings`].
#[derive(Debug, Default, clap::Args)]
pub(super) struct SettingsArgs {
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    life: LifeArgs,
    #[command(flatten)]
    secrets: SecretArgs,
    #[command(flatten)]
    mounts: MountArgs,
}

impl SettingsArgs {
    pub(super) fn into_settings(self) -> anyhow::Result<Settings> {
        let Self { limits, life, secrets, mounts } = self;
        let mut settings = Settings {
            limits: limits.into_limits(),
            secrets: secrets.into_grants(),
            disk: mounts.disk,
            mounts: mounts.into_mounts(),
            ..Settings::default()
        };
        life.apply(&mut settings.life)?;
        Ok(settings)
    }
}
