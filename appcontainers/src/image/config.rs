//! What an image says about running its program.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How the program in an image or a container is meant to run. It grants nothing: rights are given on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageConfig {
    /// Environment of every command.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where commands start; the user's home directory if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Who runs commands: `USER[:GROUP]` or `UID[:GID]`; root if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Commands that `start` runs, each given to `/bin/sh -c`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub startup_commands: Vec<String>,
    /// Free text for people and programs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Services that the program offers: name and port, as `80` or `53/udp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub provides: BTreeMap<String, String>,
    /// Services that the program needs, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consumes: Vec<String>,
}

/// Longest single text in a configuration, in bytes.
const MAX_TEXT_BYTES: usize = 128 * 1024;

/// What in an image's configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// A control character, or none at all where there must be something, or too much.
    #[error("{field} is {text:?}: it must have 1 to 131072 bytes and no control characters")]
    Text {
        /// Which field.
        field: &'static str,
        /// Its beginning.
        text: String,
    },
    /// An environment variable's name has a `=` in it.
    #[error("environment variable {name:?} has a '=' in its name")]
    VariableName {
        /// The name.
        name: String,
    },
    /// The working directory is relative.
    #[error("working directory {path:?} is not absolute")]
    RelativeWorkingDir {
        /// The directory.
        path: String,
    },
    /// A service's port is not one.
    #[error("service {service:?} has port {port:?}: write 80, 80/tcp or 53/udp")]
    Port {
        /// The service.
        service: String,
        /// What stands for its port.
        port: String,
    },
}

impl ImageConfig {
    /// Checks everything, for an image is written by who knows whom: no control characters (but newline and
    /// tab in commands and in values of the environment and labels), no empty names, ports that are ports.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        for (name, value) in &self.env {
            line("an environment variable's name", name)?;
            if name.contains('=') {
                return Err(InvalidConfig::VariableName { name: name.clone() });
            }
            text("an environment variable's value", value, true)?;
        }
        if let Some(path) = &self.working_dir {
            line("the working directory", path)?;
            if !path.starts_with('/') {
                return Err(InvalidConfig::RelativeWorkingDir { path: path.clone() });
            }
        }
        if let Some(user) = &self.user {
            line("the user", user)?;
        }
        for command in &self.startup_commands {
            text("a startup command", command, false)?;
        }
        for (name, value) in &self.labels {
            line("a label's name", name)?;
            text("a label's value", value, true)?;
        }
        for (service, port) in &self.provides {
            line("a provided service", service)?;
            if !is_port(port) {
                return Err(InvalidConfig::Port { service: service.clone(), port: beginning(port) });
            }
        }
        self.consumes.iter().try_for_each(|service| line("a consumed service", service))
    }
}

fn line(field: &'static str, value: &str) -> Result<(), InvalidConfig> {
    if value.contains(['\n', '\t']) {
        return Err(InvalidConfig::Text { field, text: beginning(value) });
    }
    text(field, value, false)
}

fn text(field: &'static str, value: &str, may_be_empty: bool) -> Result<(), InvalidConfig> {
    let hidden = |c: char| c.is_control() && c != '\n' && c != '\t';
    let wrong_length = value.len() > MAX_TEXT_BYTES || value.is_empty() && !may_be_empty;
    match wrong_length || value.contains(hidden) {
        true => Err(InvalidConfig::Text { field, text: beginning(value) }),
        false => Ok(()),
    }
}

fn is_port(port: &str) -> bool {
    let number = port.strip_suffix("/tcp").or_else(|| port.strip_suffix("/udp")).unwrap_or(port);
    number.bytes().all(|byte| byte.is_ascii_digit()) && number.parse::<u16>().is_ok_and(|number| number != 0)
}

fn beginning(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> ImageConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_could_fool_a_terminal_or_a_configuration_file_is_refused() {
        for bad in [
            r#"{"env":{"A\nlxc.hook":"x"}}"#,
            r#"{"env":{"A=B":"x"}}"#,
            r#"{"env":{"":"x"}}"#,
            r#"{"env":{"A":"\u001b[2J"}}"#,
            r#"{"env":{"A":"\u0000"}}"#,
            r#"{"working_dir":"relative"}"#,
            r#"{"working_dir":"/a\nb"}"#,
            r#"{"user":""}"#,
            r#"{"startup_commands":[""]}"#,
            r#"{"startup_commands":["\u0007"]}"#,
            r#"{"labels":{"a\tb":""}}"#,
            r#"{"provides":{"web":"0"}}"#,
            r#"{"provides":{"web":"+80"}}"#,
            r#"{"provides":{"web":"65536"}}"#,
            r#"{"provides":{"web":"80/sctp"}}"#,
            r#"{"consumes":["a\u0085b"]}"#,
        ] {
            assert!(config(bad).validate().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_programs_need_is_taken() {
        let good = r#"{"env":{"PEM":"a\nb","E":""},"working_dir":"/srv","user":"web:www","startup_commands":["a\n\tb"],
            "labels":{"x":""},"provides":{"web":"80","dns":"53/udp"},"consumes":["db"]}"#;
        assert_eq!(config(good).validate(), Ok(()));
    }
}
