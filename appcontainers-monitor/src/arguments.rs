//! The command line, by hand: forms that only the library and LXC write.

use std::{ffi::OsString, path::PathBuf};

use appcontainers::{ContainerName, Paths, runtime::StartMode};

const USAGE: &str = "usage: appc-monitor run [--files | --renewal] [--startup] NAME | adopt NAME | revive NAME | secrets NAME | discard DIRECTORY | reap --root DIR --run DIR NAME ID \
                     | --version (appc starts this program; you need not)";

/// What a monitor is started for.
#[derive(Debug, PartialEq, Eq)]
pub enum Arguments {
    /// To start a container and look after it.
    Run(RunArguments),
    /// To look after a container that runs and whose monitor has died.
    Adopt(ContainerName),
    /// To give a container that runs its secrets.
    Secrets(ContainerName),
    /// To clear up after a container that is gone.
    Reap(ReapArguments),
    /// To remove a writable layer that no container has any more.
    Discard(PathBuf),
    /// To start a container again after its back-off, instead of a process that was killed.
    Revive(ContainerName),
}

/// Which container to start, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct RunArguments {
    /// Its name.
    pub name: ContainerName,
    /// What for.
    pub mode: StartMode,
    /// Run the startup commands.
    pub startup: bool,
}

/// Which start to clear up after.
#[derive(Debug, PartialEq, Eq)]
pub struct ReapArguments {
    /// The installation.
    pub paths: Paths,
    /// The container.
    pub name: ContainerName,
    /// Tells the start from others of this container.
    pub start_id: String,
}

impl Arguments {
    /// Reads the words behind the program's name; if they can't be understood, what could be.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, &'static str> {
        let mut words = words.into_iter();
        match words.next().as_deref().and_then(|word| word.to_str()) {
            Some("run") => Self::parse_run(words),
            Some("adopt") => Self::parse_name(words).map(Self::Adopt),
            Some("revive") => Self::parse_name(words).map(Self::Revive),
            Some("secrets") => Self::parse_name(words).map(Self::Secrets),
            Some("discard") => match (words.next(), words.next()) {
                (Some(directory), None) => Ok(Self::Discard(directory.into())),
                _ => Err(USAGE),
            },
            Some("reap") => Self::parse_reap(words),
            _ => Err(USAGE),
        }
    }

    fn parse_run(words: impl Iterator<Item = OsString>) -> Result<Self, &'static str> {
        let (mut mode, mut startup, mut name) = (StartMode::Full, false, None);
        for word in words {
            match word.to_str() {
                Some("--files") => mode = StartMode::Files,
                Some("--renewal") => mode = StartMode::Renewal,
                Some("--startup") => startup = true,
                Some(text) if name.is_none() => name = Some(text.parse().map_err(|_| USAGE)?),
                _ => return Err(USAGE),
            }
        }
        Ok(Self::Run(RunArguments { name: name.ok_or(USAGE)?, mode, startup }))
    }

    fn parse_name(mut words: impl Iterator<Item = OsString>) -> Result<ContainerName, &'static str> {
        match (words.next().as_deref().and_then(|word| word.to_str()), words.next()) {
            (Some(name), None) => name.parse().map_err(|_| USAGE),
            _ => Err(USAGE),
        }
    }

    fn parse_reap(words: impl Iterator<Item = OsString>) -> Result<Self, &'static str> {
        let words: Vec<OsString> = words.collect();
        match &words[..] {
            [root_flag, root, run_flag, run, name, id] if root_flag == "--root" && run_flag == "--run" => {
                let name = name.to_str().and_then(|name| name.parse().ok()).ok_or(USAGE)?;
                let start_id = id.to_str().ok_or(USAGE)?.to_owned();
                let paths = Paths::new(PathBuf::from(root), PathBuf::from(run));
                Ok(Self::Reap(ReapArguments { paths, name, start_id }))
            }
            _ => Err(USAGE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, &'static str> {
        Arguments::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn the_forms_and_nothing_else() {
        let name: ContainerName = "web".parse().unwrap();
        assert_eq!(
            parse(&["run", "--startup", "web"]),
            Ok(Arguments::Run(RunArguments { name: name.clone(), mode: StartMode::Full, startup: true }))
        );
        assert_eq!(parse(&["adopt", "web"]), Ok(Arguments::Adopt(name.clone())));
        assert_eq!(parse(&["revive", "web"]), Ok(Arguments::Revive(name.clone())));
        assert_eq!(parse(&["secrets", "web"]), Ok(Arguments::Secrets(name.clone())));
        assert_eq!(parse(&["discard", "/a"]), Ok(Arguments::Discard("/a".into())));
        assert_eq!(
            parse(&["reap", "--root", "/a", "--run", "/b", "web", "1f"]),
            Ok(Arguments::Reap(ReapArguments { paths: Paths::new("/a", "/b"), name, start_id: "1f".to_owned() }))
        );
        for bad in [
            &[][..],
            &["run"],
            &["run", "../x"],
            &["run", "a", "b"],
            &["adopt"],
            &["adopt", "a", "b"],
            &["secrets"],
            &["secrets", "a", "b"],
            &["reap", "web", "1"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
