//! What a process may use of the kernel's resources (setrlimit(2)), also as text.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What setrlimit(2) limits for a process and its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Bytes of address space.
    As,
    /// Bytes of a core file.
    Core,
    /// Seconds of processor time.
    Cpu,
    /// Bytes of data segment.
    Data,
    /// Bytes of a file that is written.
    Fsize,
    /// Bytes of locked memory.
    Memlock,
    /// One more than the highest descriptor.
    Nofile,
    /// Processes of the user.
    Nproc,
    /// Bytes of stack.
    Stack,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::As,
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Memlock,
        Self::Nofile,
        Self::Nproc,
        Self::Stack,
    ];

    /// Its name: that of setrlimit's constant, in small letters and without `RLIMIT_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::As => "as",
            Self::Core => "core",
            Self::Cpu => "cpu",
            Self::Data => "data",
            Self::Fsize => "fsize",
            Self::Memlock => "memlock",
            Self::Nofile => "nofile",
            Self::Nproc => "nproc",
            Self::Stack => "stack",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A soft and a hard limit; none is unlimited.
///
/// As text `nofile=1024:4096`, where `nofile=1024` is both and `unlimited` a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    /// Of what.
    pub resource: Resource,
    /// What the kernel enforces.
    pub soft: Option<u64>,
    /// Up to where the process itself may raise it.
    pub hard: Option<u64>,
}

/// A text that is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLimit {
    /// Not of the form.
    #[error("{0:?} is no limit; use RESOURCE=SOFT:HARD, as nofile=1024:4096, with whole numbers or `unlimited`")]
    Form(String),
    /// A resource that nothing is known of.
    #[error("there is no resource {0:?}; there are {all}", all = Resource::ALL.map(Resource::name).join(", "))]
    Resource(String),
    /// What may be used would be more than what may be asked for.
    #[error("the soft limit of {0} is above the hard one; use RESOURCE=SOFT:HARD with SOFT at most HARD")]
    Order(Resource),
}

const UNLIMITED: &str = "unlimited";

/// A value of a limit, as it is typed.
struct Value(Option<u64>);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str(UNLIMITED),
        }
    }
}

impl fmt::Display for ResourceLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.resource, Value(self.soft), Value(self.hard))
    }
}

impl FromStr for ResourceLimit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let form = || InvalidLimit::Form(text.to_owned());
        let value = |value: &str| match value {
            UNLIMITED => Ok(None),
            // The kernel's own word for unlimited is no number here.
            _ => value.parse().ok().filter(|number| *number != u64::MAX).map(Some).ok_or_else(form),
        };
        let (name, values) = text.split_once('=').ok_or_else(form)?;
        let resource = Resource::ALL.into_iter().find(|resource| resource.name() == name);
        let resource = resource.ok_or_else(|| InvalidLimit::Resource(name.to_owned()))?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (value(soft)?, value(hard)?);
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(InvalidLimit::Order(resource));
        }
        Ok(Self { resource, soft, hard })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_as_it_is_written() {
        for text in ["nofile=1024:4096", "core=0:0", "as=1:unlimited", "stack=unlimited:unlimited"] {
            assert_eq!(text.parse::<ResourceLimit>().unwrap().to_string(), text);
        }
        assert_eq!("nproc=7".parse::<ResourceLimit>().unwrap().to_string(), "nproc=7:7");
    }

    #[test]
    fn every_resource_has_the_name_that_the_messages_have() {
        for resource in Resource::ALL {
            assert_eq!(serde_json::to_string(&resource).unwrap(), format!("{:?}", resource.name()));
        }
    }

    #[test]
    fn what_is_no_limit_is_refused_by_name() {
        let refused = |text: &str| text.parse::<ResourceLimit>().unwrap_err();
        for text in ["", "nofile", "nofile=", "nofile=1:", "nofile=a", "nofile=-1", "nofile=1:2:3", "cpu=1s"] {
            assert_eq!(refused(text), InvalidLimit::Form(text.to_owned()));
        }
        assert_eq!(refused(&format!("as={}", u64::MAX)), InvalidLimit::Form(format!("as={}", u64::MAX)));
        assert!(refused("files=1").to_string().ends_with("nofile, nproc, stack"), "{}", refused("files=1"));
        assert_eq!(refused("nofile=unlimited:5"), InvalidLimit::Order(Resource::Nofile));
        assert_eq!(refused("nofile=6:5"), InvalidLimit::Order(Resource::Nofile));
    }
}
