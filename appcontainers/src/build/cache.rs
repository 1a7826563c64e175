//! `build-cache/KEY.json`: which layer a step gave, a file for each. A file that is damaged, or that names a layer that is
//! gone or is not what its name says, is a step that is done again. Its time of modification is when it was last of use.

use std::{
    collections::HashSet,
    fs::{self, File, FileTimes},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use serde::{Deserialize, Serialize};

use super::hashes::Identity;
use crate::{
    Error, Paths, disk,
    error::{chain, io_error},
    image::{Digest, Layer, Store},
    runtime,
    service::Garbage,
    state::{Durability, StateError, Versioned, read, write},
};

/// How long a step is remembered that no build needs.
pub(crate) const UNUSED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a step gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// None if it changed nothing.
    layer: Option<Digest>,
    #[serde(default)]
    size_bytes: u64,
    /// The layer's file when it was known to be right.
    #[serde(default)]
    file: Option<Identity>,
}

impl Versioned for Entry {
    const KIND: &'static str = "build step's result";
    const MEND: &'static str = "the step is done again";
    const VERSION: u32 = 1;
}

/// The cache of one installation.
#[derive(Debug)]
pub(crate) struct BuildCache<'p> {
    paths: &'p Paths,
}

impl<'p> BuildCache<'p> {
    pub(crate) fn new(paths: &'p Paths) -> Self {
        Self { paths }
    }

    /// What a step gave before; `Some(None)` if that was nothing. The layer is in the store, and right.
    pub(super) fn find(&self, key: &Digest, store: &Store) -> Option<Option<Layer>> {
        let path = self.path(key);
        let entry = match read::<Entry>(&path) {
            Ok(entry) => entry?,
            Err(error) => {
                tracing::warn!("{}", chain(&error));
                return None;
            }
        };
        let used = File::open(&path).and_then(|file| file.set_times(FileTimes::new().set_modified(SystemTime::now())));
        if let Err(error) = used {
            tracing::warn!("cannot note that {} was of use: {error}", path.display());
        }
        let Some(digest) = entry.layer else { return Some(None) };
        let layer = Layer { digest, size_bytes: entry.size_bytes, offset: None };
        match self.is_right(key, &layer, &entry, store) {
            Ok(()) => Some(Some(layer)),
            Err(why) => {
                tracing::warn!("layer {} of the build cache {why}: its step is done again", digest.short());
                None
            }
        }
    }

    /// Looks at the layer's file, and reads it if it is not the one that was looked at before.
    fn is_right(&self, key: &Digest, layer: &Layer, entry: &Entry, store: &Store) -> Result<(), String> {
        match identity(store, layer) {
            Ok(file) if entry.file == Some(file) && file.size_bytes == layer.size_bytes => return Ok(()),
            Ok(_) => {}
            Err(_) if !store.layer_path(&layer.digest).exists() => return Err("is gone".to_owned()),
            Err(error) => return Err(format!("can't be looked at ({error})")),
        }
        if !store.has_layer(layer) || !store.is_whole(layer) {
            // The step's own result takes the file's place. Containers that run keep what they have open.
            if let Err(error) = runtime::unmount_layer(self.paths, &layer.digest) {
                tracing::warn!("cannot unmount layer {}: {error}", layer.digest.short());
            }
            return Err("is damaged".to_owned());
        }
        self.remember(key, Some(layer), store);
        Ok(())
    }

    /// Notes what a step gave. Where that can't be noted, the next build does the step again.
    pub(super) fn remember(&self, key: &Digest, layer: Option<&Layer>, store: &Store) {
        let file = layer.and_then(|layer| identity(store, layer).ok());
        let entry = Entry {
            layer: layer.map(|layer| layer.digest),
            size_bytes: layer.map_or(0, |layer| layer.size_bytes),
            file,
        };
        if let Err(error) = write(&self.path(key), &entry, Durability::Volatile) {
            tracing::warn!("{}: the next build does this step again", chain(&error));
        }
    }

    /// The layers that steps gave which are not to be forgotten.
    pub(crate) fn layers(&self, unused_for: Duration) -> Result<HashSet<Digest>, Error> {
        let kept = self.entries()?.into_iter().filter(|(_, path)| !is_unused(path, unused_for));
        Ok(kept.filter_map(|(_, path)| read::<Entry>(&path).ok().flatten()?.layer).collect())
    }

    /// Forgets steps that nobody has needed for `unused_for`, and what can't be read. Their layers are for `gc` then. The caller
    /// keeps builds away.
    pub(crate) fn forget(&self, unused_for: Duration, dry_run: bool) -> Result<Vec<Garbage>, Error> {
        let mut garbage = Vec::new();
        for (name, path) in self.entries()? {
            let is_entry = !name.starts_with("files-");
            let is_damaged = is_entry && matches!(read::<Entry>(&path), Err(StateError::Malformed { .. }));
            if !is_damaged && !is_unused(&path, unused_for) {
                continue;
            }
            let kind = if is_entry { "build step" } else { "list of hashes" };
            garbage.push(Garbage { kind, name, bytes: disk::usage(&path) });
            if !dry_run {
                fs::remove_file(&path).map_err(io_error("remove", &path))?;
            }
        }
        Ok(garbage)
    }

    /// Every file that builds have written, and its name without the ending.
    fn entries(&self) -> Result<Vec<(String, PathBuf)>, Error> {
        let directory = self.paths.build_cache();
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io_error("list", &directory))?,
        };
        let named = |path: PathBuf| {
            let name = path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned();
            (!name.starts_with('.')).then_some((name, path))
        };
        Ok(entries.flatten().filter_map(|entry| named(entry.path())).collect())
    }

    fn path(&self, key: &Digest) -> PathBuf {
        self.paths.build_cache().join(format!("{}.json", key.hex()))
    }
}

fn is_unused(path: &Path, unused_for: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let age = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.unwrap_or_default() >= unused_for
}

/// The layer's file, as it is now.
fn identity(store: &Store, layer: &Layer) -> io::Result<Identity> {
    let stat = statx(CWD, store.layer_path(&layer.digest), AtFlags::empty(), StatxFlags::BASIC_STATS)?;
    Ok(Identity::of(&stat))
}
