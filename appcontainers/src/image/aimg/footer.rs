//! The last 4096 bytes of an `.aimg`. Pure; `docs/aimg.md` is its specification.

use super::AimgError;
use crate::image::{ALIGNMENT, Digest, MAX_MANIFEST_BYTES};

/// Length of the footer.
pub const FOOTER_BYTES: u64 = 4096;
/// What the footer begins with.
pub const MAGIC: [u8; 8] = *b"APPCAIMG";
/// The version that is read and written.
pub const FORMAT_VERSION: u32 = 1;

/// Where the manifest is, and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Where the manifest begins: a multiple of 4096.
    pub manifest_offset: u64,
    /// Its length in bytes.
    pub manifest_length: u64,
    /// Its sha256.
    pub manifest_digest: Digest,
}

impl Footer {
    /// The footer as it stands in the file.
    pub fn encode(&self) -> [u8; FOOTER_BYTES as usize] {
        let mut bytes = [0; FOOTER_BYTES as usize];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.manifest_offset.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.manifest_length.to_le_bytes());
        bytes[32..64].copy_from_slice(self.manifest_digest.as_bytes());
        bytes
    }

    /// Reads a footer and checks it against the length of the file that it ends.
    pub fn decode(bytes: &[u8; FOOTER_BYTES as usize], file_length: u64) -> Result<Self, AimgError> {
        if bytes[0..8] != MAGIC {
            return Err(AimgError::NoFooter);
        }
        let version = u32::from_le_bytes(field(bytes, 8));
        if version != FORMAT_VERSION {
            return Err(AimgError::Version { version });
        }
        // Flags at 12, reserved from 64 and a signature's room from 2048: nothing in version 1.
        if bytes[12..16].iter().chain(&bytes[64..]).any(|byte| *byte != 0) {
            return Err(AimgError::Reserved);
        }
        let footer = Self {
            manifest_offset: u64::from_le_bytes(field(bytes, 16)),
            manifest_length: u64::from_le_bytes(field(bytes, 24)),
            manifest_digest: Digest::from_hash(field(bytes, 32)),
        };
        let Self { manifest_offset: offset, manifest_length: length, .. } = footer;
        let fits = (1..=MAX_MANIFEST_BYTES).contains(&length)
            && offset.is_multiple_of(ALIGNMENT)
            && footer.file_length() == Some(file_length);
        if fits { Ok(footer) } else { Err(AimgError::ManifestBounds { offset, length, file_length }) }
    }

    /// How long the file is, if that can be counted: the manifest is padded to 4096 and the footer follows.
    pub fn file_length(&self) -> Option<u64> {
        let end = self.manifest_offset.checked_add(self.manifest_length)?;
        end.checked_next_multiple_of(ALIGNMENT)?.checked_add(FOOTER_BYTES)
    }
}

fn field<const N: usize>(bytes: &[u8; FOOTER_BYTES as usize], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        Footer { manifest_offset: 8192, manifest_length: 5000, manifest_digest: Digest::of(b"manifest") }
    }

    #[test]
    fn the_bytes_are_what_the_specification_says() {
        let bytes = footer().encode();
        assert_eq!(&bytes[..32], b"APPCAIMG\x01\0\0\0\0\0\0\0\0\x20\0\0\0\0\0\0\x88\x13\0\0\0\0\0\0");
        assert_eq!(&bytes[32..64], Digest::of(b"manifest").as_bytes());
        assert!(bytes[64..].iter().all(|byte| *byte == 0));
        assert_eq!(Footer::decode(&bytes, 8192 + 8192 + 4096).unwrap(), footer());
    }

    #[test]
    fn a_flip_outside_the_digest_is_seen_at_once() {
        for at in (0..32).chain(64..4096) {
            let mut bytes = footer().encode();
            bytes[at] ^= 0x10;
            let decoded = Footer::decode(&bytes, 8192 + 8192 + 4096);
            // A length that needs the same number of blocks is left to the manifest's digest.
            let same_blocks = decoded.as_ref().is_ok_and(|footer| footer.manifest_length.div_ceil(4096) == 2);
            assert!(decoded.is_err() || at / 8 == 3 && same_blocks, "{at}");
        }
    }

    #[test]
    fn numbers_that_overflow_are_refused() {
        for (offset, length) in [(u64::MAX - 4095, 1), (0, 0), (1, 1), (0, MAX_MANIFEST_BYTES + 1), (0, u64::MAX)] {
            let bytes = Footer { manifest_offset: offset, manifest_length: length, ..footer() }.encode();
            for file_length in [0, 4096, 8192, u64::MAX] {
                let decoded = Footer::decode(&bytes, file_length);
                assert!(matches!(decoded, Err(AimgError::ManifestBounds { .. })), "{offset} {length}");
            }
        }
    }
}
