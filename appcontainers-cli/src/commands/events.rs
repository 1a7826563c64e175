//! `appc events`

use std::fmt::Write;

use appcontainers::{
    Event, ExitStatus,
    event::{Events, Since},
};
use serde_json::Value;

use super::values;
use crate::{context::Context, render, stdio};

/// How many events are printed at once.
const BATCH: usize = 500;

/// Show what happened to containers and their processes
///
/// Events are numbered from 1 without holes, over all containers. The journal keeps the newest 32 MiB, some 300,000
/// events: asking for older ones by their number is an error. Without --since, all that are there are shown; with -f,
/// those that come follow. -c NAME shows that container's only, also when it is gone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc events
  appc events --since 41                       what came after event 41
  appc events -f --since 0s                    what comes from now on
  appc events --since 2026-01-31T12:00:00Z
  appc -c web events -f --json | jq -r .kind")]
pub(crate) struct Args {
    /// Wait for more, until Ctrl-C or the reader leaves
    #[arg(short, long)]
    follow: bool,
    /// Begin behind the event with this number, or at a time (RFC 3339), or so long ago (90s, 10m, 2h)
    #[arg(long, value_name = "NUMBER|TIME", value_parser = values::since_event)]
    since: Option<Since>,
}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        let mut events = context.service.events(self.since.unwrap_or_default())?;
        if let Some(name) = context.flagged() {
            events = events.of(name.clone());
        }
        if self.follow {
            events.watch()?;
        }
        loop {
            while print_some(&mut events, context.json)? {}
            if !self.follow {
                return Ok(());
            }
            stdio::wait(Some(events.watch()?), None)?;
            events.wait(Some(std::time::Duration::ZERO))?;
        }
    }
}

/// Prints the next events; whether there were any.
fn print_some(events: &mut Events, as_json: bool) -> anyhow::Result<bool> {
    let mut text = String::new();
    for event in events.take(BATCH) {
        match event {
            Ok(event) if as_json => text += &render::json_line(&event)?,
            Ok(event) => text += &line(&event),
            Err(error) => {
                stdio::print(&text)?;
                return Err(error.into());
            }
        }
    }
    stdio::print(&text)?;
    Ok(!text.is_empty())
}

/// `NUMBER TIME CONTAINER KIND` and what there is besides as `KEY=VALUE`.
fn line(event: &Event) -> String {
    let mut text = format!("{} {:.3} {} {}", event.number, event.time, event.container, event.kind);
    let mut add = |key: &str, value: &dyn std::fmt::Display| {
        // Writing to a String can't fail.
        let _ = write!(text, " {key}={value}");
    };
    if let Some(process) = event.process {
        add("process", &process);
    }
    if let Some(name) = &event.name {
        add("name", name);
    }
    match event.status {
        Some(ExitStatus::Code(code)) => add("code", &code),
        Some(ExitStatus::Signal(signal)) => add("signal", &signal),
        None => {}
    }
    for (key, value) in &event.details {
        match value {
            Value::String(text) => add(key, text),
            other => add(key, other),
        }
    }
    format!("{}\n", render::plain(&text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(value: Value) -> Event {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_event_is_a_line() {
        let exit = event(json!({
            "number": 41, "time": "2026-01-02T03:04:05.678901Z", "container": "web", "kind": "process-exit",
            "process": 3, "name": "app", "status": {"code": 1}, "details": {"restarts": 2, "to": "a\n\u{1b}b"},
        }));
        render::assert_documented("appc events", &exit);
        let fields = "process=3 name=app code=1 restarts=2 to=a\\n\\u{1b}b";
        assert_eq!(line(&exit), format!("41 2026-01-02T03:04:05.678Z web process-exit {fields}\n"));
        let die = event(json!({"number": 1, "time": "2026-01-02T03:04:05Z", "container": "web", "kind": "die"}));
        assert_eq!(line(&die), "1 2026-01-02T03:04:05.000Z web die\n");
        let killed = Event { status: Some(ExitStatus::Signal(9)), ..die };
        assert!(line(&killed).ends_with("die signal=9\n"));
    }
}
