//! What containers use.

use super::Service;
use crate::{
    ContainerName, Error,
    stats::{Meter, Sampler, Stats},
};

impl Service {
    /// What these containers use; all that run if none is named. One that is named and does not run is an error.
    pub fn stats(&self, names: &[ContainerName]) -> Result<Vec<Stats>, Error> {
        if names.is_empty() {
            return self.running_stats();
        }
        names.iter().map(|name| self.container(name)?.stats()).collect()
    }

    /// For samples one after the other: of all containers that run, or of one whenever it does.
    pub fn meter(&self, only: Option<ContainerName>) -> Result<Meter, Error> {
        if let Some(name) = &only {
            self.container(name)?;
        }
        Ok(Meter::new(self.clone(), only))
    }

    /// Of all that run, by name; one that ends meanwhile is left out.
    pub(crate) fn running_stats(&self) -> Result<Vec<Stats>, Error> {
        let sampler = Sampler::new(&self.paths);
        let mut samples = Vec::new();
        for name in self.find_containers()?.keys() {
            samples.extend(sampler.sample(name)?);
        }
        Ok(samples)
    }
}
