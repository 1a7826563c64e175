//! `appc-monitor`: one process on the host for each running container.
//!
//! ```text
//! appc-monitor run [--files] [--startup] NAME      started by the library; standard input is the first client's socket
//! appc-monitor adopt NAME                          likewise, for a container that runs and whose monitor has died
//! appc-monitor reap --root DIR --run DIR NAME ID   run by LXC's monitor when a container is gone
//! ```

mod adopt;
mod agent_link;
mod arguments;
mod client_link;
mod event_loop;
mod monitor;
mod publisher;
mod reap;
mod request;
mod run;
mod start;

use std::process::ExitCode;

use arguments::Arguments;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("APPC_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let done = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(Arguments::Run(run)) => run::run(&run.name, || start::start(&run)),
        Ok(Arguments::Adopt(name)) => run::run(&name, || adopt::adopt(&name)),
        Ok(Arguments::Reap(reap)) => reap::reap(&reap),
        Ok(Arguments::Version) => {
            println!("appc-monitor {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Err(usage) => {
            eprintln!("appc-monitor: {usage}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
