//! Values that are typed in the app file as they are on the command line.

use std::{fmt, str::FromStr, time::Duration};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    ContainerName, Mount,
    container::{InvalidSource, Source},
    mounts::InvalidMount,
    network::{Port, policy::InvalidPort},
};

/// A value that is written as text.
#[derive(Debug, Clone)]
pub struct Text<T> {
    /// What it means.
    pub value: T,
    text: String,
}

impl<T> PartialEq for Text<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<T> Text<T> {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<T: FromStr> FromStr for Text<T> {
    type Err = T::Err;
    fn from_str(text: &str) -> Result<Self, T::Err> {
        Ok(Self { value: text.parse()?, text: text.to_owned() })
    }
}

impl<T> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<T> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

/// The container behind a link, and the port of its service: `postgres:5432`, or `postgres`, whose image names the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Which container.
    pub name: ContainerName,
    /// Its port.
    pub port: Option<Port>,
}

/// What is no provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProvider {
    /// Its name.
    #[error(transparent)]
    Name(#[from] crate::InvalidName),
    /// Its port.
    #[error(transparent)]
    Port(#[from] InvalidPort),
}

impl FromStr for Provider {
    type Err = InvalidProvider;
    fn from_str(text: &str) -> Result<Self, InvalidProvider> {
        Ok(match text.split_once(':') {
            Some((name, port)) => Self { name: name.parse()?, port: Some(port.parse()?) },
            None => Self { name: text.parse()?, port: None },
        })
    }
}

/// Who may connect, and at which port: `web`, `web:80`, `192.0.2.0/24`, `192.0.2.0/24:80`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowRule {
    /// Who.
    pub from: Source,
    /// At which port; at all of them if absent.
    pub port: Option<Port>,
}

/// Nobody who could connect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAllow {
    /// Who.
    #[error(transparent)]
    Source(#[from] InvalidSource),
    /// At which port.
    #[error(transparent)]
    Port(#[from] InvalidPort),
}

impl FromStr for AllowRule {
    type Err = InvalidAllow;
    fn from_str(text: &str) -> Result<Self, InvalidAllow> {
        // An IPv6 network has colons of its own.
        match (text.parse(), text.rsplit_once(':')) {
            (Ok(from), _) => Ok(Self { from, port: None }),
            (Err(_), Some((from, port))) => Ok(Self { from: from.parse()?, port: Some(port.parse()?) }),
            (Err(error), None) => Err(error.into()),
        }
    }
}

/// A volume, and where it is mounted: `NAME:PATH[:ro]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeMount(pub Mount);

impl FromStr for VolumeMount {
    type Err = InvalidMount;
    fn from_str(text: &str) -> Result<Self, InvalidMount> {
        Mount::volume(text).map(Self)
    }
}

/// A file or directory of the host's, and where it is mounted: `SRC:PATH[:ro]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount(pub Mount);

impl FromStr for BindMount {
    type Err = InvalidMount;
    fn from_str(text: &str) -> Result<Self, InvalidMount> {
        Mount::bind(text).map(Self)
    }
}

/// A time with its unit: `500ms`, `30s`, `2m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

/// What is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no time: use a number and its unit, as 500ms, 30s or 2m")]
pub struct InvalidTime {
    text: String,
}

impl FromStr for Time {
    type Err = InvalidTime;
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
        time.map(Self).ok_or_else(|| InvalidTime { text: text.chars().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_of_an_address_are_not_those_before_a_port() {
        let rule = |text: &str| text.parse::<AllowRule>().unwrap();
        assert_eq!(rule("2001:db8::/32").port, None);
        assert_eq!(rule("2001:db8::/32:80").port.unwrap().to_string(), "80");
        assert_eq!(rule("web:53/udp").port.unwrap().to_string(), "53/udp");
        assert_eq!(rule("web").from, Source::Container("web".parse().unwrap()));
        assert!("web:".parse::<AllowRule>().is_err());
        assert!("A b".parse::<AllowRule>().is_err());
    }

    #[test]
    fn a_provider_may_leave_the_port_to_its_image() {
        assert_eq!("db".parse::<Provider>().unwrap().port, None);
        assert_eq!("db:5432".parse::<Provider>().unwrap().port.unwrap().to_string(), "5432");
        assert!("db:0".parse::<Provider>().is_err());
    }

    #[test]
    fn a_time_has_a_unit_and_is_not_before_now() {
        assert_eq!("500ms".parse(), Ok(Time(Duration::from_millis(500))));
        assert_eq!("2m".parse(), Ok(Time(Duration::from_secs(120))));
        for bad in ["", "5", "-1s", "soon"] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }
}
