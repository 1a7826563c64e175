//! Programs of the host that the library starts, found also where a plain user's `PATH` does not look.

use std::{
    env, io,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::fs::{Access, access};

/// A program and the Debian and Ubuntu package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Its package.
    pub package: &'static str,
}

/// Sets the host's interfaces up.
pub const IP: Program = Program { name: "ip", package: "iproute2" };
/// Ends connections that the kernel remembers.
pub const CONNTRACK: Program = Program { name: "conntrack", package: "conntrack" };
/// Enters a container's network.
pub const NSENTER: Program = Program { name: "nsenter", package: "util-linux" };
/// Limits what goes through interfaces.
pub const TC: Program = Program { name: "tc", package: "iproute2" };
/// Loads the firewall.
pub const NFT: Program = Program { name: "nft", package: "nftables" };

/// Why a program did not do what it was started for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It is not installed.
    #[error("the program {program} is missing; install it: apt-get install {package}")]
    Missing {
        /// Its name.
        program: &'static str,
        /// Its package.
        package: &'static str,
    },
    /// It could not be started or talked to.
    #[error("cannot run {}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("{program} {arguments} failed: {message}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// What it was given.
        arguments: String,
        /// What it said, on one line.
        message: String,
    },
}

impl Program {
    /// Where it is: on `PATH`, or in a directory of system programs.
    pub fn find(&self) -> Result<PathBuf, ProgramError> {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
            .map(|directory| directory.join(self.name))
            .find(|candidate| is_executable_file(candidate))
            .ok_or(ProgramError::Missing { program: self.name, package: self.package })
    }

    /// Runs it to its end with `input` on its standard input; what it printed.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Result<String, ProgramError> {
        let path = self.find()?;
        let output = run_with_input(&path, arguments, input).map_err(|source| ProgramError::Start { path, source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        let message = if message.is_empty() { output.status.to_string() } else { message };
        Err(ProgramError::Failed { program: self.name, arguments: arguments.join(" "), message })
    }
}

fn run_with_input(path: &Path, arguments: &[&str], input: &str) -> io::Result<std::process::Output> {
    let mut command = Command::new(path);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // The inputs here are far below a pipe's capacity. A program that fails early closes its end; its
        // exit code and message say more than EPIPE.
        match stdin.write_all(input.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    child.wait_with_output()
}

fn is_executable_file(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = Program { name: "appc-no-such", package: "some-package" }.run(&[], "").unwrap_err();
        assert_eq!(error.to_string(), "the program appc-no-such is missing; install it: apt-get install some-package");
    }

    #[test]
    fn a_failing_programs_words_are_in_the_error() {
        let shell = Program { name: "sh", package: "dash" };
        assert_eq!(shell.run(&["-c", "cat"], "hello").unwrap(), "hello");
        let error = shell.run(&["-c", "echo 'no\n luck' >&2; exit 3"], "unread").unwrap_err();
        assert!(error.to_string().ends_with("failed: no luck"), "{error}");
    }
}
