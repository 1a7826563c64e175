//! Why a file is no `.aimg`, or could not become one. Which file it is the caller says.

use std::io;

use crate::image::{Digest, MAX_MANIFEST_BYTES, ManifestError, superblock::InvalidSuperblock};

/// Why a file is no `.aimg`, or could not become one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AimgError {
    /// The file could not be opened or read.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// A directory, a pipe, a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// No footer at its end.
    #[error("it is not an .aimg file, or it is truncated: the footer is missing")]
    NoFooter,
    /// Written by a newer program.
    #[error("it has .aimg version {version}; this program reads version 1: use a newer one")]
    Version {
        /// The version.
        version: u32,
    },
    /// Bytes that must be zero are not.
    #[error("bytes that version 1 reserves are not zero: it is corrupt")]
    Reserved,
    /// The footer places the manifest where it can't be.
    #[error(
        "its footer places a manifest of {length} bytes at {offset}, which does not fit a file of {file_length} \
         bytes (manifests have at most {MAX_MANIFEST_BYTES}): it is truncated or corrupt"
    )]
    ManifestBounds {
        /// Where the manifest should begin.
        offset: u64,
        /// How long it should be.
        length: u64,
        /// How long the file is.
        file_length: u64,
    },
    /// The manifest's bytes have another digest.
    #[error("its manifest has digest {found}, the footer says {expected}: it is corrupt")]
    ManifestDigest {
        /// What the footer says.
        expected: Digest,
        /// What the bytes have.
        found: Digest,
    },
    /// The manifest itself is refused.
    #[error("its manifest is refused")]
    Manifest(#[source] ManifestError),
    /// A layer is not where the one before it ends.
    #[error("layer {digest} should begin at {expected}, its manifest says {found:?}: layers follow one another")]
    LayerOffset {
        /// The layer.
        digest: Digest,
        /// Where the layer before it ends.
        expected: u64,
        /// What the manifest says; nothing if the layer is left out while one before it is not.
        found: Option<u64>,
    },
    /// A layer is left out, and no base is named that could have it.
    #[error("layer {digest} is left out, but no base is named")]
    NoBase {
        /// The layer.
        digest: Digest,
    },
    /// There is something between the last layer and the manifest, or a layer reaches over it.
    #[error("its layers end at {layers_end}, its manifest begins at {manifest_offset}: they must touch")]
    LayersEnd {
        /// Where the last layer ends.
        layers_end: u64,
        /// Where the manifest begins.
        manifest_offset: u64,
    },
    /// A layer is no squashfs.
    #[error("layer {digest} is refused")]
    Superblock {
        /// The layer.
        digest: Digest,
        /// Why.
        #[source]
        source: InvalidSuperblock,
    },
    /// A layer's bytes have another digest.
    #[error("layer {expected} is corrupt: its bytes have digest {found}")]
    LayerDigest {
        /// What the manifest says.
        expected: Digest,
        /// What the bytes have.
        found: Digest,
    },
    /// A layer that shall be written has another size than the manifest says.
    #[error("layer {digest} has {found} bytes in the store, the manifest says {expected}")]
    LayerSize {
        /// The layer.
        digest: Digest,
        /// What the manifest says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A layer that shall be written can't be opened.
    #[error("cannot open layer {digest}")]
    OpenLayer {
        /// The layer.
        digest: Digest,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file's directory is not there.
    #[error("there is no directory {}", path.display())]
    NoDirectory {
        /// The directory.
        path: std::path::PathBuf,
    },
    /// The file could not be written. What was there before is unchanged.
    #[error("cannot write it")]
    Write(#[source] io::Error),
}
