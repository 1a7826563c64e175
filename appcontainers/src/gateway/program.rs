//! Caddy as a program: as whom it runs, where it may write, how it is started.
//!
//! ```text
//! RUN/gateway/            root:caddy 0750   caddy.json, which Caddy reads; applied.json, process.json
//! RUN/gateway/admin/      caddy      0700   its socket
//! ROOT/gateway/           caddy      0700   certificates and accounts that it gets by ACME
//! ```

use std::{
    convert::Infallible,
    env, fs, io,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    GatewayError, Sites,
    apply::{configuration_text, write_applied},
    caddy,
    error::step,
    port, process,
};
use crate::{
    Paths,
    program::{Program, ProgramError},
    runtime::ProcessIdentity,
    state::{self, Durability, GatewayLock, create_directory, create_run_directories},
};

/// The web server.
const CADDY: Program = Program { name: "caddy", package: "caddy" };
/// Gives a program another user and fewer capabilities.
const SETPRIV: Program = Program { name: "setpriv", package: "util-linux" };

/// As whom Caddy runs: the user that Debian's package makes.
const USER: &str = "caddy";

/// The right to listen on ports below 1024, and no other.
const CAPABILITIES: &str = "-all,+net_bind_service";

/// Caddy's user and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
}

impl User {
    fn find() -> Result<Self, GatewayError> {
        let path = Path::new("/etc/passwd");
        let text = fs::read_to_string(path).map_err(step("read", path))?;
        Self::parse(&text).ok_or(GatewayError::NoUser { user: USER })
    }

    /// From the lines of passwd(5).
    fn parse(text: &str) -> Option<Self> {
        let mut users = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = users.find(|fields| fields.first() == Some(&USER))?;
        Some(Self { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
    }
}

/// Caddy's socket.
pub(super) fn socket(paths: &Paths) -> PathBuf {
    paths.gateway_run().join("admin/socket")
}

/// `caddy WORDS` as its user, with the capabilities that it needs and nothing of the caller's environment.
fn command(paths: &Paths, user: User, words: &[&str]) -> Result<Command, ProgramError> {
    let mut command = Command::new(SETPRIV.find()?);
    command.args([format!("--reuid={}", user.uid), format!("--regid={}", user.gid)]);
    // Its groups, too: keys are often readable for one.
    command.args(["--init-groups", "--no-new-privs"]);
    for option in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        command.arg(format!("{option}={CAPABILITIES}"));
    }
    command.arg("--").arg(CADDY.find()?).args(words).env_clear();
    for kept in ["PATH", "LANG", "NOTIFY_SOCKET"] {
        command.envs(env::var_os(kept).map(|value| (kept, value)));
    }
    for home in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(home, paths.gateway_data());
    }
    command.current_dir("/");
    Ok(command)
}

/// Has Caddy look a configuration over, its certificates and keys too, without running it.
pub(super) fn validate(paths: &Paths, configuration: &str) -> Result<(), GatewayError> {
    let user = User::find()?;
    set_up(paths, user)?;
    let checked = paths.gateway_run().join("checked.json");
    write_for_caddy(&checked, configuration)?;
    let output =
        command(paths, user, &["validate", "--config", &checked.to_string_lossy()])?.stdin(Stdio::null()).output();
    let _ = fs::remove_file(&checked);
    let output = output.map_err(step("run", CADDY.name))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    Err(GatewayError::Refused { said: said.trim_start_matches("Error: ").trim_start_matches("validate: ").to_owned() })
}

/// Becomes Caddy, which runs until it is ended. Returns only if that fails.
pub(crate) fn become_caddy(paths: &Paths) -> Result<Infallible, GatewayError> {
    let user = User::find()?;
    CADDY.find()?;
    create_run_directories(paths).map_err(step("create", paths.run()))?;
    let file = paths.gateway_run().join("caddy.json");
    let mut command = command(paths, user, &["run", "--config", &file.to_string_lossy()])?;
    {
        let lock = GatewayLock::acquire(paths)?;
        if let Some(process) = process::find(paths)? {
            return Err(GatewayError::Runs { pid: process.pid });
        }
        set_up(paths, user)?;
        remove_socket(paths, user)?;
        let configuration = configuration_text(paths, &Sites::read(paths)?)?;
        port::check_free(&caddy::ports(&serde_json::from_str(&configuration).unwrap_or_default()))?;
        write_for_caddy(&file, &configuration)?;
        write_applied(paths, &configuration)?;
        let own =
            ProcessIdentity::own().ok_or_else(|| step("read", "/proc/self/stat")(io::ErrorKind::NotFound.into()))?;
        process::become_it(paths, own)?;
        drop(lock);
    }
    let error = command.exec();
    Err(step("run", CADDY.name)(error))
}

/// The directory keeps out whom it does not concern.
fn write_for_caddy(path: &Path, configuration: &str) -> Result<(), GatewayError> {
    state::replace(path, configuration.as_bytes(), 0o644, Durability::Volatile).map_err(step("write", path))
}

/// One that was killed has left its socket. In Caddy's own directory the unit's root can't remove it.
fn remove_socket(paths: &Paths, user: User) -> Result<(), GatewayError> {
    let directory = paths.gateway_run().join("admin");
    let own = |uid| chown(&directory, Some(uid), None).map_err(step("change the owner of", &directory));
    own(0)?;
    match fs::remove_file(socket(paths)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(step("remove", socket(paths))(error)),
        _ => own(user.uid),
    }
}

fn set_up(paths: &Paths, user: User) -> Result<(), GatewayError> {
    let run = paths.gateway_run();
    for (path, mode, owner) in
        [(run.clone(), 0o750, 0), (run.join("admin"), 0o700, user.uid), (paths.gateway_data(), 0o700, user.uid)]
    {
        create_directory(&path, mode).map_err(step("create", &path))?;
        chown(&path, Some(owner), Some(user.gid)).map_err(step("change the owner of", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_found_among_others() {
        let text = "root:x:0:0:root:/root:/bin/bash\n# caddy\ncaddyshack:x:7:7::/:/bin/sh\ncaddy:x:995:994:Caddy:/var/lib/caddy:/bin/false\n";
        assert_eq!(User::parse(text), Some(User { uid: 995, gid: 994 }));
        assert_eq!(User::parse("caddy:x:a:1::/:\n"), None);
        assert_eq!(User::parse(""), None);
    }
}
