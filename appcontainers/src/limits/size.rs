//! A number of bytes as people write it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

/// The units, the largest first, and their bytes.
const UNITS: [(char, u64); 4] = [('T', 1 << 40), ('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

/// More than any host has, and still a number of every file of the kernel's.
const MOST: u64 = 1 << 60;

/// Bytes. As text a whole number, alone or with `K`, `M`, `G` or `T` (1024 each) behind it; in JSON a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Size(pub(super) u64);

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use a number of bytes, alone or with K, M, G or T (1024 each) behind it, as 512M")]
pub struct BadSize;

impl Size {
    /// So many bytes.
    pub fn new(bytes: u64) -> Result<Self, BadSize> {
        if bytes <= MOST { Ok(Self(bytes)) } else { Err(BadSize) }
    }

    /// How many.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let upper = text.trim().to_ascii_uppercase();
        let (digits, unit) = match UNITS.iter().find(|(letter, _)| upper.ends_with(*letter)) {
            Some((letter, bytes)) => (upper.trim_end_matches(*letter), *bytes),
            None => (upper.as_str(), 1),
        };
        // `KK` is no unit, `+1` and the empty text no number.
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_whole = upper.len() - digits.len() <= 1;
        let number: u64 = digits.parse().map_err(|_| BadSize)?;
        if !is_number || !is_whole {
            return Err(BadSize);
        }
        Self::new(number.checked_mul(unit).ok_or(BadSize)?)
    }
}

impl fmt::Display for Size {
    /// In the largest unit of which it is a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, bytes)| self.0 != 0 && self.0.is_multiple_of(*bytes)) {
            Some((letter, bytes)) => write!(f, "{}{letter}", self.0 / bytes),
            None => self.0.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or a text as \"512M\"")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Size::new(bytes).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map_err(|_| E::custom(BadSize)).and_then(|bytes| self.visit_u64(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_is_in_bytes() {
        for (text, bytes, shown) in [
            ("0", 0, "0"),
            ("1", 1, "1"),
            ("1023", 1023, "1023"),
            ("1024", 1024, "1K"),
            ("1536K", 1536 << 10, "1536K"),
            ("512m", 512 << 20, "512M"),
            ("2G", 2 << 30, "2G"),
            ("1024G", 1 << 40, "1T"),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
            assert_eq!(Size(bytes).to_string(), shown);
        }
        for bad in ["", "M", "-1", "+1", "1.5G", "1MM", "1KB", "1 M", "0x10", "99999999T", "18446744073709551616", "½"]
        {
            assert_eq!(bad.parse::<Size>(), Err(BadSize), "{bad}");
        }
    }
}
