//! MAC addresses of containers.

use std::{fmt, fs, io, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

/// A 48-bit MAC address, written `02:00:00:00:00:00`, lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MacAddress([u8; 6]);

/// A string that is not a MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a MAC address: use six pairs of hexadecimal digits with ':' between them")]
pub struct InvalidMac {
    text: String,
}

impl MacAddress {
    /// The address of these bytes.
    pub fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// A random address as containers get it: `02:` and 40 random bits, so locally administered and
    /// for one station (IEEE 802, clause 8.2). The host's end of a container's veth has one that
    /// begins with `fe:` (LXC's rule), so it is never the same.
    pub fn random() -> Self {
        let [a, b, c, d, e] = rand::random();
        Self([0x02, a, b, c, d, e])
    }

    /// The six bytes.
    pub fn as_bytes(&self) -> &[u8; 6] {
        &self.0
    }
}

/// Whether an interface of this host has the address. Interfaces whose names begin with `ours` are
/// not asked: they are the host's ends of containers' veths, and there can be thousands.
pub(super) fn is_on_host(mac: MacAddress, interfaces: &Path, ours: &str) -> io::Result<bool> {
    for entry in fs::read_dir(interfaces)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(ours.as_bytes()) {
            continue;
        }
        // An interface may go at any time, and not everything here has an address.
        let address = fs::read_to_string(entry.path().join("address")).unwrap_or_default();
        if address.trim_end().parse() == Ok(mac) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl FromStr for MacAddress {
    type Err = InvalidMac;
    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let invalid = || InvalidMac { text: text.chars().take(40).collect() };
        let digits = text.as_bytes();
        if digits.len() != 17 {
            return Err(invalid());
        }
        let nibble = |digit: u8| (digit as char).to_digit(16).map(|value| value as u8).ok_or_else(invalid);
        let mut bytes = [0; 6];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let at = index * 3;
            if index > 0 && digits[at - 1] != b':' {
                return Err(invalid());
            }
            *byte = nibble(digits[at])? << 4 | nibble(digits[at + 1])?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for MacAddress {
    type Error = InvalidMac;
    fn try_from(text: String) -> Result<Self, InvalidMac> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> String {
        mac.to_string()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_address_is_local_and_for_one_station() {
        for _ in 0..100 {
            let mac = MacAddress::random();
            assert_eq!(mac.as_bytes()[0] & 0b11, 0b10, "{mac}");
            assert_eq!(mac.to_string().parse(), Ok(mac));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in
            ["", "02:00:00:00:00", "02-00-00-00-00-00", "02:00:00:00:00:0g", "02:00:00:00:00:00:00", "ü2:00:00:00:00:0"]
        {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
        assert_eq!("0A:00:00:00:00:ff".parse(), Ok(MacAddress::new([10, 0, 0, 0, 0, 255])));
    }

    #[test]
    fn an_address_of_the_host_is_seen() {
        let place = tempfile::tempdir().unwrap();
        for (name, address) in [("eth0", "02:00:00:00:00:01\n"), ("vabcd1", "02:00:00:00:00:02\n")] {
            fs::create_dir(place.path().join(name)).unwrap();
            fs::write(place.path().join(name).join("address"), address).unwrap();
        }
        fs::write(place.path().join("bonding_masters"), "").unwrap();
        let is_there = |last| is_on_host(MacAddress::new([2, 0, 0, 0, 0, last]), place.path(), "vabcd").unwrap();
        assert_eq!([is_there(1), is_there(2), is_there(3)], [true, false, false]);
    }
}
