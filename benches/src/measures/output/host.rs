//! The same programs on the host: with the bare chain, and with `cat`.

use std::{path::Path, process::Command, time::Duration};

use super::program::{Program, TEXT};
use crate::{
    app::App,
    chain::Chain,
    sandbox::Sandbox,
    timing::{output, timed_into},
};

pub(super) struct Host {
    /// Has the text.
    root: String,
    chain: Chain,
}

impl Host {
    /// Takes the text from the app.
    pub(super) fn set_up(sandbox: &Sandbox, app: &App) -> anyhow::Result<Self> {
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

    pub(super) fn through_chain(&self, program: &Program) -> anyhow::Result<Duration> {
        rustix::fs::sync();
        self.chain.time(&mut self.command(program), program.bytes)
    }

    pub(super) fn before_cat(&self, program: &Program) -> anyhow::Result<Duration> {
        timed_into(&mut self.command(program), &mut Command::new("cat"))
    }
}
