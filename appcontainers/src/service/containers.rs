//! All containers, also those whose files on the host can't be read.

use std::{collections::BTreeMap, fs, io};

use super::Service;
use crate::{
    ContainerDetails, ContainerName, Error,
    container::{complete_renaming_of, details},
    error::io_error,
    network::Reservations,
    record::ContainerRecord,
    runtime,
};

/// A container of [`Service::containers`].
#[derive(Debug)]
pub struct ListedContainer {
    /// Its name.
    pub name: ContainerName,
    /// All that is known of it, or why that can't be read: until that is mended, the container can only be removed, by
    /// force.
    pub details: Result<ContainerDetails, Error>,
}

impl Service {
    /// All containers, by name. One that can't be read does not hide the others.
    pub fn containers(&self) -> Result<Vec<ListedContainer>, Error> {
        let found = self.find_containers()?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let reservations = Reservations::read(&self.paths)?;
        // One that was removed between the two reads has a record and no reservation.
        let there = found.into_iter().filter(|(name, record)| record.is_err() || reservations.get(name).is_some());
        let listed = there.map(|(name, record)| {
            let details = record.and_then(|record| details(&self.paths, record, &reservations));
            ListedContainer { name, details }
        });
        Ok(listed.collect())
    }

    /// The records of all containers, by name. One that can't be read is an error: whoever removes what no container
    /// has must know what all have.
    pub(crate) fn records(&self) -> Result<Vec<ContainerRecord>, Error> {
        self.find_containers()?.into_values().collect()
    }

    /// All containers, each with its record or why that can't be read.
    pub(super) fn find_containers(&self) -> Result<BTreeMap<ContainerName, Result<ContainerRecord, Error>>, Error> {
        let directory = self.paths.containers();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(io_error("list", &directory)(error)),
        };
        let mut found = BTreeMap::new();
        for name in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<ContainerName>().ok()) {
            match self.find_container(&name) {
                Ok(None) => {}
                // One that is being renamed may be seen under both names.
                Ok(Some(record)) => drop(found.entry(record.name.clone()).or_insert(Ok(record))),
                Err(error) => drop(found.insert(name, Err(error))),
            }
        }
        Ok(found)
    }

    /// The record in the directory of `name`; none if the container has gone or is not made yet.
    fn find_container(&self, name: &ContainerName) -> Result<Option<ContainerRecord>, Error> {
        let load = |name| ContainerRecord::load(&self.paths, name);
        let record = match load(name)? {
            // It has the new name afterwards, or its old one again.
            Some(record) if record.name != *name => {
                complete_renaming_of(&self.paths, name)?;
                load(name)?.map_or_else(|| load(&record.name), |record| Ok(Some(record)))?
            }
            record => record,
        };
        match record {
            Some(record) if !runtime::is_gone(&self.paths, &record)? => Ok(Some(record)),
            _ => Ok(None),
        }
    }
}
