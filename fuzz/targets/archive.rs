//! Archives of any compression, verified to their end. Inputs are short, so what they expand to is bounded by hand.
#![no_main]

use std::io::{Cursor, Read};

use appcontainers::archive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(tar) = archive::open(Cursor::new(data.to_owned())) {
        let _ = archive::verify(tar.take(16 * 1024 * 1024));
    }
});
