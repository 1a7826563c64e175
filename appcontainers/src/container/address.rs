//! Another address for a container, also while it runs.

use std::net::Ipv4Addr;

use super::Container;
use crate::{
    Error, event, gateway,
    network::{
        Addresses, InterfaceError, NetworkMode, Reservation, ReservationError, ReservationStore, attach_port, bridge,
        find, forget_port, move_interface, policy::PolicyChange,
    },
    runtime::{self, RuntimeError, StartRecord, Status},
    state::HostLock,
};

impl Container {
    /// Gives the container another address of the containers' network, which nobody has. One that runs has it at once; its
    /// rules follow, and who is linked to it finds it there. Connections to the old address are lost.
    ///
    /// A call that was interrupted is completed by calling it again.
    pub fn set_ip(&self, ip: Ipv4Addr) -> Result<(), Error> {
        // Nobody starts it meanwhile.
        let _lock = self.lock()?;
        let record = self.record()?;
        let durability = record.overlay.durability();
        let unknown = || ReservationError::Unknown { name: self.name.clone() };
        let start = StartRecord::load(&self.paths, &self.name)?.filter(|start| start.status() == Status::Running);
        {
            let host = HostLock::acquire(&self.paths)?;
            let (settings, reservation) = find(&self.paths, &self.name)?;
            let reservation = reservation.ok_or_else(unknown)?;
            let before = reservation.ip;
            let mut change = PolicyChange::begin(&self.paths, &host);
            if before != ip {
                let mut store = ReservationStore::open(&self.paths, &host)?;
                // First: whoever comes next makes a table that is as the reservations are.
                change.mark()?;
                store.readdress(&self.name, ip, durability)?;
                change.moved(&self.name, settings.addresses(before))?;
            }
            change.commit()?;
            if let Some(start) = &start {
                self.move_running(start, record.network, &reservation, settings.addresses(ip))?;
            }
        }
        if start.is_some() {
            self.rewrite_hosts()?;
        }
        gateway::refresh(&self.paths)?;
        event::note(&self.paths, &self.name, "readdress", &[("ip", ip.to_string().into())]);
        Ok(())
    }

    fn move_running(
        &self,
        start: &StartRecord,
        mode: NetworkMode,
        reservation: &Reservation,
        addresses: Addresses,
    ) -> Result<(), Error> {
        let (Some(init), Some(interface)) = (start.init, &start.host_interface) else { return Ok(()) };
        let mac = reservation.mac;
        let moved = match mode {
            NetworkMode::Routed => move_interface(init.pid, interface, mac, addresses).map(drop),
            NetworkMode::Bridge => move_interface(init.pid, &bridge(&self.paths), mac, addresses).and_then(|old| {
                let forgotten = forget_port(&self.paths, old.into_iter());
                let attached = forgotten.and_then(|()| attach_port(&self.paths, interface, mac, addresses));
                attached.map_err(InterfaceError::Port)
            }),
        };
        Ok(moved.map_err(|source| RuntimeError::Interface { name: self.name.clone(), source })?)
    }

    /// Its own address in its own `/etc/hosts`.
    fn rewrite_hosts(&self) -> Result<(), Error> {
        Ok(runtime::rewrite_hosts(&self.paths, &self.record()?)?)
    }
}
