//! `appc-monitor`: one process on the host for each running container.
//!
//! ```text
//! appc-monitor run [--files] [--startup] NAME      started by the library; standard input is the first client's socket
//! appc-monitor adopt NAME                          likewise, for a container that runs and whose monitor has died
//! appc-monitor secrets NAME                        gives a container that runs its secrets, and ends
//! appc-monitor discard DIRECTORY                   removes a writable layer that no container has any more
//! appc-monitor reap --root DIR --run DIR NAME ID   run by LXC's monitor when a container is gone
//! appc-monitor revive NAME                         for a restart that is due and for which nobody waits any more
//! ```

use std::process::ExitCode;

use appcontainers_monitor::{Arguments, execute};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("APPC_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    if words.len() == 1 && words[0] == "--version" {
        println!("appc-monitor {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(usage) => {
            eprintln!("appc-monitor: {usage}");
            return ExitCode::from(2);
        }
    };
    match execute(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
