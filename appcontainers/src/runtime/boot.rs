//! Which boot of the host this is: what a process number or a mount of an earlier one meant is over.

use std::fs;

/// The kernel's random id of the present boot (`random(4)`).
pub(crate) fn id() -> String {
    // Without it all boots are one: then a process's start time has to tell them apart.
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
