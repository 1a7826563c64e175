//! Where the room goes.

use serde::Serialize;

use super::Service;
use crate::{
    Error, build, container, disk,
    runtime::{self, overlay_dir},
    volume,
};

/// How much room the installation takes.
#[derive(Debug, Clone, Serialize)]
pub struct DiskUsage {
    /// By kind.
    pub parts: Vec<UsagePart>,
}

/// How much room one kind of thing takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsagePart {
    /// What kind.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// All together, on the disk.
    pub size_bytes: u64,
    /// What [`Service::gc`] would give back: what no container, image or base refers to.
    pub reclaimable_bytes: u64,
}

impl Service {
    /// How much room layers, overlays, snapshots and logs take on the disk.
    pub fn disk_usage(&self) -> Result<DiskUsage, Error> {
        Ok(DiskUsage {
            parts: vec![
                self.layer_usage()?,
                self.overlay_usage()?,
                self.snapshot_usage()?,
                self.volume_usage()?,
                self.log_usage()?,
            ],
        })
    }

    fn layer_usage(&self) -> Result<UsagePart, Error> {
        let used = self.referenced_layers(build::UNUSED_FOR)?;
        let mut part = UsagePart { kind: "layers", count: 0, size_bytes: 0, reclaimable_bytes: 0 };
        for layer in self.store().layers()? {
            part.add(layer.size_bytes, !used.contains(&layer.digest));
        }
        Ok(part)
    }

    fn overlay_usage(&self) -> Result<UsagePart, Error> {
        let mut part = UsagePart { kind: "overlays", count: 0, size_bytes: 0, reclaimable_bytes: 0 };
        for record in self.records()? {
            // A limited one takes its room whether there is anything in it or not.
            let path = match record.settings.disk {
                Some(_) => runtime::disk_file(&self.paths, &record.name),
                None => overlay_dir(&self.paths, &record.name, record.overlay),
            };
            part.add(disk::usage(&path), false);
        }
        Ok(part)
    }

    /// Blocks that a snapshot shares with its container are counted for both: no other program tells them apart either.
    fn snapshot_usage(&self) -> Result<UsagePart, Error> {
        let mut part = UsagePart { kind: "snapshots", count: 0, size_bytes: 0, reclaimable_bytes: 0 };
        for record in self.records()? {
            for (path, is_whole) in container::snapshot_directories(&self.paths, &record.name)? {
                part.add(disk::usage(&path), !is_whole);
            }
        }
        Ok(part)
    }

    /// With their snapshots.
    fn volume_usage(&self) -> Result<UsagePart, Error> {
        let mut part = UsagePart { kind: "volumes", count: 0, size_bytes: 0, reclaimable_bytes: 0 };
        for name in volume::names(&self.paths)? {
            part.add(disk::usage(&self.paths.volumes().join(name.as_str())), false);
        }
        Ok(part)
    }

    fn log_usage(&self) -> Result<UsagePart, Error> {
        let mut part = UsagePart { kind: "logs", count: 0, size_bytes: 0, reclaimable_bytes: 0 };
        for record in self.records()? {
            part.add(disk::usage(&self.paths.container_log(&record.name)), false);
        }
        Ok(part)
    }
}

impl UsagePart {
    fn add(&mut self, bytes: u64, reclaimable: bool) {
        self.count += 1;
        self.size_bytes += bytes;
        if reclaimable {
            self.reclaimable_bytes += bytes;
        }
    }
}
