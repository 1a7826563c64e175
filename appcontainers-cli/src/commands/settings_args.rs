//! What a new container is given beyond its image: options of every command that makes one.

use appcontainers::Settings;

use super::mount_args::MountArgs;

/// Options for [`Settings`].
#[derive(Debug, Default, clap::Args)]
pub(super) struct SettingsArgs {
    #[command(flatten)]
    mounts: MountArgs,
}

impl SettingsArgs {
    pub(super) fn into_settings(self) -> anyhow::Result<Settings> {
        let Self { mounts } = self;
        Ok(Settings { disk: mounts.disk, mounts: mounts.into_mounts() })
    }
}
