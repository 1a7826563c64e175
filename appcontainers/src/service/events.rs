//! What has happened, for those who ask.

use super::Service;
use crate::{
    Error,
    event::{Events, Since},
    life::Hooks,
};

impl Service {
    /// The events of all containers, oldest first: those that are there, and those to come.
    pub fn events(&self, since: Since) -> Result<Events, Error> {
        Ok(Events::open(&self.paths, since)?)
    }

    /// Callbacks of a program on what happens, with a cursor that is kept by its name: none is missed while the program is away. One
    /// program at a time has a cursor.
    pub fn hooks<'a>(&self, cursor: &str) -> Result<Hooks<'a>, Error> {
        Hooks::open(&self.paths, cursor.parse()?)
    }
}
