//! An image runs: load it as an ephemeral container, say what starts with it, start it, stop it.
//!
//! `cargo run -p appcontainers --example run_image -- app.aimg './app/serve'`
//!
//! As root. The container goes, with all it has written, when it is stopped.

use std::{env, error::Error, io, time::Duration};

use appcontainers::setup_service;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [image, command] = arguments.as_slice() else {
        return Err("usage: run_image IMAGE COMMAND".into());
    };

    let service = setup_service()?;
    let container = service.load_image(image.as_str(), true)?;
    container.add_startup_command(command)?;
    container.start()?;

    println!("{} runs at {}; press Enter to stop it", container.name(), container.details()?.ip);
    io::stdin().read_line(&mut String::new())?;
    container.stop(Duration::from_secs(10))?;
    Ok(())
}
