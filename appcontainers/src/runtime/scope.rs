//! Where systemd is the host's init: a scope of ours, which it leaves to us.
//!
//! systemd wants to be the only one that makes cgroups, but below units with `Delegate=yes`
//! (<https://systemd.io/CGROUP_DELEGATION>). So all containers of an installation and their monitors are in one scope, whoever starts
//! them: what ends a user's session or a service does not end a container. systemd makes it for the first start and removes it when
//! nothing is left in it:
//! ```text
//! appcontainers.slice/appcontainers-TAG.scope/monitors        our monitors
//!                                            /NAME.STARTID    a start, as liblxc makes it
//! ```

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{RuntimeError, cgroup, error::host_error};
use crate::{Paths, program::Program, state::HostLock};

const SYSTEMD_RUN: Program = Program { name: "systemd-run", package: "systemd" };

/// The slice that has all scopes of ours.
const SLICE: &str = "appcontainers.slice";

/// The cgroup of an installation's monitors.
const MONITORS: &str = "monitors";

/// The cgroup of the program that holds a new scope until a monitor is in it.
const FIRST: &str = "first";

/// Holds a scope: leaves the cgroup that all others are to be below, says so, and waits for the end of its input.
const HOLD: &str = r#"for scope; do
    mkdir -p "$scope/first" && echo $$ > "$scope/first/cgroup.procs" && mkdir -p "$scope/monitors" || exit
done
echo; read -r _"#;

/// A scope that systemd is just removing, because its last process has ended, can't be made anew for a moment.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Whether systemd manages this host's cgroups: it is process 1, and not only of a host whose files are seen here.
pub(crate) fn is_managed() -> bool {
    Path::new("/run/systemd/system").is_dir()
        && fs::read_to_string("/proc/1/comm").is_ok_and(|name| name == "systemd\n")
}

/// The scope's cgroup, relative to a hierarchy's root.
pub(crate) fn path(name: &str) -> String {
    format!("{SLICE}/{name}.scope")
}

/// Moves the calling process out of its caller's cgroup into this installation's scope, which is made if there is none. Nothing
/// where systemd does not manage cgroups.
pub fn enter(paths: &Paths) -> Result<(), RuntimeError> {
    if !is_managed() || join(paths) {
        return Ok(());
    }
    let _host = HostLock::acquire(paths)?;
    for _ in 1..ATTEMPTS {
        if join(paths) || make(paths).is_ok() {
            return Ok(());
        }
        // systemd does not say when it is done with the old one.
        thread::sleep(PAUSE);
    }
    make(paths)
}

/// Moves the calling process out of a start's cgroups.
pub(crate) fn leave(paths: &Paths) -> io::Result<()> {
    if is_managed() && join(paths) {
        return Ok(());
    }
    cgroup::leave()
}

/// Whether the scope is there; then the calling process is in it.
fn join(paths: &Paths) -> bool {
    directories(paths).iter().all(|scope| fs::write(scope.join(MONITORS).join("cgroup.procs"), "0").is_ok())
}

/// The scope in systemd's own hierarchies: version 2, and on a hybrid host the one that it names its own.
fn directories(paths: &Paths) -> Vec<PathBuf> {
    let named = Path::new("/sys/fs/cgroup/systemd");
    let roots = [Some(cgroup::unified()), named.is_dir().then(|| named.to_owned())];
    roots.into_iter().flatten().map(|root| root.join(cgroup::parent(paths))).collect()
}

/// Has systemd make the scope, and joins it.
fn make(paths: &Paths) -> Result<(), RuntimeError> {
    let unit = cgroup::parent(paths).split_off(SLICE.len() + 1);
    let scopes = directories(paths);
    let program = SYSTEMD_RUN.find()?;
    let mut command = Command::new(&program);
    command.args(["--scope", "--quiet", "--collect", "--slice", SLICE, "--unit", &unit]);
    command.arg(format!("--description=App containers of {}", paths.root().display()));
    // The limits are each container's own.
    command.args(["--property=Delegate=yes", "--property=TasksMax=infinity"]);
    // When the host goes down, that service stops containers cleanly, before systemd ends what is in the scope.
    command.arg("--property=Before=appcontainers-autostart.service");
    command.args(["--", "/bin/sh", "-c", HOLD, "sh"]).args(&scopes);
    // A monitor has none.
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut holder = command.spawn().map_err(host_error("run", &program))?;
    let is_held = holder.stdout.as_mut().is_some_and(|said| said.read_exact(&mut [0]).is_ok());
    let has_joined = is_held && join(paths);
    let said = end(holder).map_err(host_error("wait for", &program))?;
    for scope in scopes {
        let _ = fs::remove_dir(scope.join(FIRST));
    }
    if has_joined { Ok(()) } else { Err(RuntimeError::Scope { unit, said }) }
}

/// Lets the holder end; what it complained of.
fn end(mut holder: Child) -> io::Result<String> {
    drop(holder.stdin.take());
    let output = holder.wait_with_output()?;
    Ok(String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" "))
}
