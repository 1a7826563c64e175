//! What a build does in a container of its own: a step after the other, each of which becomes a layer.
//!
//! The container is ephemeral but outlives its stops: between two steps it is stopped, its writable layer is packed, and
//! an empty one takes its place, on the layer that came of it. What a killed build leaves, `gc` and the next build remove.

use appcontainers_sys::squashfs;
use appcontainers_wire::ExitStatus;

use super::{Container, lifecycle::DEFAULT_STOP_TIMEOUT, monitor};
use crate::{
    Error, Progress,
    image::{Layer, Store, pack::LeftOut},
    network::{ReservationError, Reservations},
    process::{Command, RunStreams},
    runtime,
};

impl Container {
    /// Runs a step's command in the container, which is stopped before and afterwards.
    pub(crate) fn run_step(&self, command: Command, streams: RunStreams) -> Result<ExitStatus, Error> {
        let status = self.run_with(command, streams)?;
        Ok(monitor::wait_ended(&self.paths, &self.name, DEFAULT_STOP_TIMEOUT * 2).map(|()| status)?)
    }

    /// Says on which layers the next step stands.
    pub(crate) fn stand_on(&self, layers: &[Layer]) -> Result<(), Error> {
        let layers: Vec<_> = layers.iter().map(|layer| layer.digest).collect();
        if self.record()?.layers == layers {
            return Ok(());
        }
        self.update(|record| {
            record.layers = layers;
            Ok(())
        })
    }

    /// Makes a layer of what was written since the last one, and puts it below an empty writable layer. None if nothing was
    /// written, or what the uppermost layer has already. `options` says how to pack at each try: a layer
    /// that the container has further below would stand in its overlay twice.
    pub(crate) fn take_layer(
        &self,
        store: &Store,
        options: impl Fn(u32) -> squashfs::Options,
        progress: &dyn Progress,
    ) -> Result<(Option<Layer>, Vec<LeftOut>), Error> {
        let lock = self.lock()?;
        self.check_can_start()?;
        let mut record = self.record()?;
        let mut tries = 0;
        let (layer, left_out) = loop {
            let (layer, left_out) = self.pack(&record, store, &options(tries), progress)?;
            let Some(layer) = layer.filter(|layer| record.layers.last() != Some(&layer.digest)) else {
                break (None, left_out);
            };
            if !record.layers.contains(&layer.digest) {
                break (Some(layer), left_out);
            }
            tries += 1;
        };
        let reservations = Reservations::read(&self.paths)?;
        let unknown = || ReservationError::Unknown { name: self.name.clone() };
        let range = reservations.get(&self.name).ok_or_else(unknown)?.id_range;
        runtime::begin_renewal(&self.paths, &record, range)?;
        runtime::complete_renewal(&self.paths, &record)?;
        if let Some(layer) = &layer {
            record.layers.push(layer.digest);
            record.store(&self.paths)?;
        }
        drop(lock);
        Ok((layer, left_out))
    }
}
