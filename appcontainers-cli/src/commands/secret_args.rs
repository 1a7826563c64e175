//! Which secrets a new container is given.

use appcontainers::SecretGrant;

/// Options for [`SecretGrant`]s.
#[derive(Debug, Default, clap::Args)]
pub(super) struct SecretArgs {
    /// Give the container a secret, as a file in memory [default: at /run/secrets/NAME, 0400, root's]
    #[arg(long = "secret", value_name = "NAME[:PATH[:MODE[:OWNER]]]")]
    secrets: Vec<SecretGrant>,
}

impl SecretArgs {
    pub(super) fn into_grants(self) -> Vec<SecretGrant> {
        self.secrets
    }
}
