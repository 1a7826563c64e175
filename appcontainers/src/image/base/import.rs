//! Makes a base of a tar, a squashfs or a directory.

use std::{fs::File, io::Read, os::unix::fs::FileExt, path::Path};

use appcontainers_sys::squashfs::{Options, Writer};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::{BaseError, fit::make_fit, register};
use crate::{
    ImageName, Progress, archive,
    image::{
        ImageConfig, Layer, Manifest, Store,
        aimg::{FOOTER_BYTES, MAGIC},
        pack::{self, PackError},
        superblock::{self, SUPERBLOCK_BYTES},
    },
};

/// Endings that are no part of a base's name.
const ENDINGS: [&str; 16] = [
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.zst",
    ".tzst",
    ".tar.xz",
    ".txz",
    ".sqfs",
    ".squashfs",
    ".sqsh",
    ".toml",
    ".gz",
    ".zst",
    ".xz",
    ".img",
    ".rootfs",
];

/// Imports a base: a tar (plain, gzip, zstd, xz), a squashfs or a directory, whatever it is called. Without a name the
/// file's makes one.
pub fn import(
    store: &Store,
    source: &Path,
    name: Option<ImageName>,
    progress: &dyn Progress,
) -> Result<Manifest, BaseError> {
    let name = name.map_or_else(|| name_from_path(source), Ok)?;
    let failed = |error| BaseError::Read { path: source.to_owned(), source: error };
    // Without NONBLOCK, opening a pipe waits for its other end.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(openat(CWD, source, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?);
    let metadata = file.metadata().map_err(failed)?;
    let _in_use = store.keep_layers()?;
    let layers = match () {
        () if metadata.is_dir() => vec![directory(store, &file, source, progress)?],
        () if metadata.is_file() => from_file(store, file, metadata.len(), source, progress)?,
        () => return Err(BaseError::NotImportable { path: source.to_owned() }),
    };
    register(store, name, layers, ImageConfig::default())
}

fn from_file(
    store: &Store,
    file: File,
    length: u64,
    source: &Path,
    progress: &dyn Progress,
) -> Result<Vec<Layer>, BaseError> {
    let failed = |error| BaseError::Read { path: source.to_owned(), source: error };
    let mut start = [0; SUPERBLOCK_BYTES];
    let has_superblock = length >= SUPERBLOCK_BYTES as u64;
    if has_superblock {
        file.read_exact_at(&mut start, 0).map_err(failed)?;
    }
    if let Some(footer) = length.checked_sub(FOOTER_BYTES) {
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, footer).map_err(failed)?;
        if magic == MAGIC {
            return Err(BaseError::IsAnImage { path: source.to_owned() });
        }
    }
    match has_superblock && superblock::has_magic(&start) {
        true => squashfs(store, file, &start, length, source, progress),
        false => Ok(vec![tar(store, file, source, progress)?]),
    }
}

fn tar(store: &Store, file: File, source: &Path, progress: &dyn Progress) -> Result<Layer, BaseError> {
    let archive = archive::open(file).map_err(|error| BaseError::Archive { path: source.to_owned(), source: error })?;
    let new = store.new_layer()?;
    let into = new.file().try_clone().map_err(BaseError::Duplicate)?;
    pack::tar(archive, into, &Options::default(), |writer| Ok(make_fit(writer)?), progress)
        .map_err(|error| not_packed(source, error))?;
    Ok(new.finish(progress)?)
}

fn directory(store: &Store, root: &File, source: &Path, progress: &dyn Progress) -> Result<Layer, BaseError> {
    let new = store.new_layer()?;
    let into = new.file().try_clone().map_err(BaseError::Duplicate)?;
    pack::directory(root, into, &Options::default(), |writer| Ok(make_fit(writer)?), progress)
        .map_err(|error| not_packed(source, error))?;
    Ok(new.finish(progress)?)
}

/// Copies the file system as it is. What it lacks comes in a second layer: without mounting it nobody knows what
/// that is, so the layer has all.
fn squashfs(
    store: &Store,
    file: File,
    start: &[u8; SUPERBLOCK_BYTES],
    length: u64,
    source: &Path,
    progress: &dyn Progress,
) -> Result<Vec<Layer>, BaseError> {
    let refused = |error| BaseError::Squashfs { path: source.to_owned(), source: error };
    let bytes_used = superblock::check(start, length).map_err(refused)?;
    let lower = store.add_layer(&mut file.take(bytes_used), progress)?;
    let new = store.new_layer()?;
    let into = new.file().try_clone().map_err(BaseError::Duplicate)?;
    mount_points(into).map_err(|error| not_packed(source, PackError::Write(error)))?;
    Ok(vec![lower, new.finish(progress)?])
}

fn mount_points(into: File) -> Result<(), appcontainers_sys::squashfs::WriteError> {
    let mut writer = Writer::create(into, &Options::default())?;
    make_fit(&mut writer)?;
    writer.finish().map(drop)
}

fn not_packed(source: &Path, error: PackError) -> BaseError {
    match error {
        PackError::Archive(error) => BaseError::Archive { path: source.to_owned(), source: error },
        error => BaseError::Pack { what: source.display().to_string(), source: error },
    }
}

/// What a file's name makes: without its endings, lower case, `-` for what no name has.
pub(super) fn name_from_path(path: &Path) -> Result<ImageName, BaseError> {
    let no_name = || BaseError::NoName { path: path.to_owned() };
    let resolved = if path.file_name().is_none() { path.canonicalize().ok() } else { None };
    let file_name = resolved.as_deref().unwrap_or(path).file_name().and_then(|name| name.to_str());
    let mut name = file_name.ok_or_else(no_name)?.to_lowercase();
    while let Some(shorter) = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)) {
        name = shorter.to_owned();
    }
    let fit = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(fit).collect();
    name.trim_start_matches(['.', '_', '-']).parse().map_err(|_| no_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_makes_a_bases() {
        let name = |path: &str| name_from_path(Path::new(path)).map(|name| name.to_string()).ok();
        assert_eq!(name("/tmp/Alpine 3.20.tar.gz").as_deref(), Some("alpine-3.20"));
        assert_eq!(name("rootfs.SQFS").as_deref(), Some("rootfs"));
        assert_eq!(name("debian/").as_deref(), Some("debian"));
        assert_eq!(name(".tar.gz"), None);
        assert_eq!(name("/"), None);
    }
}
