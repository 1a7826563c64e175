//! What is there of the network in this network namespace: interfaces and tables, asked of the kernel without a program.

use std::{io, os::unix::fs::MetadataExt, path::Path};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice::name_to_index, socket_with};

use super::HostNetworkError;
use crate::network::{firewall::TableFamily, netlink};

/// The inode of this process's network namespace.
pub(in crate::network) fn namespace() -> Result<u64, HostNetworkError> {
    let path = Path::new("/proc/self/ns/net");
    let kernel = |source| HostNetworkError::Kernel { what: path.display().to_string(), source };
    Ok(path.metadata().map_err(kernel)?.ino())
}

pub(in crate::network) fn has_interface(name: &str) -> Result<bool, HostNetworkError> {
    Ok(interface_index(name)?.is_some())
}

/// An interface's number; none if there is no such interface. Asked with a socket, not of /sys: that shows the interfaces of
/// the namespace it was mounted in.
pub(in crate::network) fn interface_index(name: &str) -> Result<Option<u32>, HostNetworkError> {
    let failed = kernel_error(|| format!("interface {name}"));
    let socket = match socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None) {
        Ok(socket) => socket,
        Err(error) => return Err(failed(error.into())),
    };
    match name_to_index(&socket, name) {
        Ok(index) => Ok(Some(index)),
        Err(rustix::io::Errno::NODEV) => Ok(None),
        Err(error) => Err(failed(error.into())),
    }
}

pub(in crate::network) fn has_table(family: TableFamily, name: &str) -> Result<bool, HostNetworkError> {
    let failed = kernel_error(|| format!("nftables table {} {name}", family.as_str()));
    netlink::has_table(family, name).map_err(failed)
}

/// For `map_err`: the kernel did not answer.
pub(in crate::network) fn kernel_error(what: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> HostNetworkError {
    move |source| HostNetworkError::Kernel { what: what(), source }
}
