//! Reads an `.aimg` and believes nothing of it.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::{AimgError, FOOTER_BYTES, Footer};
use crate::{
    Progress,
    image::{
        Digest, Hasher, Layer, Manifest,
        superblock::{self, SUPERBLOCK_BYTES},
    },
    progress::Step,
};

/// An open `.aimg` whose structure was checked: footer, manifest, where layers lie and how they begin.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{NoProgress, image::Aimg};
///
/// let image = Aimg::open("app.aimg".as_ref())?;
/// println!("{} for {}", image.manifest().name, image.manifest().architecture);
/// image.verify_layers(&NoProgress)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Aimg {
    file: File,
    manifest: Manifest,
    length: u64,
}

impl Aimg {
    /// Opens a file and checks all but the layers' digests.
    pub fn open(path: &Path) -> Result<Self, AimgError> {
        // Without NONBLOCK, opening a pipe waits for its other end.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = openat(CWD, path, flags, Mode::empty()).map_err(|errno| AimgError::Read(errno.into()))?;
        Self::read(file.into())
    }

    /// As [`Aimg::open`], of an open file.
    pub fn read(file: File) -> Result<Self, AimgError> {
        let metadata = file.metadata().map_err(AimgError::Read)?;
        if !metadata.is_file() {
            return Err(AimgError::NotAFile);
        }
        let length = metadata.len();
        let mut footer = [0; FOOTER_BYTES as usize];
        let footer_offset = length.checked_sub(FOOTER_BYTES).ok_or(AimgError::NoFooter)?;
        file.read_exact_at(&mut footer, footer_offset).map_err(AimgError::Read)?;
        let footer = Footer::decode(&footer, length)?;

        // The decoder has bounded this length.
        let mut padded = vec![0; (footer_offset - footer.manifest_offset) as usize];
        file.read_exact_at(&mut padded, footer.manifest_offset).map_err(AimgError::Read)?;
        let (manifest, padding) = padded.split_at(footer.manifest_length as usize);
        let found = Digest::of(manifest);
        if found != footer.manifest_digest {
            return Err(AimgError::ManifestDigest { expected: footer.manifest_digest, found });
        }
        if padding.iter().any(|byte| *byte != 0) {
            return Err(AimgError::Reserved);
        }
        let manifest = Manifest::parse(manifest).map_err(AimgError::Manifest)?;
        check_layout(&manifest, footer.manifest_offset)?;
        let aimg = Self { file, manifest, length };
        aimg.carried().try_for_each(|(layer, offset)| aimg.check_superblock(layer, offset))?;
        Ok(aimg)
    }

    /// The manifest, offsets and all.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Length of the file.
    pub fn size_bytes(&self) -> u64 {
        self.length
    }

    /// True if layers are left out.
    pub fn is_thin(&self) -> bool {
        self.left_out().next().is_some()
    }

    /// The layers that are in the file, and where.
    pub fn carried(&self) -> impl Iterator<Item = (&Layer, u64)> {
        self.manifest.layers.iter().filter_map(|layer| Some((layer, layer.offset?)))
    }

    /// The layers that the base must have.
    pub fn left_out(&self) -> impl Iterator<Item = &Layer> {
        self.manifest.layers.iter().filter(|layer| layer.offset.is_none())
    }

    /// Reads every layer and compares its digest.
    pub fn verify_layers(&self, progress: &dyn Progress) -> Result<(), AimgError> {
        let total = self.carried().map(|(layer, _)| layer.size_bytes).sum();
        let step = Step::begin(progress, "verifying layers", Some(total));
        for (layer, offset) in self.carried() {
            let mut hasher = Hasher::default();
            io::copy(&mut step.reading(self.section(offset, layer.size_bytes)), &mut hasher)
                .map_err(AimgError::Read)?;
            let found = hasher.finish();
            if found != layer.digest {
                return Err(AimgError::LayerDigest { expected: layer.digest, found });
            }
        }
        Ok(())
    }

    /// A part of the file.
    pub(crate) fn section(&self, offset: u64, length: u64) -> Section<'_> {
        Section { file: &self.file, offset, end: offset + length }
    }

    fn check_superblock(&self, layer: &Layer, offset: u64) -> Result<(), AimgError> {
        let mut start = [0; SUPERBLOCK_BYTES];
        self.file.read_exact_at(&mut start, offset).map_err(AimgError::Read)?;
        superblock::check(&start, layer.size_bytes)
            .map(drop)
            .map_err(|source| AimgError::Superblock { digest: layer.digest, source })
    }
}

/// First the layers that are left out, then those carried, one behind the other from 0 to the manifest. So no
/// byte of the file is outside of what a digest covers.
fn check_layout(manifest: &Manifest, manifest_offset: u64) -> Result<(), AimgError> {
    let mut layers_end = 0;
    for Layer { digest, size_bytes, offset } in &manifest.layers {
        let digest = *digest;
        match *offset {
            None if manifest.base.is_none() => return Err(AimgError::NoBase { digest }),
            None if layers_end == 0 => {}
            Some(offset) if offset == layers_end => layers_end += size_bytes,
            found => return Err(AimgError::LayerOffset { digest, expected: layers_end, found }),
        }
    }
    match layers_end == manifest_offset {
        true => Ok(()),
        false => Err(AimgError::LayersEnd { layers_end, manifest_offset }),
    }
}

/// Reads a part of a file without moving the file's own position. A part that the file does not have any more
/// is an error, not an end.
pub(crate) struct Section<'f> {
    file: &'f File,
    offset: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.end - self.offset).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        if count == 0 && wanted != 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        Ok(count)
    }
}
