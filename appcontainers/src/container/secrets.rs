//! Which secrets a container is given, also while it runs.

use serde_json::Value;

use super::Container;
use crate::{
    Error, SecretName, event,
    record::ContainerRecord,
    runtime::Status,
    secret::{self, SecretError, SecretGrant},
};

impl Container {
    /// Gives the container a secret: at once if it runs, and at every start. If that fails, the container has what it had.
    pub fn grant_secret(&self, grant: SecretGrant) -> Result<(), Error> {
        let name = grant.name.clone();
        self.change_secrets("secret-grant", &name.clone(), |record| {
            if record.settings.secrets.iter().any(|one| one.name == name) {
                return Err(SecretError::AlreadyGranted { container: record.name.clone(), name });
            }
            record.settings.secrets.push(grant);
            Ok(())
        })
    }

    /// Takes a secret from the container: at once if it runs. Whoever has it open there keeps what is open.
    pub fn revoke_secret(&self, name: &SecretName) -> Result<(), Error> {
        self.change_secrets("secret-revoke", name, |record| {
            let count = record.settings.secrets.len();
            record.settings.secrets.retain(|one| one.name != *name);
            if record.settings.secrets.len() == count {
                return Err(SecretError::NotGranted { container: record.name.clone(), name: name.clone() });
            }
            Ok(())
        })
    }

    fn change_secrets(
        &self,
        event: &str,
        name: &SecretName,
        change: impl FnOnce(&mut ContainerRecord) -> Result<(), SecretError>,
    ) -> Result<(), Error> {
        let _lock = self.lock()?;
        let before = self.record()?;
        let mut after = before.clone();
        change(&mut after)?;
        {
            let _secrets = secret::granting(&self.paths, &after.settings)?;
            after.store(&self.paths)?;
        }
        if self.status()? == Status::Running
            && let Err(error) = secret::deliver_apart(&self.paths, &self.name)
        {
            before.store(&self.paths)?;
            secret::catch_up(&self.paths, &self.name);
            return Err(error.into());
        }
        event::note(&self.paths, &self.name, event, &[("secret", Value::from(name.as_str()))]);
        Ok(())
    }

    /// Brings a running container's secrets up to date.
    pub(crate) fn renew_secrets(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        // Taking the lock has done it; what failed then is an error now.
        if self.status()? == Status::Running {
            secret::deliver_apart(&self.paths, &self.name)?;
        }
        Ok(())
    }
}
