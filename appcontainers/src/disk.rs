//! How much room files take.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// Bytes that a file, or a directory with all in it, takes on the disk. What can't be read counts nothing; symbolic
/// links are not followed.
pub(crate) fn usage(path: &Path) -> u64 {
    let Ok(status) = fs::symlink_metadata(path) else { return 0 };
    let own = status.blocks() * 512;
    if !status.is_dir() {
        return own;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| usage(&entry.path())).sum::<u64>()
}
