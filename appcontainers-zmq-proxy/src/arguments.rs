//! The command line, by hand: only the library writes it.

use std::{ffi::OsString, path::PathBuf};

const USAGE: &str = "usage: appc-zmq-proxy run --containers DIR --output ENDPOINT --requests ENDPOINT [--keys FILE] \
                     [--allow KEY|FILE]... [--json] | key [--output FILE] [--json] | --version \
                     (appc zmq-proxy starts this program; you need not)";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    Run(RunArguments),
    /// Make a key pair.
    Key {
        output: Option<PathBuf>,
        json: bool,
    },
    Version,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RunArguments {
    /// The directory of the running containers' directories.
    pub(crate) containers: PathBuf,
    pub(crate) output: String,
    pub(crate) requests: String,
    /// The file of this side's key pair.
    pub(crate) keys: Option<PathBuf>,
    /// Who may connect: public keys, or files that have one.
    pub(crate) allow: Vec<OsString>,
    pub(crate) json: bool,
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Self, &'static str> {
        match words.next().as_deref().and_then(|word| word.to_str()) {
            Some("run") => Self::parse_run(words),
            Some("key") => Self::parse_key(words),
            Some("--version") => Ok(Self::Version),
            _ => Err(USAGE),
        }
    }

    fn parse_run(mut words: impl Iterator<Item = OsString>) -> Result<Self, &'static str> {
        let mut run = RunArguments::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().filter(|value| !value.is_empty()).ok_or(USAGE);
            let text = |value: OsString| value.into_string().map_err(|_| USAGE);
            match word.to_str() {
                Some("--containers") => run.containers = value()?.into(),
                Some("--output") => run.output = text(value()?)?,
                Some("--requests") => run.requests = text(value()?)?,
                Some("--keys") => run.keys = Some(value()?.into()),
                Some("--allow") => run.allow.push(value()?),
                Some("--json") => run.json = true,
                _ => return Err(USAGE),
            }
        }
        let is_whole = !run.containers.as_os_str().is_empty() && !run.output.is_empty() && !run.requests.is_empty();
        is_whole.then_some(Self::Run(run)).ok_or(USAGE)
    }

    fn parse_key(mut words: impl Iterator<Item = OsString>) -> Result<Self, &'static str> {
        let (mut output, mut json) = (None, false);
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--output") => output = Some(words.next().ok_or(USAGE)?.into()),
                Some("--json") => json = true,
                _ => return Err(USAGE),
            }
        }
        Ok(Self::Key { output, json })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, &'static str> {
        Arguments::parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn both_forms_and_nothing_else() {
        let run = parse("run --containers /c --output tcp://*:1 --requests tcp://*:2 --allow -a --allow b --keys k");
        let expected = RunArguments {
            containers: "/c".into(),
            output: "tcp://*:1".to_owned(),
            requests: "tcp://*:2".to_owned(),
            keys: Some("k".into()),
            allow: vec!["-a".into(), "b".into()],
            json: false,
        };
        assert_eq!(run, Ok(Arguments::Run(expected)));
        assert_eq!(parse("key --json"), Ok(Arguments::Key { output: None, json: true }));
        assert_eq!(parse("key --output f"), Ok(Arguments::Key { output: Some("f".into()), json: false }));
        for bad in ["", "run", "run --containers /c --output x", "run --allow", "key f", "key --output", "proxy"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
