//! One process on the host for each running container, as a library: for the program `appc-monitor`, and for what tries it
//! with agents that are hostile.
//!
//! [`agent`] is the connection to the agent, [`monitor`] what is known of the container; an event loop lets them and the clients
//! meet.

mod adopt;
pub mod agent;
mod arguments;
mod client_link;
mod event_loop;
pub mod monitor;
mod oom;
mod publisher;
mod reap;
mod request;
mod run;
mod secrets;
mod start;
mod system_init;

pub use arguments::{Arguments, ReapArguments, RunArguments};
pub use client_link::ClientLink;

/// Does what the command line asks for, to its end.
pub fn execute(arguments: &Arguments) -> anyhow::Result<()> {
    match arguments {
        Arguments::Run(run) => run::run(&run.name, || start::start(run)),
        Arguments::Adopt(name) => run::run(name, || adopt::adopt(name)),
        Arguments::Secrets(name) => secrets::deliver(name),
        Arguments::Reap(reap) => reap::reap(reap),
        Arguments::Discard(directory) => reap::discard(directory),
        Arguments::Revive(name) => reap::revive(name),
    }
}
