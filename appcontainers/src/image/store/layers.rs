//! Layers: adding, finding, removing.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use rustix::fs::{FlockOperation, flock};

use super::{Store, StoreError};
use crate::{
    Progress,
    image::{
        ALIGNMENT, Digest, Hasher, Layer,
        new_file::NewFile,
        superblock::{self, SUPERBLOCK_BYTES},
    },
    progress::Step,
};

const LAYER_PREFIX: &str = "sha256-";
const LAYER_SUFFIX: &str = ".sqfs";
/// Layers are mounted by root and read through the mount: nobody else needs the file.
const LAYER_MODE: u32 = 0o600;
const BUFFER_BYTES: usize = 256 * 1024;

/// A layer that is being written. Dropped, it is gone.
#[derive(Debug)]
pub struct NewLayer<'s> {
    store: &'s Store,
    new: NewFile,
}

impl Store {
    /// Where a layer's file is, or would be.
    pub fn layer_path(&self, digest: &Digest) -> PathBuf {
        self.paths.layer(digest)
    }

    /// Opens a layer for reading.
    pub fn open_layer(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.layer_path(digest))
    }

    /// A layer that is there, as manifests describe it. Its bytes are not read.
    pub fn layer(&self, digest: &Digest) -> Result<Layer, StoreError> {
        let path = self.layer_path(digest);
        match fs::metadata(&path) {
            Ok(file) => Ok(Layer { digest: *digest, size_bytes: file.len(), offset: None }),
            Err(source) => Err(StoreError::Io { doing: "read", path, source }),
        }
    }

    /// Keeps `gc` from removing layers that nothing refers to yet, for as long as what comes back exists.
    pub fn keep_layers(&self) -> Result<File, StoreError> {
        let path = self.paths.layers();
        let failed = |source| StoreError::Io { doing: "lock", path: path.clone(), source };
        fs::create_dir_all(&path).map_err(failed)?;
        let directory = File::open(&path).map_err(failed)?;
        flock(&directory, FlockOperation::LockShared).map_err(|errno| failed(errno.into()))?;
        Ok(directory)
    }

    /// True if the layer is there and as long as it should be. Its bytes are not read.
    pub fn has_layer(&self, layer: &Layer) -> bool {
        fs::metadata(self.layer_path(&layer.digest)).is_ok_and(|file| file.is_file() && file.len() == layer.size_bytes)
    }

    /// All layers, named by manifests or not, in the order of their digests.
    pub fn layers(&self) -> Result<Vec<Layer>, StoreError> {
        let directory = self.paths.layers();
        let failed = |source| StoreError::Io { doing: "list", path: directory.clone(), source };
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut layers = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let hex = name.to_str().and_then(|name| name.strip_prefix(LAYER_PREFIX)?.strip_suffix(LAYER_SUFFIX));
            if let Some(digest) = hex.and_then(|hex| format!("sha256:{hex}").parse().ok()) {
                let size_bytes = entry.metadata().map_err(failed)?.len();
                layers.push(Layer { digest, size_bytes, offset: None });
            }
        }
        layers.sort_by_key(|layer| layer.digest);
        Ok(layers)
    }

    /// Removes a layer. The caller knows that no manifest and no container needs it.
    pub fn remove_layer(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.layer_path(digest);
        fs::remove_file(&path).map_err(|source| StoreError::Io { doing: "remove", path, source })
    }

    /// A file that [`NewLayer::finish`] makes a layer of.
    pub fn new_layer(&self) -> Result<NewLayer<'_>, StoreError> {
        let directory = self.paths.layers();
        let new = fs::create_dir_all(&directory).and_then(|()| NewFile::create(&directory, LAYER_MODE));
        Ok(NewLayer { store: self, new: new.map_err(|source| self.cannot_write(source))? })
    }

    /// Adds a squashfs from a reader, to its end.
    pub fn add_layer(&self, squashfs: &mut dyn Read, progress: &dyn Progress) -> Result<Layer, StoreError> {
        let layer = self.new_layer()?;
        let step = Step::begin(progress, "copying a layer", None);
        copy(&mut step.reading(squashfs), &mut layer.file(), None).map_err(|error| self.failed(error))?;
        drop(step);
        layer.finish(progress)
    }

    /// Copies what must have this digest, and hashes on the way. Other bytes are not kept.
    pub(super) fn copy_layer(&self, from: &mut dyn Read, expected: &Layer) -> Result<Digest, CopyError> {
        let directory = self.paths.layers();
        fs::create_dir_all(&directory).map_err(CopyError::Write)?;
        let new = NewFile::create(&directory, LAYER_MODE).map_err(CopyError::Write)?;
        let mut hasher = Hasher::default();
        copy(from, &mut new.file(), Some(&mut hasher))?;
        let found = hasher.finish();
        if found == expected.digest {
            self.enter(new, expected).map_err(CopyError::Store)?;
        }
        Ok(found)
    }

    fn enter(&self, new: NewFile, layer: &Layer) -> Result<(), StoreError> {
        let path = self.layer_path(&layer.digest);
        if path.exists() {
            // A name says what is in it, unless the file was damaged: then the right one takes its place.
            if self.is_whole(layer) {
                return Ok(());
            }
            tracing::warn!("{} is damaged: it is replaced", path.display());
            return new.replace(&path).map_err(|source| self.cannot_write(source));
        }
        match new.link(&path) {
            // Someone was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result.map_err(|source| self.cannot_write(source)),
        }
    }

    /// Whether a layer is there, and every byte of it is right: reads it.
    pub(crate) fn is_whole(&self, layer: &Layer) -> bool {
        let mut hasher = Hasher::default();
        let read = self.open_layer(&layer.digest).and_then(|mut file| io::copy(&mut file, &mut hasher));
        read.is_ok() && hasher.finish() == layer.digest
    }

    pub(super) fn failed(&self, error: CopyError) -> StoreError {
        match error {
            CopyError::Read(source) => StoreError::ReadLayer(source),
            CopyError::Write(source) => self.cannot_write(source),
            CopyError::Store(error) => error,
        }
    }

    fn cannot_write(&self, source: io::Error) -> StoreError {
        StoreError::WriteLayer { directory: self.paths.layers(), source }
    }
}

