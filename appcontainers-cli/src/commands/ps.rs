//! `appc ps`

use appcontainers::process::{End, ProcessRecord, Role};
use jiff::Timestamp;
use serde::Serialize;

use crate::{context::Context, render};

/// List a container's processes: those that run, and with -a those that have ended
///
/// How a process ended stays known, also when its container has stopped. What processes start themselves is not listed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc ps
  appc ps -a --json | jq '.[] | select(.exit_code != 0)'")]
pub(crate) struct Args {
    /// Also those that have ended
    #[arg(short, long)]
    all: bool,
}

/// One process of a listing.
#[derive(Debug, Serialize)]
struct Listed {
    process: u32,
    name: Option<String>,
    state: &'static str,
    pid: Option<u32>,
    exit_code: Option<u8>,
    signal: Option<u8>,
    failure: Option<String>,
    role: Role,
    restarts: u32,
    user: Option<String>,
    started: Timestamp,
    ended: Option<Timestamp>,
    command: Vec<String>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let processes = context.container(None)?.processes()?;
        let shown = processes.records().filter(|record| record.role != Role::FileOperation);
        let shown = shown.filter(|record| self.all || record.ended.is_none());
        let listed: Vec<Listed> = shown.map(Listed::from).collect();
        context.print(&listed, |listed| text(listed))
    }
}

impl From<&ProcessRecord> for Listed {
    fn from(record: &ProcessRecord) -> Self {
        let end = record.ended.as_ref().map(|ended| &ended.end);
        let (exit_code, signal, failure) = match end {
            Some(End::Exited(appcontainers::ExitStatus::Code(code))) => (Some(*code), None, None),
            Some(End::Exited(appcontainers::ExitStatus::Signal(signal))) => (None, Some(*signal), None),
            Some(End::NotStarted(failure)) => (None, None, Some(failure.to_string())),
            Some(End::Lost) | None => (None, None, None),
        };
        Self {
            process: record.id.0,
            name: record.name.as_ref().map(ToString::to_string),
            state: match (end, record.pid) {
                (None, None) => "starting",
                (None, Some(_)) => "running",
                (Some(End::Exited(_)), _) => "exited",
                (Some(End::NotStarted(_)), _) => "failed",
                (Some(End::Lost), _) => "lost",
            },
            pid: record.pid.filter(|_| end.is_none()),
            exit_code,
            signal,
            failure,
            role: record.role,
            restarts: record.restarts,
            user: record.spec.user.clone(),
            started: record.spawned,
            ended: record.ended.as_ref().map(|ended| ended.time),
            command: record.spec.argv.clone(),
        }
    }
}

fn text(listed: &[Listed]) -> String {
    let row = |process: &Listed| {
        let state = match (process.exit_code, process.signal) {
            (Some(code), _) => format!("exited {code}"),
            (_, Some(signal)) => format!("signal {signal}"),
            (None, None) => process.state.to_owned(),
        };
        [
            process.process.to_string(),
            render::or_dash(process.name.as_ref()),
            state,
            render::or_dash(process.pid),
            process.restarts.to_string(),
            format!("{:.0}", process.started),
            process.command.join(" "),
        ]
    };
    render::table(["PROCESS", "NAME", "STATE", "PID", "RESTARTS", "STARTED", "COMMAND"], listed.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_a_table() {
        let web = Listed {
            process: 3,
            name: Some("web".to_owned()),
            state: "running",
            pid: Some(17),
            exit_code: None,
            signal: None,
            failure: None,
            role: Role::Background,
            restarts: 1,
            user: None,
            started: "2026-01-02T03:04:05.6Z".parse().unwrap(),
            ended: None,
            command: vec!["./app".to_owned(), "--port".to_owned(), "80".to_owned()],
        };
        render::assert_documented("appc ps", &web);
        let expected = "\
PROCESS  NAME  STATE    PID  RESTARTS  STARTED               COMMAND
3        web   running  17   1         2026-01-02T03:04:05Z  ./app --port 80
";
        assert_eq!(text(&[web]), expected);
    }
}
