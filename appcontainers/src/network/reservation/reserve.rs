//! Reserving: what nobody holds yet, an address, a MAC and a range of ids.

use std::{net::Ipv4Addr, path::Path};

use jiff::Timestamp;

use super::{PoolSettings, Reservation, ReservationError, ReservationStore, ReserveOptions};
use crate::{
    ContainerName,
    network::{IdRange, MacAddress, SubordinateIds, address, index::Index, journal::Change, mac, record::Held},
};

impl ReservationStore<'_> {
    /// Reserves an address, a MAC and, unless it is privileged, an id range for the container.
    pub fn reserve(&mut self, name: &ContainerName, options: ReserveOptions) -> Result<Reservation, ReservationError> {
        if self.holds(name)? {
            return Err(ReservationError::Taken { name: name.clone() });
        }
        let held = Held {
            ip: self.free_address()?,
            mac: self.free_mac()?,
            id_range: if options.privileged { None } else { Some(self.free_id_range()?) },
            created: now(),
        };
        self.commit(Change::Reserve(held.record(name)), options.durability)?;
        Ok(held.reservation(name))
    }

    fn free_address(&mut self) -> Result<Ipv4Addr, ReservationError> {
        let PoolSettings { subnet, gateway, .. } = self.all.header.settings;
        let beneath = self.index.iter().flat_map(Index::ips);
        let taken = self.all.held.values().map(|held| held.ip).chain(beneath);
        match address::next_free(subnet, gateway, self.all.header.cursor.ip, taken) {
            Some(address) => Ok(address),
            None if self.index.is_some() => self.look().and_then(|()| self.free_address()),
            None => Err(ReservationError::AddressesExhausted { subnet, held: self.all.count() }),
        }
    }

    fn free_mac(&self) -> Result<MacAddress, ReservationError> {
        let interfaces = Path::new("/sys/class/net");
        loop {
            let mac = MacAddress::random();
            let is_on_host = mac::is_on_host(mac, interfaces, &self.veth_prefix)
                .map_err(|source| ReservationError::Interfaces { path: interfaces.to_owned(), source })?;
            let is_beneath = self.index.as_ref().is_some_and(|index| index.may_have(mac));
            if !is_on_host && !is_beneath && self.all.held.values().all(|held| held.mac != mac) {
                return Ok(mac);
            }
        }
    }

    fn free_id_range(&mut self) -> Result<IdRange, ReservationError> {
        let ids = match self.ids.take() {
            Some(ids) => ids,
            None => SubordinateIds::of_host()?,
        };
        let ids = self.ids.insert(ids);
        let pool = self.all.header.settings.id_pool.ids();
        let last = self.all.header.cursor.id_base.and_then(IdRange::new);
        let beneath = self.index.iter().flat_map(Index::id_ranges);
        let taken = self.all.held.values().filter_map(|held| held.id_range).chain(beneath);
        match ids.next_free(&pool, last, taken) {
            Some(range) => Ok(range),
            None if self.index.is_some() => self.look().and_then(|()| self.free_id_range()),
            None if ids.next_free(&pool, None, std::iter::empty()).is_some() => {
                Err(ReservationError::IdsExhausted { ranges: pool.len() as u32 / IdRange::COUNT, first: pool.start })
            }
            None => Err(ReservationError::IdsNotGranted { first: pool.start, last: pool.end.saturating_sub(1) }),
        }
    }
}

/// Now, in whole seconds: nobody needs more, and files are shorter.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
