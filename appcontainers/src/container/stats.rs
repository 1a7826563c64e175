//! What the container uses.

use super::Container;
use crate::{
    Error,
    stats::{Sampler, Stats},
};

impl Container {
    /// What the container uses, and has used since it was started. One that does not run is an error.
    pub fn stats(&self) -> Result<Stats, Error> {
        let stats = Sampler::new(&self.paths).sample(&self.name)?;
        stats.ok_or_else(|| Error::NotRunning { name: self.name.clone() })
    }
}
