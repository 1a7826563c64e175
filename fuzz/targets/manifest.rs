//! Manifests: what is read is written and read as the same, and has the same digest.
#![no_main]

use appcontainers::image::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::parse(data) {
        let json = manifest.to_json().expect("what was read can be written, or is too long by its escapes");
        let again = Manifest::parse(&json).expect("what was written can be read");
        assert_eq!(again, manifest);
        assert_eq!(again.digest().ok(), manifest.digest().ok());
    }
});
