//! The tar reader of `appc-agent`: archives on their way into a container, and files on their way out of one. Every
//! member's data is read to its end.
#![no_main]

#[allow(dead_code, reason = "the agent writes archives, too")]
#[path = "../../appcontainers-tools/src/archive/mod.rs"]
mod archive;

use archive::Archive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut archive = Archive::new(data);
    let mut buffer = [0; 4096];
    while let Ok(Some(member)) = archive.next_member() {
        let _ = member.name();
        while matches!(archive.read(&mut buffer), Ok(1..)) {}
    }
    let _ = archive.finish();
});
