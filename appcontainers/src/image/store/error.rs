//! Why the store could not do something.

use std::{io, path::PathBuf};

use super::Kind;
use crate::{
    ImageName,
    image::{AimgError, BaseReference, Digest, InvalidSuperblock, ManifestError, pack::PackError},
};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An image file is refused.
    #[error("cannot load {}", path.display())]
    Aimg {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: AimgError,
    },
    /// A thin image whose base's layers are not here.
    #[error(
        "{} is a thin image; these layers of it are not in the store: {}; {}",
        path.display(), list(missing), advice(base.as_ref())
    )]
    BaseMissing {
        /// The file.
        path: PathBuf,
        /// The layers.
        missing: Vec<Digest>,
        /// The base that has them.
        base: Option<BaseReference>,
    },
    /// The name belongs to another image.
    #[error("the name {name} is taken by another {kind}, {existing}; remove or rename that one first")]
    NameTaken {
        /// Image or base.
        kind: Kind,
        /// The name.
        name: ImageName,
        /// The digest of the image that has it.
        existing: Digest,
    },
    /// There is no image of that name.
    #[error("there is no {kind} {name}")]
    Unknown {
        /// Image or base.
        kind: Kind,
        /// The name.
        name: ImageName,
    },
    /// A stored manifest can't be read.
    #[error("the manifest of {kind} {name} is refused: remove it and load the image again")]
    Manifest {
        /// Image or base.
        kind: Kind,
        /// The name.
        name: ImageName,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A manifest that shall be stored is not valid.
    #[error("the new manifest of {name} is refused")]
    NewManifest {
        /// The image.
        name: ImageName,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A layer is named by a manifest and not there, or not as long as it should be.
    #[error("layer {digest} of {name} is not in the store; load the image that has it")]
    LayerMissing {
        /// The image.
        name: ImageName,
        /// The layer.
        digest: Digest,
    },
    /// What shall become a layer is no squashfs.
    #[error("this can't become a layer")]
    NotALayer(#[source] InvalidSuperblock),
    /// What shall become a layer can't be read.
    #[error("cannot read what shall become a layer")]
    ReadLayer(#[source] io::Error),
    /// A layer could not be written.
    #[error("cannot write a layer in {}", directory.display())]
    WriteLayer {
        /// Where layers are.
        directory: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Layers could not be made one.
    #[error("cannot make one layer of {count}: {doing}")]
    Flatten {
        /// How many.
        count: usize,
        /// The step that failed.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What the layers show together could not be packed.
    #[error("cannot make one layer of {count}")]
    PackMerged {
        /// How many.
        count: usize,
        /// Why.
        #[source]
        source: PackError,
    },
    /// Something else in the store could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn list(digests: &[Digest]) -> String {
    digests.iter().map(Digest::to_string).collect::<Vec<_>>().join(", ")
}

fn advice(base: Option<&BaseReference>) -> String {
    match base {
        Some(BaseReference { name, digest }) => {
            format!("build or import its base {name} ({digest}), or load a full image that has them")
        }
        None => "load a full image that has them".to_owned(),
    }
}
