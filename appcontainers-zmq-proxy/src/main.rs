//! `appc-zmq-proxy`: containers' output and events for other machines, over TCP with CURVE. `docs/zeromq.md` describes it.
//!
//! ```text
//! appc-zmq-proxy run --containers DIR --output ENDPOINT --requests ENDPOINT [--keys FILE] [--allow KEY|FILE]... [--json]
//! appc-zmq-proxy key [--output FILE] [--json]
//! ```
//! The library starts it. It is a program of its own because the encryption costs memory, which monitors must not.

mod arguments;
mod authenticator;
mod certificate;
mod containers;
mod proxy;
mod request;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use crate::{
    arguments::{Arguments, RunArguments},
    certificate::Certificate,
    proxy::Proxy,
};

fn main() -> ExitCode {
    let done = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(Arguments::Run(run)) => serve(&run),
        Ok(Arguments::Key { output, json }) => make_key(output.as_deref(), json),
        Ok(Arguments::Version) => print(concat!("appc-zmq-proxy ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(usage) => {
            eprintln!("appc-zmq-proxy: {usage}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("appc: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Until it is killed.
fn serve(arguments: &RunArguments) -> anyhow::Result<()> {
    check_libzmq()?;
    let own = match &arguments.keys {
        Some(path) => Certificate::read(path)?,
        None => Certificate::generate()?,
    };
    let allowed = arguments.allow.iter().map(|allowed| certificate::public_key(allowed)).collect::<Result<_, _>>()?;
    let mut proxy = Proxy::bind(&arguments.output, &arguments.requests, &own, allowed)?;
    // Below it, every container's sockets have a path that is short enough.
    std::env::set_current_dir(&arguments.containers)
        .with_context(|| format!("cannot change to {}", arguments.containers.display()))?;
    print(&own.public_text(arguments.json)?)?;
    eprintln!("appc: output and events at {}, requests at {}", arguments.output, arguments.requests);
    if arguments.allow.is_empty() {
        eprintln!("appc: nobody may connect: --allow names the public keys of those who may");
    }
    proxy.run()
}

fn make_key(output: Option<&Path>, json: bool) -> anyhow::Result<()> {
    check_libzmq()?;
    let certificate = Certificate::generate()?;
    match output {
        Some(path) => {
            certificate.write(path)?;
            print(&certificate.public_text(json)?)
        }
        None => print(&certificate.whole_text(json)?),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot write to standard output")
}

fn check_libzmq() -> anyhow::Result<()> {
    if zmq::has("curve") != Some(true) {
        bail!("the libzmq of this program has no CURVE; build it where cargo reads its .cargo/config.toml");
    }
    Ok(())
}
