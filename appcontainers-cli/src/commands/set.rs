//! `appc set`

use std::{net::Ipv4Addr, str::FromStr};

use appcontainers::{ContainerName, limits::LimitChange, network::policy::Egress};
use clap::error::ErrorKind;

use super::{command_args::usage, life_args::LifeArgs, values};
use crate::{context::Context, progress::Bars};

/// Change a container, also while it runs
///
/// Limits are words KEY=VALUE; KEY= or KEY=none takes one away. Sizes are bytes, or have K, M, G or T (1024 each) behind them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Limits:
  memory       memory and swap together, as 512M
  cpus         time on processors, in processors, as 1.5
  cpuset       on which processors, as 0 or 0-1,3
  pids         processes and threads [without: 4096]
  io.read      bytes a second from the disk that holds the state, as 10M
  io.write     likewise, to it
  net.egress   bytes a second that it sends, as 1M
  net.ingress  bytes a second that it receives
  nofile       open files of each process [without: 1024, and 524288 for those who ask]

All of them hold at once for all processes of a container that runs, or none does: one that makes no sense
on this host, or is below what the container uses now, is an error.

Examples:
  appc set web memory=512M cpus=1.5          at most so much, from now on
  appc set web io.write=10M net.egress=1M
  appc set web memory= cpus=none             as much as there is
  appc set web disk=4G                       it can write so much beside its image; more also while it runs
  appc set web --ip 10.213.0.99              links and rules follow
  appc set web --egress none                 it reaches nothing outside
  appc set web --egress 192.0.2.0/24,2001:db8::/32
  appc set web --restart on-failure:5 --health-http 8080/health --health-on-failure restart
  appc set web --after db:healthy --on-stop './app --drain'")]
pub(crate) struct Args {
    /// The container [default: -c, APPC_CONTAINER, this session's current one], and what it is to have
    #[arg(value_name = "NAME|KEY=VALUE")]
    words: Vec<Word>,
    #[command(flatten)]
    life: LifeArgs,
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
    Limit(LimitChange),
    Disk(u64),
}

impl FromStr for Word {
    type Err = String;

    /// No container's name has an equals sign in it.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("disk", size)) => values::bytes(size).map(Word::Disk),
            Some(_) => {
                text.parse().map(Word::Limit).map_err(|error: appcontainers::limits::BadLimit| error.to_string())
            }
            None => text.parse().map(Word::Name).map_err(|error: appcontainers::InvalidName| error.to_string()),
        }
    }
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let (mut names, mut limits, mut disk) = (Vec::new(), Vec::new(), None);
        for word in self.words {
            match word {
                Word::Name(name) => names.push(name),
                Word::Limit(limit) => limits.push(limit),
                Word::Disk(bytes) => disk = Some(bytes),
            }
        }
        if let [first, second, ..] = names.as_slice() {
            usage("set", ErrorKind::TooManyValues, &format!("one container at a time, not {first} and {second}"));
        }
        let is_nothing = limits.is_empty() && disk.is_none() && self.life.is_empty();
        if is_nothing && self.ip.is_none() && self.egress.is_none() {
            usage("set", ErrorKind::MissingRequiredArgument, "nothing to change; say what, as memory=512M");
        }
        let container = context.container(names.first())?;
        // First, as they are what may be refused.
        if !limits.is_empty() {
            container.set_limits(&limits)?;
        }
        if let Some(bytes) = disk {
            container.set_disk_with(bytes, &Bars::default())?;
        }
        if let Some(ip) = self.ip {
            container.set_ip(ip)?;
        }
        if let Some(egress) = self.egress {
            container.set_egress(egress)?;
        }
        if !self.life.is_empty() {
            // What makes no sense is found out before anything is changed.
            self.life.clone().apply(&mut container.record()?.settings.life)?;
            let mut applied = Ok(());
            container.set_life(|life| applied = self.life.apply(life))?;
            applied?;
        }
        Ok(())
    }
}
