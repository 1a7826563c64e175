//! `appc ps`

use appcontainers::process::{ProcessDetails, Role};

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

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let processes = context.container(None)?.processes()?;
        let shown = processes.records().filter(|record| record.role != Role::FileOperation);
        let shown = shown.filter(|record| self.all || record.ended.is_none());
        let listed: Vec<ProcessDetails> = shown.map(ProcessDetails::from).collect();
        context.print(&listed, |listed| text(listed))
    }
}

fn text(listed: &[ProcessDetails]) -> String {
    let row = |process: &ProcessDetails| {
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
    use appcontainers::ProcessId;

    use super::*;

    #[test]
    fn processes_are_a_table() {
        let web = ProcessDetails {
            process: ProcessId(3),
            name: Some("web".parse().unwrap()),
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
