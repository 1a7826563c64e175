//! How much a container can write.

use std::{fs::File, os::fd::AsFd};

use super::{Container, changes::shift_of};
use crate::{
    Error, NoProgress, Progress,
    disk_image::{self, DiskImageError},
    error::io_error,
    network::{ReservationError, Reservations},
    overlay::{self, Shift},
    progress::Step,
    record::ContainerRecord,
    runtime::{self, RuntimeError, Status},
};

impl Container {
    /// Limits how much the container can write (its files beside the image's, without volumes) to so many bytes; that room is taken
    /// from the host's disk at once. More than it had is given also while it runs. A first limit, or a lower one, needs
    /// a container that is stopped, and room for what it has written.
    pub fn set_disk(&self, bytes: u64) -> Result<(), Error> {
        self.set_disk_with(bytes, &NoProgress)
    }

    /// As [`Container::set_disk`], for who wants to hear how far it is.
    pub fn set_disk_with(&self, bytes: u64, progress: &dyn Progress) -> Result<(), Error> {
        let of_disk = |source: DiskImageError| Error::from(RuntimeError::Disk { name: self.name.clone(), source });
        disk_image::check_size(bytes).map_err(of_disk)?;
        let _lock = self.lock()?;
        let mut record = self.record()?;
        let is_stopped = self.status()? == Status::Stopped;
        match record.settings.disk {
            // Also of the same size: one that was begun and not completed.
            Some(present) if present <= bytes => match runtime::grow_disk(&self.paths, &self.name, bytes) {
                Err(RuntimeError::Disk { source: DiskImageError::MayNotGrow, .. }) if is_stopped => {
                    self.copy_to_disk(&record, bytes, progress)?;
                }
                grown => grown?,
            },
            _ if is_stopped => self.copy_to_disk(&record, bytes, progress)?,
            present => {
                return Err(Error::DiskOfRunning { name: self.name.clone(), has_one: present.is_some() });
            }
        }
        record.settings.disk = Some(bytes);
        Ok(record.store(&self.paths)?)
    }

    /// Gives a container that does not run another disk, with the files that it has.
    fn copy_to_disk(&self, record: &ContainerRecord, bytes: u64, progress: &dyn Progress) -> Result<(), Error> {
        let range = Reservations::read(&self.paths)?
            .get(&self.name)
            .ok_or_else(|| ReservationError::Unknown { name: self.name.clone() })?
            .id_range;
        let ids = shift_of(range);
        runtime::replace_disk(&self.paths, &self.name, record.overlay, range, bytes, |upper, dest| {
            let step = Step::begin(progress, "copying the container's files", None);
            let source = File::open(upper).map_err(io_error("open", upper))?;
            let copied = overlay::copy(source.as_fd(), dest.as_fd(), Shift { from: ids, to: ids }, &step);
            copied.map(drop).map_err(|source| Error::DiskTooSmall { name: self.name.clone(), bytes, source })
        })
    }
}
