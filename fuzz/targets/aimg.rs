//! Whole image files: what opens has its layers within the file, one behind the other.
#![no_main]

use std::{fs::File, io::Write};

use appcontainers::{NoProgress, image::Aimg};
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};

fuzz_target!(|data: &[u8]| {
    let mut file = File::from(memfd_create("aimg", MemfdFlags::CLOEXEC).expect("memfd"));
    file.write_all(data).expect("memory");
    if let Ok(aimg) = Aimg::read(file) {
        let mut end = 0;
        for (layer, offset) in aimg.carried() {
            assert_eq!(offset, end);
            end += layer.size_bytes;
        }
        assert!(end < data.len() as u64);
        let _ = aimg.verify_layers(&NoProgress);
    }
});
