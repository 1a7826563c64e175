//! Another container like this one.
//!
//! The new container is marked as unfinished until all of it is there: for every other command it does not exist before, and what a
//! killed command left of it goes like any container that is gone.

use std::fs::File;

use jiff::Timestamp;
use rustix::fs::syncfs;
use serde_json::Value;

use super::{
    Container, boot_files,
    changes::shift_of,
    create::{create_directories, first_files, reserve, store_first, undo, warn_if_privileged},
    snapshot::Stored,
};
use crate::{
    ContainerName, Error, Hostname, Progress, SnapshotName,
    error::io_error,
    event, gateway,
    image::Store,
    network::{PoolSettings, Reservation, ReserveOptions, policy::NetworkPolicy},
    record::{ContainerRecord, OverlayKind},
    runtime::{self, overlay_dir},
    state::ContainerLock,
};

/// How to clone a container.
#[derive(Debug, Clone, Default)]
pub struct CloneOptions {
    /// As the container was in this snapshot; as it is now if absent.
    pub snapshot: Option<SnapshotName>,
}

impl Container {
    /// Makes another container with the same image, configuration and files, and with a name, an address, a MAC and ids of its own. Of
    /// a running container's files it has what they are at one moment, at which that stands still.
    ///
    /// What was given beyond the image goes along: volumes are shared, and secrets are given to both. Where the container may connect to outside is the same, too.
    /// All other network rules are for this container alone, and so is its start at the host's boot. The clone's host name is
    /// its name, and the skeleton's files are those of the clone.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use appcontainers::{CloneOptions, NoProgress, Paths, Service};
    ///
    /// let web = Service::open(Paths::from_env()?).container(&"web".parse()?)?;
    /// let trial = web.clone_as(&"trial".parse()?, &CloneOptions::default(), &NoProgress)?;
    /// trial.run("./upgrade --yes")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clone_as(
        &self,
        name: &ContainerName,
        options: &CloneOptions,
        progress: &dyn Progress,
    ) -> Result<Container, Error> {
        // Checked first, so that a wrong name makes nothing.
        let source = self.record()?;
        if let Some(snapshot) = &options.snapshot {
            Stored::open(&self.paths, &self.name, snapshot)?;
        }
        // The image may be removed with its last container meanwhile.
        let _in_use = Store::new(self.paths.clone()).keep_layers()?;
        let kind = ReserveOptions { privileged: source.privileged, durability: source.overlay.durability() };
        // The new one's lock comes before this one's: nobody who has this one's waits for that of a name that is free.
        let (lock, reservation, settings) = reserve(&self.paths, Some(name), &source.image.name, kind)?;
        gateway::forget(&self.paths, name);
        let clone = Container { paths: self.paths.clone(), name: name.clone() };
        match self.fill_clone(&clone, &lock, (&reservation, &settings), options, progress) {
            Ok(image) => {
                warn_if_privileged(name, source.privileged);
                event::note(&self.paths, name, "create", &[("image", image)]);
                let snapshot = options.snapshot.as_ref().map(|snapshot| ("snapshot", Value::from(snapshot.as_str())));
                let of = ("of", Value::from(self.name.as_str()));
                event::note(&self.paths, name, "clone", &[of].into_iter().chain(snapshot).collect::<Vec<_>>());
                Ok(clone)
            }
            Err(error) => {
                undo(&self.paths, &lock);
                Err(error)
            }
        }
    }

    /// The image's name.
    fn fill_clone(
        &self,
        clone: &Container,
        lock: &ContainerLock,
        (reservation, settings): (&Reservation, &PoolSettings),
        options: &CloneOptions,
        progress: &dyn Progress,
    ) -> Result<Value, Error> {
        let (mut record, policy) = self.copy_into(clone, reservation, options, progress)?;
        if record.overlay == OverlayKind::Raw {
            let overlays = self.paths.raw_overlays();
            let synced = File::open(&overlays).and_then(|overlays| Ok(syncfs(&overlays)?));
            synced.map_err(io_error("sync", overlays))?;
        }
        store_first(&self.paths, &record)?;
        if let Some(tar) = first_files(&self.paths, &record, reservation, settings)? {
            clone.unpack_rendered(lock, tar, false)?;
        }
        // Behind that: what was made of them here is among the files that were copied.
        boot_files::copy_kept(&self.paths, &self.name, &clone.name)?;
        if !policy.egress.is_all() {
            clone.set_egress(policy.egress)?;
        }
        record.unfinished = false;
        record.store(&self.paths)?;
        Ok(Value::from(record.image.name.as_str()))
    }

    /// Copies this container's files; the clone's record, and this one's rules.
    fn copy_into(
        &self,
        clone: &Container,
        reservation: &Reservation,
        options: &CloneOptions,
        progress: &dyn Progress,
    ) -> Result<(ContainerRecord, NetworkPolicy), Error> {
        let _lock = self.lock()?;
        let now = self.record()?;
        let upper = overlay_dir(&self.paths, &clone.name, now.overlay).join("upper");
        let to = shift_of(reservation.id_range);
        let disk = match &options.snapshot {
            None => now.settings.disk,
            Some(name) => Stored::open(&self.paths, &self.name, name)?.container.settings.disk,
        };
        create_directories(&self.paths, now.overlay, reservation, disk)?;
        let then = match &options.snapshot {
            None => {
                self.copy_upper(&now, &upper, to, progress)?;
                now
            }
            Some(name) => {
                let stored = Stored::open(&self.paths, &self.name, name)?;
                self.copy_snapshot(name, &stored, &upper, to, progress)?;
                stored.container
            }
        };
        let record = ContainerRecord {
            name: clone.name.clone(),
            created: Timestamp::now(),
            hostname: Hostname::of(&clone.name),
            phase: Some(then.phase()),
            boot: (then.overlay == OverlayKind::Tmp).then(runtime::boot::id),
            survives_stop: false,
            unfinished: true,
            autostart: false,
            app_file: None,
            ..then
        };
        Ok((record, NetworkPolicy::load(&self.paths, &self.name)?))
    }
}
