//! What keeps a container alive, and what it does at the turns of its life: options of every command that makes one, and of `set`.

use std::{num::NonZeroU16, time::Duration};

use anyhow::{Context as _, bail};
use appcontainers::{
    HttpPath, Life,
    life::{Dependency, HealthCheck, HealthProbe, OnUnhealthy, Restart},
};

use super::values;

/// Options for [`Life`].
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Life")]
pub(super) struct LifeArgs {
    /// When it ends unasked: no, on-failure (started again), on-failure:N (N times in a row), always (at the host's boot, too),
    /// unless-stopped (likewise, if nobody stopped it)
    #[arg(long, value_name = "POLICY")]
    restart: Option<Restart>,
    /// Look at its health: run this line of shell in it
    #[arg(long, value_name = "CMD", group = "probe")]
    health_cmd: Option<String>,
    /// Look at its health: connect to this port of it
    #[arg(long, value_name = "PORT", group = "probe")]
    health_tcp: Option<NonZeroU16>,
    /// Look at its health: ask for this path
    #[arg(long, value_name = "PORT/PATH", group = "probe", value_parser = port_and_path)]
    health_http: Option<(NonZeroU16, HttpPath)>,
    /// Between two looks [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    health_interval: Option<Duration>,
    /// How long one may take [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    health_timeout: Option<Duration>,
    /// After so many failures in a row it is unhealthy [default: 3]
    #[arg(long, value_name = "N")]
    health_retries: Option<u32>,
    /// Failures within this time after its start don't count [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    health_start_period: Option<Duration>,
    /// What happens when it becomes unhealthy [default: none]
    #[arg(long, value_name = "none|restart|stop", value_parser = on_unhealthy)]
    health_on_failure: Option<OnUnhealthy>,
    /// Don't look at its health
    #[arg(long, conflicts_with = "probe")]
    no_health: bool,
    /// Run this line of shell in it at each start, before its startup commands; '' for none
    #[arg(long, value_name = "CMD")]
    on_start: Option<String>,
    /// Run this line of shell in it when it has failed; '' for none
    #[arg(long, value_name = "CMD")]
    on_fail: Option<String>,
    /// Run this line of shell in it when it is asked to stop; '' for none
    #[arg(long, value_name = "CMD")]
    on_stop: Option<String>,
    /// Where it is started with others: after this one runs, or is healthy; none for no such order
    #[arg(long, value_name = "NAME[:healthy]", value_parser = after, value_delimiter = ',')]
    after: Vec<After>,
}

/// A container to start after, or that there is none.
#[derive(Debug, Clone)]
enum After {
    None,
    One(Dependency),
}

impl LifeArgs {
    /// Whether none was given.
    pub(super) fn is_empty(&self) -> bool {
        let Self { restart, health_cmd, health_tcp, health_http, health_interval, health_timeout, .. } = self;
        let Self { health_retries, health_start_period, health_on_failure, no_health, .. } = self;
        let Self { on_start, on_fail, on_stop, after, .. } = self;
        restart.is_none()
            && health_cmd.is_none()
            && health_tcp.is_none()
            && health_http.is_none()
            && [health_interval, health_timeout, health_start_period].iter().all(|time| time.is_none())
            && health_retries.is_none()
            && health_on_failure.is_none()
            && !no_health
            && [on_start, on_fail, on_stop].iter().all(|script| script.is_none())
            && after.is_empty()
    }

    /// Changes what was given.
    pub(super) fn apply(self, life: &mut Life) -> anyhow::Result<()> {
        if let Some(restart) = self.restart {
            life.restart = restart;
        }
        let probe = match (self.health_cmd, self.health_tcp, self.health_http) {
            (Some(line), ..) => Some(HealthProbe::Command { line }),
            (_, Some(port), _) => Some(HealthProbe::Tcp { port }),
            (_, _, Some((port, path))) => Some(HealthProbe::Http { port, path }),
            _ => None,
        };
        if self.no_health {
            life.health = None;
        }
        match (probe, &mut life.health) {
            (Some(probe), Some(check)) => check.probe = probe,
            (Some(probe), none) => *none = Some(HealthCheck::new(probe)),
            (None, _) => {}
        }
        let times = [self.health_interval, self.health_timeout, self.health_start_period];
        if times.iter().any(Option::is_some) || self.health_retries.is_some() || self.health_on_failure.is_some() {
            let check = life.health.as_mut();
            let check = check.context("it has no health check; give it --health-cmd, --health-tcp or --health-http")?;
            let of_check = [&mut check.interval, &mut check.timeout, &mut check.start_period];
            for (time, given) in of_check.into_iter().zip(times) {
                *time = given.unwrap_or(*time);
            }
            check.retries = self.health_retries.unwrap_or(check.retries);
            check.on_failure = self.health_on_failure.unwrap_or(check.on_failure);
        }
        let on = &mut life.on;
        for (script, given) in
            [(&mut on.start, self.on_start), (&mut on.fail, self.on_fail), (&mut on.stop, self.on_stop)]
        {
            match given {
                Some(line) if line.is_empty() => *script = None,
                Some(line) => *script = Some(line),
                None => {}
            }
        }
        match self.after.as_slice() {
            [] => {}
            [After::None] => life.after.clear(),
            given => {
                life.after.clear();
                for one in given {
                    let After::One(one) = one else { bail!("--after none stands alone") };
                    life.after.push(one.clone());
                }
            }
        }
        Ok(())
    }
}

fn after(text: &str) -> Result<After, String> {
    match text {
        "none" => Ok(After::None),
        text => text.parse().map(After::One).map_err(|error: appcontainers::life::InvalidDependency| error.to_string()),
    }
}

fn port_and_path(text: &str) -> Result<(NonZeroU16, HttpPath), String> {
    let split = text.find('/').map(|at| text.split_at(at));
    let parsed = split.and_then(|(port, path)| Some((port.parse().ok()?, path.parse().ok()?)));
    parsed.ok_or_else(|| "use PORT/PATH, as 8080/health".to_owned())
}

fn on_unhealthy(text: &str) -> Result<OnUnhealthy, String> {
    match text {
        "none" => Ok(OnUnhealthy::None),
        "restart" => Ok(OnUnhealthy::Restart),
        "stop" => Ok(OnUnhealthy::Stop),
        _ => Err("use none, restart or stop".to_owned()),
    }
}
