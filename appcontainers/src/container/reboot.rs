//! Starting a container anew, with what was written in it or without.
//!
//! A fresh writable layer is made beside the present one, with the skeleton's files in it, and takes its place in one step:
//! ```text
//! upper -> upper and next (empty) -> next has the skeleton's files -> the two change places -> upper
//! ```
//! So a command that is killed leaves the one or the other, whole; `next` is what the next command removes.

use std::{fs::File, time::Duration};

use super::{Container, create::first_files};
use crate::{
    Error, event,
    network::{PoolSettings, Reservation, ReservationError, Reservations},
    record::OverlayKind,
    runtime::{self, Status},
    state::ContainerLock,
};

impl Container {
    /// Stops the container if it runs, and starts it: its name, address, MAC, ids and configuration stay, and so does its log.
    /// With `fresh` all that was written in it is dropped in between: it has its image's files, and those of the skeleton
    /// as it is now. If that fails, the container has its old files, and runs if it did.
    pub fn reboot(&self, fresh: bool, timeout: Duration) -> Result<(), Error> {
        if !fresh {
            return self.restart(timeout);
        }
        let was_running = self.status()? == Status::Running;
        // What can't be rendered stops no container.
        self.rendered_skeleton()?;
        let lock = loop {
            self.stop_to_start(timeout)?;
            let lock = self.lock()?;
            // Another command may have started it meanwhile.
            if self.status()?.can_start() {
                break lock;
            }
        };
        let renewed = self.renew(&lock);
        drop(lock);
        if renewed.is_ok() {
            return self.start_unless_running();
        }
        if let Err(undo) = self.back_after_failure(was_running) {
            tracing::warn!(name = %self.name, %undo, "cannot start the container again with its old files");
        }
        renewed
    }

    /// Gives a container that does not run an empty writable layer, with the skeleton's files.
    pub(super) fn renew(&self, lock: &ContainerLock) -> Result<(), Error> {
        let (files, reservation) = self.rendered_skeleton()?;
        let record = self.record()?;
        runtime::begin_renewal(&self.paths, &record, reservation.id_range)?;
        let made = files.map_or(Ok(()), |tar| self.unpack_rendered(lock, tar, true));
        if let Err(error) = made {
            if let Err(undo) = runtime::abandon_renewal(&self.paths, &self.name) {
                tracing::warn!(name = %self.name, %undo, "cannot remove a layer that was not made; the next command will");
            }
            return Err(error);
        }
        runtime::complete_renewal(&self.paths, &record)?;
        event::note(&self.paths, &self.name, "renew", &[]);
        Ok(())
    }

    pub(super) fn rendered_skeleton(&self) -> Result<(Option<File>, Reservation), Error> {
        let reservations = Reservations::read(&self.paths)?;
        let unknown = || ReservationError::Unknown { name: self.name.clone() };
        let reservation = reservations.get(&self.name).ok_or_else(unknown)?;
        let settings: &PoolSettings = reservations.settings();
        let files = first_files(&self.paths, &self.record()?, &reservation, settings)?;
        Ok((files, reservation))
    }

    pub(super) fn back_after_failure(&self, was_running: bool) -> Result<(), Error> {
        if was_running {
            return self.start_unless_running();
        }
        if self.record()?.overlay == OverlayKind::Tmp {
            self.update(|record| {
                record.survives_stop = false;
                Ok(())
            })?;
        }
        Ok(())
    }
}
