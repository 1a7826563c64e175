//! The command's resource limits (setrlimit(2)).

use std::io;

use appcontainers_wire::{Resource, ResourceLimit, SpawnFailure};
use rustix::{
    io::Errno,
    process::{Rlimit, getrlimit, setrlimit},
};

/// Sets these limits, one after the other: of two for one resource the later one counts.
pub(super) fn set(limits: &[ResourceLimit]) -> Result<(), SpawnFailure> {
    limits.iter().try_for_each(|limit| {
        let resource = number(limit.resource);
        let wanted = Rlimit { current: limit.soft, maximum: limit.hard };
        setrlimit(resource, wanted).map_err(|errno| {
            let why = match errno {
                // No capability raises it: root in a user namespace has none over the host.
                Errno::PERM => format!("the hard limit may be at most {}", value(getrlimit(resource).maximum)),
                errno => io::Error::from(errno).to_string(),
            };
            SpawnFailure::Other { why: format!("cannot set the limit {limit}: {why}") }
        })
    })
}

fn value(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |number| number.to_string())
}

fn number(resource: Resource) -> rustix::process::Resource {
    match resource {
        Resource::As => rustix::process::Resource::As,
        Resource::Core => rustix::process::Resource::Core,
        Resource::Cpu => rustix::process::Resource::Cpu,
        Resource::Data => rustix::process::Resource::Data,
        Resource::Fsize => rustix::process::Resource::Fsize,
        Resource::Memlock => rustix::process::Resource::Memlock,
        Resource::Nofile => rustix::process::Resource::Nofile,
        Resource::Nproc => rustix::process::Resource::Nproc,
        Resource::Stack => rustix::process::Resource::Stack,
    }
}
