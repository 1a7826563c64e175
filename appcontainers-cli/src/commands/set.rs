//! `appc set`

use std::{net::Ipv4Addr, str::FromStr};

use appcontainers::{ContainerName, network::policy::Egress};
use clap::error::ErrorKind;

use super::{command_args::usage, values};
use crate::{context::Context, progress::Bars};

/// Change a container, also while it runs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc set web disk=4G                       it can write so much beside its image; more also while it runs
  appc set web --ip 10.213.0.99              links and rules follow
  appc set web --egress none                 it reaches nothing outside
  appc set web --egress 192.0.2.0/24,2001:db8::/32")]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one], and what it is to have
    #[arg(value_name = "NAME|KEY=VALUE")]
    words: Vec<Word>,
    /// Give it this address of the containers' network
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// Where it may connect to outside
    #[arg(long, value_name = "all|none|CIDR,…", value_parser = values::egress)]
    egress: Option<Egress>,
}

/// A container, or what is to be changed of it.
#[derive(Debug, Clone)]
enum Word {
    Name(ContainerName),
    Disk(u64),
}

impl FromStr for Word {
    type Err = String;

    /// No container's name has an equals sign in it.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("disk", size)) => values::bytes(size).map(Word::Disk),
            Some((key, _)) => Err(format!("there is no {key:?} to set: use disk=SIZE")),
            None => text.parse().map(Word::Name).map_err(|error: appcontainers::InvalidName| error.to_string()),
        }
    }
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let (mut names, mut disk) = (Vec::new(), None);
        for word in self.words {
            match word {
                Word::Name(name) => names.push(name),
                Word::Disk(bytes) => disk = Some(bytes),
            }
        }
        if let [first, second, ..] = names.as_slice() {
            usage("set", ErrorKind::TooManyValues, &format!("one container at a time, not {first} and {second}"));
        }
        if disk.is_none() && self.ip.is_none() && self.egress.is_none() {
            usage("set", ErrorKind::MissingRequiredArgument, "nothing to change; say what, as disk=4G");
        }
        let container = context.container(names.first())?;
        // First, as it is what may be refused.
        if let Some(bytes) = disk {
            container.set_disk_with(bytes, &Bars::default())?;
        }
        if let Some(ip) = self.ip {
            container.set_ip(ip)?;
        }
        if let Some(egress) = self.egress {
            container.set_egress(egress)?;
        }
        Ok(())
    }
}
