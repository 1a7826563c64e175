//! Where the programs are that a start needs.

use std::{
    env,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// A program of ours that is not where it should be.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot find {name}: looked in {}; install it there or name its directory in APPC_LIBEXEC",
    searched.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
)]
pub struct ProgramMissing {
    name: &'static str,
    searched: Vec<PathBuf>,
}

/// The monitor's file.
pub fn monitor() -> Result<PathBuf, ProgramMissing> {
    find("appc-monitor")
}

/// The agent's file: static. On the host only its file operations are run.
pub fn agent() -> Result<PathBuf, ProgramMissing> {
    find("appc-agent")
}

/// The file of the proxy for other machines.
pub(crate) fn zmq_proxy() -> Result<PathBuf, ProgramMissing> {
    find("appc-zmq-proxy")
}

/// This program's file, as its path was when this was asked for first: in another mount namespace the kernel names it by what is left
/// of that.
pub(crate) fn own() -> Option<&'static Path> {
    static OWN: OnceLock<Option<PathBuf>> = OnceLock::new();
    OWN.get_or_init(|| env::current_exe().ok()).as_deref()
}

/// In `APPC_LIBEXEC`, beside this program, in `libexec/appcontainers` beside its `bin`, then where packages put it.
fn find(name: &'static str) -> Result<PathBuf, ProgramMissing> {
    let mut directories: Vec<PathBuf> = env::var_os("APPC_LIBEXEC").map(PathBuf::from).into_iter().collect();
    if let Some(own) = own().and_then(Path::parent) {
        directories.push(own.to_owned());
        directories.extend(own.parent().map(|prefix| prefix.join("libexec/appcontainers")));
    }
    directories.extend(["/usr/libexec/appcontainers", "/usr/local/libexec/appcontainers"].map(PathBuf::from));
    match directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => Err(ProgramMissing { name, searched: directories }),
    }
}
