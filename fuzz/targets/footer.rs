//! The footer of an `.aimg`: what is decoded is encoded to the same bytes. The first 8 bytes are the file's length.
#![no_main]

use appcontainers::image::aimg::{FOOTER_BYTES, Footer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk() else { return };
    let mut bytes = [0; FOOTER_BYTES as usize];
    let used = rest.len().min(bytes.len());
    bytes[..used].copy_from_slice(&rest[..used]);
    if let Ok(footer) = Footer::decode(&bytes, u64::from_le_bytes(*length)) {
        assert_eq!(footer.encode(), bytes);
        assert_eq!(footer.file_length(), Some(u64::from_le_bytes(*length)));
    }
});
