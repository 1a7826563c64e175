//! A reservation as it stands in the snapshot and in the journal: borrowed from the file's bytes, so
//! that thousands are read in a few milliseconds.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de};

use super::{IdRange, MacAddress, Reservation};

/// One reservation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Record<'a> {
    pub(super) name: &'a str,
    pub(super) ip: Ipv4Addr,
    pub(super) mac: MacAddress,
    /// The container's root on the host; a privileged container has no range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id_base: Option<u32>,
    pub(super) created: Timestamp,
}

impl<'a> From<&'a Reservation> for Record<'a> {
    fn from(reservation: &'a Reservation) -> Self {
        Self {
            name: reservation.name.as_str(),
            ip: reservation.ip,
            mac: reservation.mac,
            id_base: reservation.id_range.map(|range| range.base()),
            created: reservation.created,
        }
    }
}

impl TryFrom<Record<'_>> for Reservation {
    type Error = serde_json::Error;
    fn try_from(record: Record<'_>) -> Result<Self, serde_json::Error> {
        let id_range = match record.id_base {
            Some(base) => Some(IdRange::new(base).ok_or_else(|| de::Error::custom("an id range beyond 32 bits"))?),
            None => None,
        };
        let name = record.name.parse().map_err(de::Error::custom)?;
        Ok(Self { name, ip: record.ip, mac: record.mac, id_range, created: record.created })
    }
}
