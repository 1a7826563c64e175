//! Names that the whole host shares, made so that two state directories on one host never meet.

use super::MacAddress;
use crate::{DEFAULT_ROOT, Paths};

/// What the names of the host's ends of containers' veths begin with: `v` and four hex digits.
pub fn veth_prefix(paths: &Paths) -> String {
    format!("v{}", &paths.tag()[..4])
}

/// A name for the host's end of a veth, different for each start: 13 bytes of the kernel's 15.
pub fn new_veth_name(paths: &Paths) -> String {
    format!("{}{:08x}", veth_prefix(paths), rand::random::<u32>())
}

/// The bridge that holds the gateway's addresses. Its ports are the containers that want to be some.
pub fn bridge(paths: &Paths) -> String {
    if is_default(paths) { "appc0".to_owned() } else { format!("appc-{}", paths.tag()) }
}

/// The bridge's MAC: of its own, or it would change with its ports; the same whenever it is made, so that containers that know
/// it find it again. The second byte tells it from containers'.
pub fn bridge_mac(paths: &Paths) -> MacAddress {
    let tag = u32::from_str_radix(&paths.tag(), 16).unwrap_or_default();
    let [a, b, c, d] = tag.to_be_bytes();
    MacAddress::new([0x0a, 0, a, b, c, d])
}

/// The nftables tables (family inet, and family bridge where a container is a port of the bridge).
pub fn table(paths: &Paths) -> String {
    if is_default(paths) { "appcontainers".to_owned() } else { format!("appcontainers_{}", paths.tag()) }
}

fn is_default(paths: &Paths) -> bool {
    paths.root().as_os_str() == DEFAULT_ROOT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_too_long_for_the_kernel() {
        for root in [DEFAULT_ROOT, "/srv/elsewhere"] {
            let paths = Paths::new(root, "/run/x");
            for name in [bridge(&paths), new_veth_name(&paths)] {
                assert!(name.len() <= 15, "{name}");
            }
            assert!(new_veth_name(&paths).starts_with(&veth_prefix(&paths)));
            assert_ne!(new_veth_name(&paths), new_veth_name(&paths));
        }
    }
}
