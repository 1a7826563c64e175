//! How AppArmor confines a container.

use std::fs;

use crate::program::Program;

/// What compiles a profile and gives it to the kernel.
pub(crate) const PARSER: Program = Program { name: "apparmor_parser", package: "apparmor" };

/// LXC's own profile for containers. The package that has liblxc's files has it, and it is in the kernel from boot on: a start
/// that had one made for itself would wait for the parser.
pub(crate) const PROFILE: &str = "lxc-container-default-cgns";

/// Where that profile is, with others.
pub(crate) const PROFILE_FILE: &str = "/etc/apparmor.d/lxc-containers";

/// What the kernel has loaded, one `NAME (MODE)` a line.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// Whether the kernel confines with AppArmor.
pub(crate) fn is_enabled() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

/// Whether [`PROFILE`] is loaded; unknown where securityfs is not mounted.
pub(crate) fn is_loaded() -> Option<bool> {
    let loaded = fs::read_to_string(LOADED).ok()?;
    Some(loaded.lines().any(|line| line.split(' ').next() == Some(PROFILE)))
}
