//! `process.json` in the gateway's run directory: which process the gateway is. It is `appc gateway run` first and Caddy then, with
//! the same pid and start time.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    Paths,
    runtime::{ProcessIdentity, boot},
    state::{self, Durability, StateError, Versioned},
};

#[derive(Debug, Serialize, Deserialize)]
struct GatewayProcess {
    boot: String,
    process: ProcessIdentity,
}

impl Versioned for GatewayProcess {
    const KIND: &'static str = "record of the gateway's process";
    const VERSION: u32 = 1;
}

fn path(paths: &Paths) -> PathBuf {
    paths.gateway_run().join("process.json")
}

/// The gateway's process, if one lives.
pub(super) fn find(paths: &Paths) -> Result<Option<ProcessIdentity>, StateError> {
    let record = state::read::<GatewayProcess>(&path(paths))?;
    let lives = |record: &GatewayProcess| record.boot == boot::id() && record.process.is_alive();
    Ok(record.filter(lives).map(|record| record.process))
}

/// Makes the calling process the gateway's.
pub(super) fn become_it(paths: &Paths, process: ProcessIdentity) -> Result<(), StateError> {
    state::write(&path(paths), &GatewayProcess { boot: boot::id(), process }, Durability::Volatile)
}
