//! Manifests: which names there are and what they mean.

use std::{
    fmt, fs,
    io::{self, Write},
    path::PathBuf,
};

use super::{Store, StoreError};
use crate::{
    ImageName,
    image::{Digest, Manifest, new_file::NewFile},
};

const SUFFIX: &str = ".json";

/// Where a name is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `images/bases`.
    Base,
    /// `images/user`.
    Image,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Image => "image",
        })
    }
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// The name is new.
    New,
    /// The name had this very image already.
    Already,
}

impl Store {
    /// The manifest of a name; an error if there is none.
    pub fn manifest(&self, kind: Kind, name: &ImageName) -> Result<Manifest, StoreError> {
        self.find(kind, name)?.ok_or_else(|| StoreError::Unknown { kind, name: name.clone() })
    }

    /// The manifest of a name, if there is one.
    pub fn find(&self, kind: Kind, name: &ImageName) -> Result<Option<Manifest>, StoreError> {
        let path = self.manifest_path(kind, name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Io { doing: "read", path, source }),
        };
        match Manifest::parse(&bytes) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(source) => Err(StoreError::Manifest { kind, name: name.clone(), source }),
        }
    }

    /// All names of a kind, sorted. Files that are named like no manifest are passed over.
    pub fn names(&self, kind: Kind) -> Result<Vec<ImageName>, StoreError> {
        let path = self.directory(kind);
        let failed = |source| StoreError::Io { doing: "list", path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok()));
        }
        names.sort();
        Ok(names)
    }

    /// Gives an image its name. The name must be free or mean this image already; all layers must be there.
    pub fn register(&self, kind: Kind, manifest: &Manifest) -> Result<Registered, StoreError> {
        let manifest = manifest.in_store();
        let name = &manifest.name;
        let refused = |source| StoreError::NewManifest { name: name.clone(), source };
        let json = manifest.to_json().map_err(refused)?;
        self.check_layers(&manifest)?;

        let (path, directory) = (self.manifest_path(kind, name), self.directory(kind));
        let written = fs::create_dir_all(&directory).and_then(|()| {
            let new = NewFile::create(&directory, 0o600)?;
            new.file().write_all(&json)?;
            new.link(&path)
        });
        match written {
            Ok(()) => Ok(Registered::New),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let existing = self.manifest(kind, name)?.digest().map_err(refused)?;
                match existing == Digest::of(&json) {
                    true => Ok(Registered::Already),
                    false => Err(StoreError::NameTaken { kind, name: name.clone(), existing }),
                }
            }
            Err(source) => Err(StoreError::Io { doing: "write", path, source }),
        }
    }

    /// Gives an image its name, whatever had it before. All layers must be there.
    pub(crate) fn replace(&self, kind: Kind, manifest: &Manifest) -> Result<(), StoreError> {
        let manifest = manifest.in_store();
        let json =
            manifest.to_json().map_err(|source| StoreError::NewManifest { name: manifest.name.clone(), source })?;
        self.check_layers(&manifest)?;
        let (path, directory) = (self.manifest_path(kind, &manifest.name), self.directory(kind));
        let written = fs::create_dir_all(&directory).and_then(|()| {
            let new = NewFile::create(&directory, 0o600)?;
            new.file().write_all(&json)?;
            new.replace(&path)
        });
        written.map_err(|source| StoreError::Io { doing: "write", path, source })
    }

    /// Checks that every layer of an image is there and as long as it should be.
    pub fn check_layers(&self, manifest: &Manifest) -> Result<(), StoreError> {
        match manifest.layers.iter().find(|layer| !self.has_layer(layer)) {
            None => Ok(()),
            Some(layer) => Err(StoreError::LayerMissing { name: manifest.name.clone(), digest: layer.digest }),
        }
    }

    /// Takes a name away. Its layers stay until nothing needs them.
    pub fn remove(&self, kind: Kind, name: &ImageName) -> Result<(), StoreError> {
        let path = self.manifest_path(kind, name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Unknown { kind, name: name.clone() })
            }
            result => result.map_err(|source| StoreError::Io { doing: "remove", path, source }),
        }
    }

    fn directory(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Base => self.paths.bases(),
            Kind::Image => self.paths.user_images(),
        }
    }

    fn manifest_path(&self, kind: Kind, name: &ImageName) -> PathBuf {
        self.directory(kind).join(format!("{name}{SUFFIX}"))
    }
}
