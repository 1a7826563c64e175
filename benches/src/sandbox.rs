//! Namespaces and directories of the run's own, as the tests' harness has them.

use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::{debian, host_state::HostState};

/// Names the directory for files to the process in the sandbox, and the one for sockets.
const BASE_VARIABLE: &str = "APPC_BENCH_DIRECTORY";
const RUN_VARIABLE: &str = "APPC_BENCH_RUN";

/// Limits that have other values in the sandbox than on the host, each with its file below `/proc/sys`.
const HOST_LIMITS: [(&str, &str); 2] =
    [("kernel/pid_max", "APPC_BENCH_PID_MAX"), ("net/ipv4/neigh/default/gc_thresh3", "APPC_BENCH_NEIGHBOURS")];

/// Names the directory of the built programs.
const PROGRAMS_VARIABLE: &str = "APPC_BIN_DIR";

/// The same first steps in new namespaces as those of a test.
const SCRIPT: &str = include_str!("../../tests/src/sandbox.sh");

/// The place in which everything is measured.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// On a disk, for everything that is not ours alone to choose.
    pub(crate) base: PathBuf,
    /// With a short path, as sockets want it.
    pub(crate) run: PathBuf,
    /// Where appc is.
    pub(crate) programs: PathBuf,
}

impl Sandbox {
    /// The sandbox that this process is in.
    pub(crate) fn current() -> anyhow::Result<Option<Self>> {
        let (Some(base), Some(run)) = (env::var_os(BASE_VARIABLE), env::var_os(RUN_VARIABLE)) else { return Ok(None) };
        Ok(Some(Self { base: base.into(), run: run.into(), programs: programs()? }))
    }

    /// A directory for files, made here.
    pub(crate) fn directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.base.join(name);
        make_passable(&path)?;
        Ok(path)
    }
}

/// The host's own value of a limit that the sandbox hides.
pub(crate) fn host_limit(name: &str) -> Option<f64> {
    let (_, variable) = HOST_LIMITS.into_iter().find(|(known, _)| *known == name)?;
    env::var(variable).ok()?.trim().parse().ok()
}

/// Makes a directory that a container's root, a stranger, can pass through.
pub(crate) fn make_passable(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o711)))
        .with_context(|| format!("cannot create {}", path.display()))
}

/// Runs this program again in a sandbox and removes the sandbox.
pub(crate) fn enter(arguments: &[String]) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the benchmarks start containers, which needs root: sudo make bench");
    }
    programs()?;
    debian::fetch()?;
    let before = HostState::record().context("cannot look at /dev/null")?;
    let make = |parent: &str| {
        let directory = tempfile::Builder::new().prefix("appc-bench-").tempdir_in(parent);
        let directory: TempDir = directory.with_context(|| format!("cannot make a directory in {parent}"))?;
        make_passable(directory.path())?;
        anyhow::Ok(directory)
    };
    let (base, run) = (make("/var/tmp")?, make("/run")?);
    let script = base.path().join("sandbox.sh");
    fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--propagation=private", "--", "sh"]);
    command.arg(&script).arg(env::current_exe()?).args(arguments);
    command.env(BASE_VARIABLE, base.path()).env(RUN_VARIABLE, run.path());
    for (name, variable) in HOST_LIMITS {
        if let Ok(limit) = fs::read_to_string(Path::new("/proc/sys").join(name)) {
            command.env(variable, limit);
        }
    }
    let status = command.status().context("cannot run unshare")?;
    drop(before);
    if !status.success() {
        bail!("the run in the sandbox failed: {status}");
    }
    Ok(())
}

fn programs() -> anyhow::Result<PathBuf> {
    let directory = env::var_os(PROGRAMS_VARIABLE).map(PathBuf::from);
    let directory = directory.with_context(|| format!("{PROGRAMS_VARIABLE} is not set; `make bench` sets it"))?;
    for program in ["appc", "appc-monitor", "appc-agent"] {
        let path = directory.join(program);
        if !path.is_file() {
            bail!("{} is not there: make build", path.display());
        }
    }
    Ok(directory)
}
