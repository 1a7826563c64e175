//! Commands that `start` runs.

use appcontainers_wire::ProcessSpec;

use super::{Container, length};
use crate::{Error, image::ImageConfig, process::Command};

impl Container {
    /// Adds a line for the container's `/bin/sh -c` to what [`Container::start`] runs.
    pub fn add_startup_command(&self, command: &str) -> Result<(), Error> {
        if command.trim().is_empty() || command.chars().any(|character| character.is_control() && character != '\t') {
            return Err(Error::BadStartupCommand { command: command.to_owned() });
        }
        self.update(|record| {
            record.config.startup_commands.push(command.to_owned());
            length::check(&self.name, &startup_specs(&record.config))
        })
    }

    /// The startup commands in the order in which they are started.
    pub fn startup_commands(&self) -> Result<Vec<String>, Error> {
        Ok(self.record()?.config.startup_commands)
    }

    /// Removes one startup command; `index` counts from 1.
    pub fn remove_startup_command(&self, index: usize) -> Result<(), Error> {
        self.update(|record| {
            let commands = &mut record.config.startup_commands;
            if index == 0 || index > commands.len() {
                return Err(Error::NoStartupCommand { name: self.name.clone(), index, count: commands.len() });
            }
            commands.remove(index - 1);
            Ok(())
        })
    }
}

/// A container's startup commands as its agent takes them; each is a line for the container's `/bin/sh -c`.
pub fn startup_specs(config: &ImageConfig) -> Vec<ProcessSpec> {
    config.startup_commands.iter().map(|line| Command::from(line.as_str()).complete(config, false)).collect()
}
