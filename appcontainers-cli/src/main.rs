//! `appc`, the command line of appcontainers: parse, one library call, render.
//!
//! Results go to standard output and nothing else does; notes, progress and errors go to standard
//! error. What happens to a container is decided in the library, never here.

mod cli;
mod commands;
mod context;
mod exit;
mod failure;
mod logging;
mod progress;
mod render;
mod screen;
mod signals;
mod stdio;

use std::{env, process::ExitCode};

use clap::Parser;

fn main() -> ExitCode {
    // The kernel lets the first move into a cgroup wait up to 16 ms; started this early, the wait
    // overlaps with everything that comes before the container needs its cgroup. The library does it
    // where it starts a container; that is some milliseconds later.
    if starts_a_container(env::args_os().skip(1)) {
        appcontainers::prewarm();
    }
    let cli = cli::Cli::parse();
    logging::start(cli.global.verbose);
    let in_run = cli.command.exits_as_another();
    match cli.execute() {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.is::<stdio::StdoutClosed>() => ExitCode::from(exit::SUCCESS),
        Err(error) => {
            stdio::note(&failure::with_hint(&error));
            ExitCode::from(exit::code_of_failure(&error, in_run))
        }
    }
}

/// Whether the command is sure to start a container: one that does not would wait at its end for nothing.
/// It looks for words only, as this runs before the arguments are parsed.
fn starts_a_container(arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let words: Vec<_> = arguments.take_while(|word| word != "--").take(8).collect();
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    let has_image = words.iter().any(|word| word.as_encoded_bytes().starts_with(b"--image"));
    has("start") || has("restart") || has("reboot") || (has("run") && has_image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_two_dashes_does_not_warm_anything() {
        let starts = |line: &str| starts_a_container(line.split(' ').map(Into::into));
        assert!(starts("run --rm --image app -- true"));
        assert!(starts("run --image=app true"));
        assert!(starts("--root /srv/a -c web start"));
        assert!(!starts("ls --json"));
        assert!(!starts("x -- run"));
        assert!(!starts("x -- run --image a"));
    }

    #[test]
    fn a_command_in_a_container_that_runs_does_not_wait_for_a_grace_period() {
        assert!(!starts_a_container(["run", "--", "true"].map(Into::into).into_iter()));
    }
}
