//! Writes an `.aimg`: whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::{fs::copy_file_range, io::Errno};

use super::{AimgError, Footer};
use crate::{
    Progress,
    image::{
        ALIGNMENT, Digest, Layer, Manifest,
        new_file::{NewFile, parent},
    },
    progress::Step,
};

/// The kernel copies so much at once; between two, progress is told.
const CHUNK_BYTES: u64 = 16 * 1024 * 1024;

/// Which layers a file carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carry {
    /// All: the file needs nothing else.
    All,
    /// A thin image: all but so many of the lowest, which are the base's.
    AllButLowest(usize),
}

/// Writes `manifest` and its layers to `dest`, over what is there. Whatever happens, `dest` is then a whole image or
/// what it was before, and nothing else is left. `open_layer` gives a layer's file; its bytes are shared with
/// the new file where the file system can do that, and are not hashed again. Returns the length of the file.
pub fn write(
    dest: &Path,
    manifest: &Manifest,
    carry: Carry,
    open_layer: impl Fn(&Digest) -> io::Result<File>,
    progress: &dyn Progress,
) -> Result<u64, AimgError> {
    let left_out = match carry {
        Carry::All => 0,
        Carry::AllButLowest(count) => count,
    };
    let (manifest, layers_end) = lay_out(manifest, left_out)?;
    let json = manifest.to_json().map_err(AimgError::Manifest)?;
    let footer =
        Footer { manifest_offset: layers_end, manifest_length: json.len() as u64, manifest_digest: Digest::of(&json) };
    let dest = final_path(dest)?;
    let directory = parent(&dest);
    let new = NewFile::create(directory, 0o666).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => AimgError::NoDirectory { path: directory.to_owned() },
        _ => AimgError::Write(source),
    })?;

    let step = Step::begin(progress, "writing the image", Some(layers_end));
    for layer in manifest.layers.iter().filter(|layer| layer.offset.is_some()) {
        let source =
            open_layer(&layer.digest).map_err(|source| AimgError::OpenLayer { digest: layer.digest, source })?;
        let found = source.metadata().map_err(AimgError::Read)?.len();
        if found != layer.size_bytes {
            return Err(AimgError::LayerSize { digest: layer.digest, expected: layer.size_bytes, found });
        }
        append(&source, new.file(), found, &step).map_err(AimgError::Write)?;
    }
    drop(step);

    let padding = json.len().next_multiple_of(ALIGNMENT as usize) - json.len();
    let tail = [json.as_slice(), &vec![0; padding], &footer.encode()].concat();
    new.file().write_all_at(&tail, layers_end).map_err(AimgError::Write)?;
    new.replace(&dest).map_err(AimgError::Write)?;
    Ok(layers_end + tail.len() as u64)
}

/// Gives the layers their offsets; returns where they end, too.
fn lay_out(manifest: &Manifest, left_out: usize) -> Result<(Manifest, u64), AimgError> {
    manifest.validate().map_err(AimgError::Manifest)?;
    let mut manifest = manifest.in_store();
    if let Some(Layer { digest, .. }) = manifest.layers.first().filter(|_| left_out > 0 && manifest.base.is_none()) {
        return Err(AimgError::NoBase { digest: *digest });
    }
    let mut end = 0;
    for layer in manifest.layers.iter_mut().skip(left_out) {
        layer.offset = Some(end);
        end += layer.size_bytes;
    }
    Ok((manifest, end))
}

/// `dest`, or what it links to; an error if it is something that can't be replaced by a file.
fn final_path(dest: &Path) -> Result<PathBuf, AimgError> {
    match fs::symlink_metadata(dest) {
        Ok(metadata) if metadata.is_symlink() => {
            let target = fs::canonicalize(dest).map_err(AimgError::Write)?;
            if target.is_file() { Ok(target) } else { Err(AimgError::NotAFile) }
        }
        Ok(metadata) if !metadata.is_file() => Err(AimgError::NotAFile),
        _ => Ok(dest.to_owned()),
    }
}

/// Appends `length` bytes of `source`. copy_file_range shares extents where the file system can (FICLONERANGE is what
/// it tries first) and copies within the kernel where it can't; between two file systems the bytes pass through here.
fn append(mut source: &File, mut dest: &File, length: u64, step: &Step<'_>) -> io::Result<()> {
    source.seek(SeekFrom::Start(0))?;
    let mut left = length;
    while left > 0 {
        match copy_file_range(source, None, dest, None, left.min(CHUNK_BYTES) as usize) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                left -= count as u64;
                step.advance(count as u64);
            }
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                let copied = io::copy(&mut step.reading(source.take(left)), &mut dest)?;
                return if copied == left { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    dest.flush()
}
