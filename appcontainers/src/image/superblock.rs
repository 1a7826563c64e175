//! The first 96 bytes of a squashfs: enough to refuse what the kernel would refuse or should not see.
//! Pure. The rest is parsed by the kernel, when the layer is mounted.

/// Length of the superblock.
pub(crate) const SUPERBLOCK_BYTES: usize = 96;

/// Why bytes are no squashfs of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSuperblock {
    /// The magic number is missing.
    #[error("it is no squashfs")]
    Magic,
    /// Not version 4.0, the only one that kernels since 2.6.29 know.
    #[error("it is a squashfs of version {major}.{minor}; only 4.0 is supported")]
    Version {
        /// The version before the dot.
        major: u16,
        /// The version behind the dot.
        minor: u16,
    },
    /// The superblock says that the file system is longer than the file.
    #[error("the squashfs says it has {bytes_used} bytes, but {size_bytes} are there: it is truncated or corrupt")]
    Size {
        /// What the superblock says.
        bytes_used: u64,
        /// What is there.
        size_bytes: u64,
    },
}

/// True if these are the first bytes of a squashfs.
pub(crate) fn has_magic(start: &[u8]) -> bool {
    start.starts_with(b"hsqs")
}

/// Checks the superblock of a squashfs that has `size_bytes` bytes, padding included; returns its length without padding.
pub(crate) fn check(start: &[u8; SUPERBLOCK_BYTES], size_bytes: u64) -> Result<u64, InvalidSuperblock> {
    if !has_magic(start) {
        return Err(InvalidSuperblock::Magic);
    }
    let short = |at: usize| u16::from_le_bytes([start[at], start[at + 1]]);
    let (major, minor) = (short(28), short(30));
    if (major, minor) != (4, 0) {
        return Err(InvalidSuperblock::Version { major, minor });
    }
    let mut bytes_used = [0; 8];
    bytes_used.copy_from_slice(&start[40..48]);
    let bytes_used = u64::from_le_bytes(bytes_used);
    match (SUPERBLOCK_BYTES as u64..=size_bytes).contains(&bytes_used) {
        true => Ok(bytes_used),
        false => Err(InvalidSuperblock::Size { bytes_used, size_bytes }),
    }
}

#[cfg(test)]
mod tests {
    use appcontainers_sys::squashfs::{Options, Writer};
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn ours_is_taken_and_a_truncated_one_is_not() {
        let writer = Writer::create(tempfile::tempfile().unwrap(), &Options::default()).unwrap();
        let (file, summary) = writer.finish().unwrap();
        let mut start = [0; SUPERBLOCK_BYTES];
        file.read_exact_at(&mut start, 0).unwrap();
        assert!(check(&start, summary.size_bytes).is_ok_and(|used| used.next_multiple_of(4096) == summary.size_bytes));
        assert!(matches!(check(&start, 100), Err(InvalidSuperblock::Size { .. })));
        start[28] = 3;
        assert!(matches!(check(&start, 4096), Err(InvalidSuperblock::Version { major: 3, .. })));
        assert_eq!(check(&[0; 96], 4096), Err(InvalidSuperblock::Magic));
    }
}
