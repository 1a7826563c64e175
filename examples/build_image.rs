//! An archive becomes an image: provision a container, load the archive, run a command, save all of it.
//!
//! `cargo run -p appcontainers --example build_image -- app.tar.gz './app/install' app.aimg`
//!
//! As root. On a fresh host the first line sets everything up and builds the base, without network.

use std::{env, error::Error};

use appcontainers::{ExitStatus, setup_service};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [archive, command, image] = arguments.as_slice() else {
        return Err("usage: build_image ARCHIVE COMMAND IMAGE".into());
    };

    let service = setup_service()?;
    let container = service.provision()?;
    container.load_archive(archive)?;
    let status = container.run(command.as_str())?;
    if status != ExitStatus::Code(0) {
        return Err(format!("{command:?} ended with {status:?}; container {} is kept", container.name()).into());
    }
    container.save_image(image)?;

    println!("{}", container.name());
    Ok(())
}
