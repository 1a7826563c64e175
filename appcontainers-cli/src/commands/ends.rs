//! How a process ended, as an exit code.

use anyhow::bail;
use appcontainers::{
    Container,
    process::{End, ProcessRef},
};

use crate::stdio;

/// The code as a shell gives it.
pub(super) fn code(container: &Container, process: &ProcessRef, end: &End) -> anyhow::Result<u8> {
    match end {
        End::Exited(status) => Ok(status.shell_code()),
        End::NotStarted(failure) => {
            stdio::note(&format!("process {process} of container {} was not started: {failure}", container.name()));
            Ok(failure.shell_code())
        }
        End::Lost => bail!("how process {process} ended is not known: container {} ended with it", container.name()),
    }
}
