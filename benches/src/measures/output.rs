//! Much output at once, and many short lines, through a command in a container that runs, logged.

use std::{process::Command, time::Duration};

use crate::{
    app::{App, CONTAINER, IMAGE},
    chain::Chain,
    comparison::Comparison,
    installation::Installation,
    missing::Missing,
    podman::Podman,
    sandbox::Sandbox,
    table::Table,
    timing::timed_into,
};

const ROUNDS: usize = 5;

/// A program of busybox's, in the container and on the host, and how much it prints.
struct Program {
    arguments: &'static [&'static str],
    bytes: u64,
}

/// 1 GiB.
const MUCH: Program =
    Program { arguments: &["busybox", "dd", "if=/dev/zero", "bs=64k", "count=16384", "status=none"], bytes: 1 << 30 };

/// A million lines, each in a write of its own.
const LINES: Program = Program {
    arguments: &["busybox", "awk", r#"BEGIN { for (i = 1; i <= 1000000; i++) { printf "line %07d\n", i; fflush() } }"#],
    bytes: 13_000_000,
};

impl Program {
    fn on_host(&self) -> Command {
        let mut command = Command::new(self.arguments[0]);
        command.args(&self.arguments[1..]);
        command
    }

    /// Its output to `appc`'s standard output.
    fn in_ours(&self, ours: &Installation) -> anyhow::Result<Duration> {
        rustix::fs::sync();
        ours.timed(&[&["-c", CONTAINER, "run", "--"], self.arguments].concat())
    }

    fn in_podman(&self, podman: &Podman) -> anyhow::Result<Duration> {
        rustix::fs::sync();
        // Where journald runs, that would be the log.
        let run = ["--rm", "--log-driver", "k8s-file", IMAGE];
        podman.time_run("output", &[&run, self.arguments].concat())
    }

    fn in_chain(&self, chain: &Chain) -> anyhow::Result<Duration> {
        rustix::fs::sync();
        chain.time(&mut self.on_host(), self.bytes)
    }

    fn before_cat(&self) -> anyhow::Result<Duration> {
        timed_into(&mut self.on_host(), &mut Command::new("cat"))
    }
}

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, missing: &mut Missing) -> anyhow::Result<()> {
    let app = App::make(sandbox, "output")?;
    let podman = app.in_podman(sandbox, missing)?;
    let chain = Chain::new(sandbox);

    let much = Box::new(|| MUCH.in_ours(&app.ours));
    let mut comparison = Comparison::of("1 GiB through `appc -c NAME run`, logged", much);
    comparison.beside("pipe → DEALER → ROUTER → file → reader", Some(1.3), Box::new(|| MUCH.in_chain(&chain)));
    if let Some(podman) = &podman {
        comparison.beside("podman run, logged", Some(0.2), Box::new(|| MUCH.in_podman(podman)));
    }
    comparison.run(ROUNDS, table)?;

    let lines = Box::new(|| LINES.in_ours(&app.ours));
    let mut comparison = Comparison::of("1,000,000 lines through `appc -c NAME run`, logged", lines);
    let sum = || Ok(LINES.before_cat()? + LINES.in_chain(&chain)?);
    comparison.beside("into `cat` + through that chain", Some(1.5), Box::new(sum));
    comparison.run(ROUNDS, table)
}
