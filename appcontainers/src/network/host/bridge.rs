//! The bridge that holds the gateway's addresses, the routes beside it, and the ports that containers have on it.

use super::{
    HostNetwork, HostNetwork6, HostNetworkError,
    presence::{has_interface, namespace},
};
use crate::{
    Paths,
    network::{Fault, Reservations, bridge, bridge_mac, bridge_port, faults::route_faults, policy},
    program::IP,
    setup::Change,
    state,
};

pub(in crate::network) fn set_up_bridge(
    paths: &Paths,
    network: &HostNetwork,
) -> Result<Option<Change>, HostNetworkError> {
    let HostNetwork { subnet, gateway, v6, .. } = network;
    let (name, mac) = (&bridge(paths), bridge_mac(paths));
    let is_new = !has_interface(name)?;
    // Without a route of its own, what is for a container that does not run would go where the default route leads.
    let mut set = format!(
        "link set {name} address {mac}\nlink set {name} type bridge mcast_snooping 0\naddress replace {gateway}/32 dev {name}\nlink set {name} up\nroute replace unreachable {subnet}\n"
    );
    if let Some(HostNetwork6 { subnet, gateway }) = v6 {
        set += &format!("address replace {gateway}/128 dev {name} nodad\nroute replace unreachable {subnet}\n");
    }
    let add = || IP.run(&["-batch", "-"], &format!("link add {name} type bridge\n{set}"));
    // The old gateway goes when the subnet was changed.
    let change = || IP.run(&["-batch", "-"], &format!("address flush dev {name}\n{set}"));
    if is_new {
        // A command that was killed may have left its `ip` at work, and that was quicker.
        add().or_else(|error| if has_interface(name).is_ok_and(|there| there) { change() } else { Err(error) })?;
    } else {
        change()?;
    }
    Ok(is_new.then(|| Change::BridgeCreated { name: name.to_owned(), gateway: *gateway }))
}

pub(in crate::network) fn tear_down_bridge(name: &str) -> Result<Option<Change>, HostNetworkError> {
    if !has_interface(name)? {
        return Ok(None);
    }
    // A command that was killed may have left its `ip` at work, and that was quicker.
    let deleted = IP.run(&["link", "delete", name], "").map(drop);
    if let Err(error) = deleted
        && has_interface(name)?
    {
        return Err(error.into());
    }
    Ok(Some(Change::BridgeRemoved { name: name.to_owned() }))
}

/// Brings all containers that are at the bridge back to it. One whose interface is gone is about to end.
pub(in crate::network) fn attach_all(paths: &Paths, reservations: &Reservations) {
    for policy::AtBridge { interface, mac, addresses, .. } in policy::at_bridge(paths, reservations) {
        if let Err(error) = bridge_port::attach(paths, &interface, mac, addresses) {
            tracing::debug!(%interface, %error, "cannot bring a container back to the bridge");
        }
    }
}

/// The routes to containers that run.
pub(in crate::network) fn set_up_routes(
    paths: &Paths,
    reservations: &Reservations,
) -> Result<Vec<Change>, HostNetworkError> {
    let (mut script, mut changes) = (String::new(), Vec::new());
    for (fault, interface) in route_faults(paths, reservations)? {
        if let (Fault::Route { name, address }, Some(interface)) = (fault, interface) {
            let length = if address.is_ipv4() { 32 } else { 128 };
            script += &format!("route replace {address}/{length} dev {interface}\n");
            changes.push(Change::RouteAdded { container: name, address });
        }
    }
    if !script.is_empty() {
        IP.run(&["-batch", "-"], &script)?;
    }
    Ok(changes)
}

pub(in crate::network) fn tear_down_routes(paths: &Paths) -> Result<Option<Change>, HostNetworkError> {
    let Some(record) = state::read::<HostNetwork>(&paths.network_record())? else { return Ok(None) };
    if record.namespace != namespace()? {
        return Ok(None);
    }
    let mut routes = vec![("-4", record.subnet.to_string())];
    routes.extend(record.v6.map(|v6| ("-6", v6.subnet.to_string())));
    let is_there = |family, subnet: &str| -> Result<bool, HostNetworkError> {
        Ok(!IP.run(&[family, "route", "show", "type", "unreachable", "exact", subnet], "")?.is_empty())
    };
    for (family, subnet) in routes {
        if is_there(family, &subnet)? {
            let deleted = IP.run(&[family, "route", "delete", "unreachable", &subnet], "").map(drop);
            if let Err(error) = deleted
                && is_there(family, &subnet)?
            {
                return Err(error.into());
            }
        }
    }
    Ok(None)
}
