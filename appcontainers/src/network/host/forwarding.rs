//! Whether the host forwards packets between its interfaces, and speaks IPv6: the kernel's settings (ip-sysctl).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::HostNetworkError;

pub(in crate::network) const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
pub(in crate::network) const FORWARDING_V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
const DISABLED_V6: &str = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
const INTERFACES_V6: &str = "/proc/sys/net/ipv6/conf";

/// Whether the kernel speaks IPv6 in this network namespace, and nobody has switched that off for interfaces to come.
pub(in crate::network) fn has_ipv6() -> bool {
    let is_off = fs::read_to_string(DISABLED_V6).is_ok_and(|text| text.trim_end() != "0");
    !is_off && Path::new(FORWARDING_V6).exists()
}

/// Whether the host forwards IPv4, and IPv6.
pub(crate) fn forwarding() -> [bool; 2] {
    [FORWARDING, FORWARDING_V6].map(|setting| forwards(setting).unwrap_or(false))
}

pub(in crate::network) fn forwards(setting: &str) -> Result<bool, HostNetworkError> {
    let text = fs::read_to_string(setting).map_err(setting_error(setting))?;
    Ok(text.trim_end() != "0")
}

pub(in crate::network) fn write_setting(setting: &str, value: &str) -> Result<(), HostNetworkError> {
    fs::write(setting, value).map_err(setting_error(setting))
}

/// A host that forwards is a router, which takes no router's advertisements any more (`accept_ra`, ip-sysctl): where it did
/// until now, it is told to go on, or it would lose its own default route.
pub(in crate::network) fn keep_router_advertisements() -> Result<(), HostNetworkError> {
    let interfaces = fs::read_dir(INTERFACES_V6).map_err(setting_error(INTERFACES_V6))?;
    for path in interfaces.flatten().map(|entry| entry.path().join("accept_ra")) {
        // An interface may go at any time.
        if fs::read_to_string(&path).is_ok_and(|text| text.trim_end() == "1") {
            let _ = fs::write(&path, "2\n");
        }
    }
    Ok(())
}

fn setting_error(setting: &str) -> impl Fn(io::Error) -> HostNetworkError {
    move |source| HostNetworkError::Forwarding { path: PathBuf::from(setting), source }
}
