//! A base of packages, fetched and unpacked by mmdebstrap, which hands us a tar.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use appcontainers_sys::squashfs::{Options, Writer};
use serde::{Deserialize, Serialize};

use super::{BaseError, architecture, fit::make_fit};
use crate::{
    Progress, archive,
    image::pack::{self, PackError},
};

const PROGRAM: &str = "mmdebstrap";
/// So much of what it says on stderr goes into an error.
const KEPT_BYTES: usize = 4096;

/// The recipe's part about mmdebstrap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mmdebstrap {
    /// The release's name.
    pub suite: String,
    /// Which packages come without being named, as `minbase`.
    pub variant: String,
    /// Lines of `sources.list`, which the base keeps.
    pub mirrors: Vec<String>,
    /// Those for other machines, by what `uname -m` says there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mirrors_for: BTreeMap<String, Vec<String>>,
    /// More packages.
    #[serde(default)]
    pub packages: Vec<String>,
    /// The archive's keys on the host.
    pub keyring: PathBuf,
    /// The package that has them.
    pub keyring_package: String,
}

impl Mmdebstrap {
    /// The arguments on a machine of this architecture: values stand behind `=` or `--`, so that none is taken for an option.
    fn arguments(&self, architecture: &str) -> Vec<String> {
        let mut arguments = vec![
            format!("--variant={}", self.variant),
            format!("--keyring={}", self.keyring.display()),
            "--format=tar".to_owned(),
        ];
        if !self.packages.is_empty() {
            arguments.push(format!("--include={}", self.packages.join(",")));
        }
        arguments.extend(["--", &self.suite, "-"].map(str::to_owned));
        arguments.extend(self.mirrors_for.get(architecture).unwrap_or(&self.mirrors).iter().cloned());
        arguments
    }
}

pub(super) fn pack(
    recipe: &Mmdebstrap,
    into: File,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(), BaseError> {
    if !recipe.keyring.exists() {
        let Mmdebstrap { keyring, keyring_package, .. } = recipe;
        return Err(BaseError::Missing { path: keyring.clone(), package: keyring_package.clone() });
    }
    run(PROGRAM, &recipe.arguments(&architecture()), into, options, progress)
}

/// Packs what `program` writes.
fn run(
    program: &str,
    arguments: &[String],
    into: File,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(), BaseError> {
    let mut child = spawn(program, arguments)?;
    let stderr = child.0.stderr.take();
    let said = thread::spawn(move || stderr.map(last_of).unwrap_or_default());
    let stdout = child.0.stdout.take();
    let packed = stdout.ok_or_else(|| run_error(io::ErrorKind::BrokenPipe.into())).and_then(|stdout| {
        let tar = archive::open(stdout)
            .map_err(|source| BaseError::Archive { path: Path::new(PROGRAM).to_owned(), source })?;
        let finishing = |writer: &mut Writer| {
            // It copies this host's, which are nobody's business.
            for path in [b"etc/hostname".as_slice(), b"etc/resolv.conf"] {
                writer.remove(path)?;
            }
            Ok(make_fit(writer)?)
        };
        pack::tar(tar, into, options, finishing, progress)
            .map_err(|source| BaseError::Pack { what: format!("the output of {PROGRAM}"), source })
    });
    if let Err(BaseError::Pack { source, .. }) = &packed
        && !matches!(source, PackError::Archive(_))
    {
        // Not its fault: nobody waits for the rest.
        drop(child);
        return packed.map(drop);
    }
    // It has closed its output, or its reader is gone: it ends soon. Its own word on a failure is the better one.
    let status = child.0.wait().map_err(run_error)?;
    let said = said.join().unwrap_or_default();
    if !status.success() {
        return Err(BaseError::Failed { program: PROGRAM.to_owned(), status, said });
    }
    packed.map(drop)
}

/// Ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

fn spawn(program: &str, arguments: &[String]) -> Result<Running, BaseError> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Its own locale's messages end up in our error.
    command.env("LC_ALL", "C.UTF-8");
    match command.spawn() {
        Ok(child) => Ok(Running(child)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            Err(BaseError::Missing { path: program.into(), package: PROGRAM.to_owned() })
        }
        Err(source) => Err(run_error(source)),
    }
}

fn run_error(source: io::Error) -> BaseError {
    BaseError::Run { program: PROGRAM.to_owned(), source }
}

/// Reads to the end and keeps the last of it, as a line of text.
fn last_of(mut stream: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; KEPT_BYTES];
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 {
            break;
        }
        tracing::debug!("{PROGRAM}: {}", String::from_utf8_lossy(&buffer[..count]).trim_end());
        kept.extend_from_slice(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(KEPT_BYTES));
    }
    let text = String::from_utf8_lossy(&kept).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(5)..].join("; ").replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoProgress;

    #[test]
    fn no_value_of_a_recipe_is_an_option() {
        let recipe = Mmdebstrap {
            suite: "--setup-hook=x".to_owned(),
            variant: "minbase".to_owned(),
            mirrors: vec!["deb http://m s main".to_owned()],
            mirrors_for: [("aarch64".to_owned(), vec!["deb http://ports s main".to_owned()])].into(),
            packages: vec!["a".to_owned(), "b".to_owned()],
            keyring: "/k".into(),
            keyring_package: String::new(),
        };
        let arguments = recipe.arguments("x86_64");
        assert_eq!(
            arguments,
            [
                "--variant=minbase",
                "--keyring=/k",
                "--format=tar",
                "--include=a,b",
                "--",
                "--setup-hook=x",
                "-",
                "deb http://m s main"
            ]
        );
        assert_eq!(recipe.arguments("aarch64").last().unwrap(), "deb http://ports s main");
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = spawn("/nowhere/mmdebstrap", &[]).err().unwrap();
        assert!(error.to_string().contains("mmdebstrap"), "{error}");
    }

    fn run_script(script: &str) -> Result<(), BaseError> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        run("/bin/sh", &arguments, tempfile::tempfile().unwrap(), &Options::default(), &NoProgress)
    }

    #[test]
    fn a_program_that_fails_has_its_own_say_whatever_it_wrote() {
        for before in ["", "tar -C /bin -c sh; "] {
            let error = run_script(&format!("{before}echo E: no such suite >&2; exit 3")).unwrap_err();
            assert!(matches!(&error, BaseError::Failed { said, .. } if said == "E: no such suite"), "{error}");
        }
        assert!(matches!(run_script("echo no tar"), Err(BaseError::Archive { .. } | BaseError::Pack { .. })));
        run_script("tar -C / -c etc/passwd").unwrap();
    }

    #[test]
    fn the_last_lines_are_kept() {
        let text = (0..5000).map(|number| format!("line {number}\n")).collect::<String>();
        assert_eq!(last_of(text.as_bytes()), "line 4995; line 4996; line 4997; line 4998; line 4999");
    }
}
