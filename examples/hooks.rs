//! Says what happens to containers, also what happened while it was away: `cargo run --example hooks -- [CURSOR]`

use std::{
    error::Error,
    io::{Write as _, stdout},
};

use appcontainers::{LogPiece, Paths, Service};

fn main() -> Result<(), Box<dyn Error>> {
    let cursor = std::env::args().nth(1).unwrap_or_else(|| "example".to_owned());
    let service = Service::open(Paths::from_env()?);
    // What a callback could not do comes again.
    let mut hooks = service
        .hooks(&cursor)?
        .on_start(|event| Ok(writeln!(stdout(), "{} runs", event.container)?))
        .on_exit(|event| Ok(writeln!(stdout(), "a process of {} ended: {:?}", event.container, event.status)?))
        .on_oom(|event| Ok(writeln!(stdout(), "{} needs more memory", event.container)?))
        .on_health(|event| Ok(writeln!(stdout(), "{} is {}", event.container, event.details["status"])?))
        .on_output(|output| {
            match &output.piece {
                LogPiece::Output(record) => {
                    writeln!(stdout(), "{} printed {} bytes", output.container, record.payload.len())?;
                }
                LogPiece::Dropped { bytes } => writeln!(stdout(), "{bytes} bytes of {} are gone", output.container)?,
            }
            Ok(())
        });
    // Ends with an error alone.
    match hooks.run()? {}
}
