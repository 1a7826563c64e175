//! The installation's secrets.

use super::Service;
use crate::{
    ContainerName, Error, SecretName,
    error::chain,
    secret::{self, SecretDetails, SecretError, SecretValue},
};

impl Service {
    /// Makes a secret, and with the first one the key with which all are encrypted.
    pub fn create_secret(&self, name: &SecretName, value: SecretValue) -> Result<(), Error> {
        self.prepare()?;
        Ok(secret::create(&self.paths, name, value)?)
    }

    /// All secrets, by name; not what they are.
    pub fn secrets(&self) -> Result<Vec<SecretDetails>, Error> {
        let mut secrets = secret::list(&self.paths)?;
        for secret in &mut secrets {
            secret.containers = self.holders_of(&secret.name)?;
        }
        Ok(secrets)
    }

    /// One secret; not what it is.
    pub fn secret(&self, name: &SecretName) -> Result<SecretDetails, Error> {
        let found = secret::find(&self.paths, name)?;
        Ok(SecretDetails { containers: self.holders_of(name)?, ..found })
    }

    /// Gives a secret another value. All containers that have it and run get it at once, each in one step: a file that is open there
    /// stays as it was. Those that it could not be given to are an error; the value is changed all the same.
    pub fn rotate_secret(&self, name: &SecretName, value: SecretValue) -> Result<(), Error> {
        secret::rotate(&self.paths, name, value)?;
        let mut failed = Vec::new();
        for holder in self.holders_of(name)? {
            match self.container(&holder).and_then(|container| container.renew_secrets()) {
                // It has gone meanwhile.
                Ok(()) | Err(Error::Runtime(crate::runtime::RuntimeError::NoContainer { .. })) => {}
                Err(error) => failed.push(format!("{holder} ({})", chain(&error))),
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(SecretError::NotEverywhere { name: name.clone(), failed }.into()) }
    }

    /// Removes a secret; an error while a container is given it.
    pub fn remove_secret(&self, name: &SecretName) -> Result<(), Error> {
        secret::remove(&self.paths, name, || self.holders_of(name))
    }

    /// The containers that are given a secret.
    fn holders_of(&self, name: &SecretName) -> Result<Vec<ContainerName>, Error> {
        let records = self.records()?.into_iter();
        let has_it =
            |record: &crate::record::ContainerRecord| record.settings.secrets.iter().any(|one| one.name == *name);
        Ok(records.filter(has_it).map(|record| record.name).collect())
    }
}
