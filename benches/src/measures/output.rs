//! Much output at once, and many short lines, through a command in a container that runs, logged.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::Context as _;

use crate::{
    app::{App, CONTAINER, IMAGE},
    chain::Chain,
    comparison::Comparison,
    installation::Installation,
    missing::Missing,
    podman::Podman,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
    timing::{output, timed_into},
};

const ROUNDS: usize = 5;

/// Makes a file of 16 MiB with lines of 64 bytes.
const MAKE_TEXT: &str =
    "yes 'the quick brown fox jumps over the lazy dog and then sleeps 042' | head -c 16777216 > /root/text";

/// That file below the root directory.
const TEXT: &str = "root/text";

/// 1 GiB of such lines. The directory that has the file is the shell's `$0`.
const MUCH: Program = Program {
    script: "i=0; while [ $i -lt 64 ]; do i=$((i + 1)); busybox cat \"$0/root/text\" || exit 1; done",
    bytes: 1 << 30,
};

/// A million lines, each in a write of its own.
const LINES: Program = Program {
    script: r#"exec busybox awk 'BEGIN { for (i = 1; i <= 1000000; i++) { printf "line %07d\n", i; fflush() } }'"#,
    bytes: 13_000_000,
};

/// A program for busybox's shell, in the container and on the host.
struct Program {
    script: &'static str,
    /// How much it prints.
    bytes: u64,
}

impl Program {
    fn arguments<'a>(&'a self, root: &'a str) -> [&'a str; 5] {
        ["busybox", "sh", "-c", self.script, root]
    }

    fn in_ours(&self, ours: &Installation) -> anyhow::Result<Duration> {
        rustix::fs::sync();
        ours.timed(&[&["-c", CONTAINER, "run", "--"][..], &self.arguments("/")].concat())
    }

    fn in_podman(&self, podman: &Podman) -> anyhow::Result<Duration> {
        rustix::fs::sync();
        // Where journald runs, that would be the log.
        let run = ["--rm", "--log-driver", "k8s-file", IMAGE];
        podman.time_run("output", &[&run[..], &self.arguments("/")].concat())
    }
}

/// The same programs on the host.
struct Host {
    /// Has the text.
    root: String,
    chain: Chain,
}

impl Host {
    fn with_text_of(app: &App, sandbox: &Sandbox) -> anyhow::Result<Self> {
        let root = sandbox.directory("text")?;
        output(Command::new("tar").arg("-xf").arg(&app.tar).arg("-C").arg(&root).arg(Path::new(".").join(TEXT)))?;
        Ok(Self { root: root.to_string_lossy().into_owned(), chain: Chain::new(sandbox) })
    }

    fn command(&self, program: &Program) -> Command {
        let [busybox, arguments @ ..] = program.arguments(&self.root);
        let mut command = Command::new(busybox);
        command.args(arguments);
        command
    }

    fn through_chain(&self, program: &Program) -> anyhow::Result<Duration> {
        rustix::fs::sync();
        self.chain.time(&mut self.command(program), program.bytes)
    }

    fn before_cat(&self, program: &Program) -> anyhow::Result<Duration> {
        timed_into(&mut self.command(program), &mut Command::new("cat"))
    }
}

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, missing: &mut Missing) -> anyhow::Result<()> {
    let app = App::make(sandbox, "output", MAKE_TEXT)?;
    let podman = app.in_podman(sandbox, missing)?;
    let host = Host::with_text_of(&app, sandbox)?;

    MUCH.in_ours(&app.ours)?;
    let peak_at_first = monitor_peak(&app.ours)?;
    let ours = || MUCH.in_ours(&app.ours);
    let mut much = Comparison::of("1 GiB through `appc -c NAME run`, logged", Box::new(ours));
    let chain = || host.through_chain(&MUCH);
    much.beside("pipe → DEALER → ROUTER → file → reader", Some(1.3), Box::new(chain));
    if let Some(podman) = &podman {
        much.beside("podman run, logged", Some(0.2), Box::new(|| MUCH.in_podman(podman)));
    }
    much.run(ROUNDS, table)?;
    table.add(&Row {
        what: "the monitor's peak memory after 7 GiB",
        ours: monitor_peak(&app.ours)?,
        beside: "after the first",
        theirs: peak_at_first,
        target: None,
    });

    let ours = || LINES.in_ours(&app.ours);
    let mut lines = Comparison::of("1,000,000 lines through `appc -c NAME run`, logged", Box::new(ours));
    let sum = || Ok(host.before_cat(&LINES)? + host.through_chain(&LINES)?);
    lines.beside("into `cat` + through that chain", Some(1.5), Box::new(sum));
    lines.run(ROUNDS, table)
}

/// The most that the container's monitor has had in memory so far.
fn monitor_peak(ours: &Installation) -> anyhow::Result<Quantity> {
    let path = format!("/proc/{}/status", ours.processes(CONTAINER)?.monitor);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib =
        text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.map(|kib: f64| Quantity::Bytes(kib * 1024.0)).with_context(|| format!("no VmHWM in {path}"))
}
