//! Commands that `start` runs. Pure.

use appcontainers_wire::ProcessSpec;

use crate::{image::ImageConfig, process::Command};

/// A container's startup commands as its agent takes them; each is a line for the container's `/bin/sh -c`.
pub fn startup_specs(config: &ImageConfig) -> Vec<ProcessSpec> {
    config.startup_commands.iter().map(|line| Command::from(line.as_str()).complete(config, false)).collect()
}
