//! What a step's result depends on, as a digest: the layers below, the step's own words, and what it copies. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::StepNetwork;
use crate::image::Digest;

/// Changes when what is remembered for an older one would be wrong.
const VERSION: u32 = 1;

/// All that a step's result depends on.
#[derive(Debug, Serialize)]
pub(super) struct Key<'a> {
    version: u32,
    architecture: &'a str,
    epoch: u32,
    /// The lowest first.
    layers: &'a [Digest],
    /// Whether its root was the host's.
    privileged: bool,
    action: Action<'a>,
}

/// What is done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action<'a> {
    Run { line: &'a str, env: &'a BTreeMap<String, String>, user: &'a str, working_dir: &'a str, network: StepNetwork },
    Copy { into: &'a str, owner: &'a str, files: Digest },
}

impl Key<'_> {
    pub(super) fn new<'a>(
        architecture: &'a str,
        epoch: u32,
        layers: &'a [Digest],
        privileged: bool,
        action: Action<'a>,
    ) -> Key<'a> {
        Key { version: VERSION, architecture, epoch, layers, privileged, action }
    }

    pub(super) fn digest(&self) -> Digest {
        // Maps with keys that are no text are all that could fail, and there are none.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_counts_and_the_same_gives_the_same() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        let none = BTreeMap::new();
        let layers = [Digest::of(b"a"), Digest::of(b"b")];
        let run = |line, env, user, network| Action::Run { line, env, user, working_dir: "/", network };
        let digest = |epoch, layers, action| Key::new("x86_64", epoch, layers, false, action).digest();
        let all = [
            digest(1, &layers[..], run("a", &env, "", StepNetwork::All)),
            digest(2, &layers[..], run("a", &env, "", StepNetwork::All)),
            digest(1, &layers[..1], run("a", &env, "", StepNetwork::All)),
            digest(1, &layers[..], run("b", &env, "", StepNetwork::All)),
            digest(1, &layers[..], run("a", &none, "", StepNetwork::All)),
            digest(1, &layers[..], run("a", &env, "app", StepNetwork::All)),
            digest(1, &layers[..], run("a", &env, "", StepNetwork::None)),
            digest(1, &layers[..], Action::Copy { into: "/", owner: "0:0", files: Digest::of(b"a") }),
            digest(1, &layers[..], Action::Copy { into: "/", owner: "0:0", files: Digest::of(b"b") }),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(all[0], digest(1, &layers, run("a", &env, "", StepNetwork::All)));
    }
}
