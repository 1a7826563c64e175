//! What has happened, for those who ask.

use super::Service;
use crate::{
    Error,
    event::{Events, Since},
};

impl Service {
    /// The events of all containers, oldest first: those that are there, and those to come.
    pub fn events(&self, since: Since) -> Result<Events, Error> {
        Ok(Events::open(&self.paths, since)?)
    }
}
