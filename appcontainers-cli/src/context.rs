//! What every command works with: the service, the container that is meant, the form of results.

use std::env;

use anyhow::{Context as _, bail};
use appcontainers::{Container, ContainerName, Service};
use serde::Serialize;

use crate::{render, stdio};

/// The variable that names a container for a whole shell.
const CONTAINER_VARIABLE: &str = "APPC_CONTAINER";

/// The service and the global options.
pub(crate) struct Context {
    pub(crate) service: Service,
    flag: Option<ContainerName>,
    pub(crate) json: bool,
}

impl Context {
    pub(crate) fn new(service: Service, flag: Option<ContainerName>, json: bool) -> Self {
        Self { service, flag, json }
    }

    /// The container that was named, by argument, `-c` or environment; none if nothing names one.
    pub(crate) fn named(&self, argument: Option<&ContainerName>) -> anyhow::Result<Option<ContainerName>> {
        let variable = env::var_os(CONTAINER_VARIABLE).filter(|value| !value.is_empty());
        let variable = variable.map(|value| value.to_string_lossy().into_owned());
        choose(argument, self.flag.as_ref(), variable.as_deref())
    }

    /// The container that is meant: the one that was named, else the session's current one, which
    /// is then said.
    pub(crate) fn container(&self, argument: Option<&ContainerName>) -> anyhow::Result<Container> {
        if let Some(name) = self.named(argument)? {
            return Ok(self.service.container(&name)?);
        }
        let Some(name) = self.service.current_container()? else {
            bail!("no container: this session has no current one; name one with -c NAME, or make one: appc provision");
        };
        stdio::note(&format!("container {name} (this session's current one)"));
        Ok(self.service.container(&name)?)
    }

    /// Whether `-c` names a container.
    pub(crate) fn is_flagged(&self) -> bool {
        self.flag.is_some()
    }

    /// The container that `-c` names, for commands that are for all containers unless it does.
    pub(crate) fn flagged(&self) -> Option<&ContainerName> {
        self.flag.as_ref()
    }

    /// Prints `value` as JSON where that was asked for, else as `text` says.
    pub(crate) fn print<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let rendered = if self.json { render::json(value)? } else { text(value) };
        stdio::print(&rendered)
    }

    /// Prints the name of a new container, alone on its line, and makes it the session's current one.
    pub(crate) fn announce(&self, container: &Container) -> anyhow::Result<()> {
        self.make_current(container)?;
        self.print_name(container)
    }

    /// Prints the name of a new container, alone on its line.
    pub(crate) fn print_name(&self, container: &Container) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Announced<'a> {
            name: &'a ContainerName,
        }
        self.print(&Announced { name: container.name() }, |announced| format!("{}\n", announced.name))
    }

    /// From now on the session's commands mean `container` unless they name another.
    pub(crate) fn make_current(&self, container: &Container) -> anyhow::Result<()> {
        let name = container.name();
        self.service
            .set_current_container(name)
            .with_context(|| format!("container {name} is there, but cannot become this session's current one"))
    }
}

fn choose(
    argument: Option<&ContainerName>,
    flag: Option<&ContainerName>,
    variable: Option<&str>,
) -> anyhow::Result<Option<ContainerName>> {
    match (argument, flag, variable) {
        (Some(argument), Some(flag), _) if argument != flag => {
            bail!("two containers are named: {argument}, and {flag} by -c; name one")
        }
        (Some(name), _, _) | (None, Some(name), _) => Ok(Some(name.clone())),
        (None, None, Some(text)) => {
            Ok(Some(text.parse().with_context(|| format!("cannot use {CONTAINER_VARIABLE} from the environment"))?))
        }
        (None, None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ContainerName {
        text.parse().unwrap()
    }

    #[test]
    fn the_nearer_name_wins_and_two_different_ones_are_refused() {
        let (a, b) = (name("a"), name("b"));
        let chosen = |argument, flag, variable| choose(argument, flag, variable).unwrap();
        assert_eq!(chosen(Some(&a), None, Some("c")), Some(name("a")));
        assert_eq!(chosen(None, Some(&b), Some("c")), Some(name("b")));
        assert_eq!(chosen(None, None, Some("c")), Some(name("c")));
        assert_eq!(chosen(Some(&a), Some(&a), None), Some(name("a")));
        assert_eq!(chosen(None, None, None), None);
        let refused = choose(Some(&a), Some(&b), None).unwrap_err();
        assert_eq!(refused.to_string(), "two containers are named: a, and b by -c; name one");
    }

    #[test]
    fn a_bad_name_in_the_environment_is_named_as_such() {
        let line = crate::failure::one_line(&choose(None, None, Some("A/b")).unwrap_err());
        assert!(line.starts_with("cannot use APPC_CONTAINER from the environment: \"A/b\" is not a name"), "{line}");
    }
}
