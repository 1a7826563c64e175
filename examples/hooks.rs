//! Says what happens to containers, also what happened while it was away: `cargo run --example hooks -- [CURSOR]`

use appcontainers::{LogPiece, Paths, Service};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cursor = std::env::args().nth(1).unwrap_or_else(|| "example".to_owned());
    let service = Service::open(Paths::from_env()?);
    let mut hooks = service
        .hooks(&cursor)?
        .on_start(|event| Ok(println!("{} runs", event.container)))
        .on_exit(|event| Ok(println!("a process of {} ended: {:?}", event.container, event.status)))
        .on_oom(|event| Ok(println!("{} needs more memory", event.container)))
        .on_health(|event| Ok(println!("{} is {}", event.container, event.details["status"])))
        .on_output(|output| {
            match &output.piece {
                LogPiece::Output(record) => println!("{} printed {} bytes", output.container, record.payload.len()),
                LogPiece::Dropped { bytes } => println!("{bytes} bytes of {} are gone", output.container),
            }
            Ok(())
        });
    // Ends with an error alone.
    match hooks.run()? {}
}
