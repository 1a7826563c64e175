//! What was written in a container.

use std::fs::File;

use super::Container;
use crate::{
    Error, FileChange,
    error::io_error,
    image::pack::IdShift,
    network::{IdRange, ReservationError, Reservations},
    overlay,
    runtime::{mount_layer, overlay_dir},
};

impl Container {
    /// What differs from the image, by path. It is read while others may write.
    pub fn changes(&self) -> Result<Vec<FileChange>, Error> {
        let record = self.record()?;
        if record.settings.disk.is_some() {
            // After the host's boot, it may not be mounted yet.
            drop(self.lock()?);
        }
        let upper = overlay_dir(&self.paths, &self.name, record.overlay).join("upper");
        let upper = File::open(&upper).map_err(io_error("open", &upper))?;
        let mut lowers = Vec::with_capacity(record.layers.len());
        for digest in record.layers.iter().rev() {
            // The open directory keeps the mount alive when others unmount it.
            let _mounted = mount_layer(&self.paths, &self.name, digest)?;
            let path = self.paths.layer_mount(digest);
            lowers.push(File::open(&path).map_err(io_error("open", &path))?);
        }
        let changes = overlay::changes(&upper, &lowers, self.id_shift()?);
        changes.map_err(|source| Error::Pack { name: self.name.clone(), source })
    }

    /// How the host sees the container's ids.
    pub(super) fn id_shift(&self) -> Result<IdShift, Error> {
        let reservation = Reservations::read(&self.paths)?
            .get(&self.name)
            .ok_or_else(|| ReservationError::Unknown { name: self.name.clone() })?;
        Ok(shift_of(reservation.id_range))
    }
}

/// How the host sees the ids of a range; none is a privileged container's.
pub(super) fn shift_of(range: Option<IdRange>) -> IdShift {
    range.map_or(IdShift::NONE, |range| IdShift { first: range.base(), count: range.count() })
}