/// Which end of a copy failed.
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
    Store(StoreError),
}

impl NewLayer<'_> {
    /// The file: empty, open for reading and writing.
    pub fn file(&self) -> &File {
        self.new.file()
    }

    /// Pads what was written to 4096 bytes, hashes it, syncs it and names it by its digest. If the store has that
    /// layer already, this one is dropped.
    pub fn finish(self, progress: &dyn Progress) -> Result<Layer, StoreError> {
        let Self { store, new } = self;
        let failed = |source| store.cannot_write(source);
        let written = new.file().metadata().map_err(failed)?.len();
        let mut start = [0; SUPERBLOCK_BYTES];
        if written >= SUPERBLOCK_BYTES as u64 {
            new.file().read_exact_at(&mut start, 0).map_err(failed)?;
        }
        superblock::check(&start, written).map_err(StoreError::NotALayer)?;
        let size_bytes = written.next_multiple_of(ALIGNMENT);
        new.file().set_len(size_bytes).map_err(failed)?;

        let mut file = new.file();
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let step = Step::begin(progress, "hashing the layer", Some(size_bytes));
        let mut hasher = Hasher::default();
        copy(&mut step.reading(file), &mut io::sink(), Some(&mut hasher)).map_err(|error| store.failed(error))?;
        drop(step);
        let layer = Layer { digest: hasher.finish(), size_bytes, offset: None };
        store.enter(new, &layer)?;
        Ok(layer)
    }
}

/// Copies to the end, and hashes what passes.
pub(super) fn copy(from: &mut dyn Read, to: &mut dyn Write, mut hasher: Option<&mut Hasher>) -> Result<(), CopyError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let bytes = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        if let Some(hasher) = &mut hasher {
            hasher.update(bytes);
        }
        to.write_all(bytes).map_err(CopyError::Write)?;
    }
}
