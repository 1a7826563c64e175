//! How AppArmor confines a container.

use std::fs;

use crate::{ContainerName, program::Program};

/// What compiles a profile and gives it to the kernel.
pub(crate) const PARSER: Program = Program { name: "apparmor_parser", package: "apparmor" };

/// LXC's own profile for containers. The package that has liblxc's files has it, and it is in the kernel from boot on: a start
/// that had one made for itself would wait for the parser.
pub(crate) const PROFILE: &str = "lxc-container-default-cgns";

/// Where that profile is, with others.
pub(crate) const PROFILE_FILE: &str = "/etc/apparmor.d/lxc-containers";

/// What the kernel has loaded, one `NAME (MODE)` a line.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// Where liblxc keeps profiles that it had made, each for one start, in a directory for each kernel.
const GENERATED: &str = "/var/cache/lxc/apparmor";

/// Whether the kernel confines with AppArmor.
pub(crate) fn is_enabled() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

/// Whether [`PROFILE`] is loaded; unknown where securityfs is not mounted.
pub(crate) fn is_loaded() -> Option<bool> {
    let loaded = fs::read_to_string(LOADED).ok()?;
    Some(loaded.lines().any(|line| line.split(' ').next() == Some(PROFILE)))
}

/// Removes the profile that liblxc made for a start, from its cache: no other start will have its name. A file that stays there does
/// no harm.
pub(crate) fn forget(name: &ContainerName, start_id: &str) {
    let prefix = format!("lxc-{name}.{start_id}_");
    let kernels = fs::read_dir(GENERATED).into_iter().flatten().flatten();
    let profiles = kernels.flat_map(|kernel| fs::read_dir(kernel.path()).into_iter().flatten().flatten());
    for profile in profiles.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        let _ = fs::remove_file(profile.path());
    }
}
