//! What a container is started after, and the order that follows from that. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::ContainerName;

/// A container that has to run before another one is started with it.
///
/// # Examples
///
/// ```
/// use appcontainers::life::Dependency;
///
/// let after: Dependency = "db:healthy".parse()?;
/// assert_eq!((after.name.as_str(), after.healthy), ("db", true));
/// # Ok::<(), appcontainers::life::InvalidDependency>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Dependency {
    /// The container.
    pub name: ContainerName,
    /// It has to be healthy, and not only to run.
    pub healthy: bool,
}

/// No dependency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no container to start after: use NAME, or NAME:healthy")]
pub struct InvalidDependency {
    text: String,
}

/// Why a container was not started with others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DependencyError {
    /// Containers that wait for each other.
    #[error(
        "containers are to be started after each other in a circle: {}; break it: appc set {} --after none",
        circle(cycle), cycle.first().map_or("NAME", ContainerName::as_str)
    )]
    Cycle {
        /// Each is to be started after the next one, and the last after the first.
        cycle: Vec<ContainerName>,
    },
    /// One that it is to be started after was not started.
    #[error("it is to be started after {after}, which was not started")]
    Failed {
        /// The other one.
        after: ContainerName,
    },
    /// One that it is to be started after does not run and is not started now.
    #[error("it is to be started after {after}, which does not run; start both: appc start {after} {name}")]
    NotRunning {
        /// The container.
        name: ContainerName,
        /// The other one.
        after: ContainerName,
    },
    /// One that it is to be started after does not exist.
    #[error("it is to be started after {after}, which does not exist; if that is right: appc set {name} --after none")]
    Missing {
        /// The container.
        name: ContainerName,
        /// The other one.
        after: ContainerName,
    },
    /// Health that nobody looks at.
    #[error(
        "it is to be started when {after} is healthy, which has no health check; give it one: appc set {after} --health-cmd CMD"
    )]
    NoCheck {
        /// The other one.
        after: ContainerName,
    },
}

fn circle(cycle: &[ContainerName]) -> String {
    let names: Vec<_> = cycle.iter().chain(cycle.first()).map(ContainerName::as_str).collect();
    names.join(" -> ")
}

impl FromStr for Dependency {
    type Err = InvalidDependency;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, healthy) = text.strip_suffix(":healthy").map_or((text, false), |name| (name, true));
        let name = name.parse().map_err(|_| InvalidDependency { text: text.to_owned() })?;
        Ok(Self { name, healthy })
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.healthy { ":healthy" } else { "" })
    }
}

impl TryFrom<String> for Dependency {
    type Error = InvalidDependency;

    fn try_from(text: String) -> Result<Self, InvalidDependency> {
        text.parse()
    }
}

impl From<Dependency> for String {
    fn from(dependency: Dependency) -> Self {
        dependency.to_string()
    }
}

/// Who is to be started after whom.
pub(crate) type After = BTreeMap<ContainerName, Vec<ContainerName>>;

/// Containers that can't be ordered, each with a circle that it is in or after.
pub(crate) type Circles = Vec<(ContainerName, Vec<ContainerName>)>;

/// The containers of `after` in steps: what is in one is to be started after nothing but what is in those before it. Those in a circle,
/// or after one, come apart, each with a circle.
pub(crate) fn order(after: &After) -> (Vec<Vec<ContainerName>>, Circles) {
    let (mut done, mut steps) = (BTreeSet::new(), Vec::new());
    loop {
        let is_next = |name: &&ContainerName| {
            let waits_for = |other: &ContainerName| after.contains_key(other) && !done.contains(other);
            !done.contains(*name) && !after[*name].iter().any(waits_for)
        };
        let step: Vec<ContainerName> = after.keys().filter(is_next).cloned().collect();
        if step.is_empty() {
            break;
        }
        done.extend(step.iter().cloned());
        steps.push(step);
    }
    let left = after.keys().filter(|name| !done.contains(*name));
    let left = left.filter_map(|name| Some((name.clone(), find_cycle(after, name)?)));
    (steps, left.collect())
}

/// A circle that is found from `start` on, if there is one.
pub(crate) fn find_cycle(after: &After, start: &ContainerName) -> Option<Vec<ContainerName>> {
    // Depth first, without recursion: each on the way with how many of its own were looked at.
    let (mut way, mut seen) = (vec![(start.clone(), 0)], BTreeSet::new());
    while let Some((name, looked_at)) = way.last_mut() {
        let next = after.get(name).and_then(|names| names.get(*looked_at)).cloned();
        *looked_at += 1;
        match next {
            Some(next) => {
                if let Some(at) = way.iter().position(|(name, _)| *name == next) {
                    return Some(way.drain(at..).map(|(name, _)| name).collect());
                }
                if seen.insert(next.clone()) {
                    way.push((next, 0));
                }
            }
            None => drop(way.pop()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(pairs: &[(&str, &[&str])]) -> After {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        pairs.iter().map(|(name, others)| (name.parse().unwrap(), names(others))).collect()
    }

    fn text(names: &[ContainerName]) -> String {
        names.iter().map(ContainerName::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_others_wait_for_comes_first() {
        let (steps, left) =
            order(&after(&[("web", &["api", "cache"]), ("api", &["db"]), ("db", &["gone"]), ("cache", &[])]));
        assert_eq!(steps.iter().map(|step| text(step)).collect::<Vec<_>>(), ["cache db", "api", "web"]);
        assert!(left.is_empty());
    }

    #[test]
    fn a_circle_is_named_and_holds_up_nobody_else() {
        let (steps, left) = order(&after(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[]), ("e", &["e"])]));
        assert_eq!(steps.iter().map(|step| text(step)).collect::<Vec<_>>(), ["d"]);
        let left: Vec<_> = left.iter().map(|(name, cycle)| (name.as_str(), text(cycle))).collect();
        assert_eq!(
            left,
            [("a", "b c".to_owned()), ("b", "b c".to_owned()), ("c", "c b".to_owned()), ("e", "e".to_owned())]
        );
        let cycle = ["a", "b"].map(|name| name.parse().unwrap()).to_vec();
        assert!(DependencyError::Cycle { cycle }.to_string().contains("a -> b -> a;"));
    }

    #[test]
    fn a_dependency_reads_what_it_writes() {
        for text in ["db", "db:healthy"] {
            assert_eq!(text.parse::<Dependency>().unwrap().to_string(), text);
        }
        for bad in ["", ":healthy", "db:sick", "../x"] {
            assert!(bad.parse::<Dependency>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn everybody_is_started_once_after_its_own_or_is_in_or_behind_a_circle(pairs in proptest::collection::vec((0..8u8, 0..8u8), 0..20)) {
            let name = |number: u8| -> ContainerName { format!("c{number}").parse().unwrap() };
            let mut after: After = (0..8).map(|number| (name(number), Vec::new())).collect();
            for (one, other) in pairs {
                after.get_mut(&name(one)).unwrap().push(name(other));
            }
            let (steps, left) = order(&after);
            let mut done = BTreeSet::new();
            for step in &steps {
                for name in step {
                    prop_assert!(after[name].iter().all(|other| done.contains(other)));
                }
                done.extend(step.iter().cloned());
            }
            prop_assert_eq!(done.len() + left.len(), 8);
            for (_, cycle) in &left {
                for (at, name) in cycle.iter().enumerate() {
                    prop_assert!(after[name].contains(&cycle[(at + 1) % cycle.len()]));
                }
            }
        }
    }
}
