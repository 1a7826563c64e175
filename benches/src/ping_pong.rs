//! A byte to and fro over one TCP connection: how long a turn takes.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// The argument that makes this program one of the ends.
pub(crate) const ARGUMENT: &str = "ping-pong";

/// Where the one end listens.
pub(crate) const PORT: u16 = 5202;

/// How long an end waits for one that has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Turns before those that count.
const WARM_UP: usize = 500;

/// What this program does when it is asked to be an end.
pub(crate) fn run_end(arguments: &[String]) -> anyhow::Result<()> {
    match arguments {
        [kind] if kind == "answer" => answer(),
        [kind, address, turns] if kind == "ask" => ask(address.parse()?, turns.parse()?),
        _ => bail!("no such end: {arguments:?}"),
    }
}

/// Gives back each byte, to one client after the other.
fn answer() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("cannot listen")?;
    for client in listener.incoming() {
        let mut client = client?;
        client.set_nodelay(true)?;
        let mut byte = [0];
        // One that has gone is no failure.
        while client.read_exact(&mut byte).and_then(|()| client.write_all(&byte)).is_ok() {}
    }
    Ok(())
}

/// Prints the median of so many turns, in nanoseconds.
fn ask(address: Ipv4Addr, turns: usize) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect((address, PORT)).context("cannot connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut times, mut byte) = (Vec::with_capacity(turns), [0]);
    for turn in 0..WARM_UP + turns {
        let begin = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        if turn >= WARM_UP {
            times.push(begin.elapsed());
        }
    }
    times.sort_unstable();
    println!("{}", times.get(turns / 2).context("no turn")?.as_nanos());
    Ok(())
}
