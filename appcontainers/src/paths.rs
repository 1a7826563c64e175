//! Where everything lies on the host. Computes paths, touches nothing.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::{ContainerName, image::Digest};

/// The state directory unless `APPC_ROOT` or `--root` moves it.
pub const DEFAULT_ROOT: &str = "/var/lib/appcontainers";

/// The directory of what does not survive a reboot unless `APPC_RUN` moves it.
pub const DEFAULT_RUN: &str = "/run/appcontainers";

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// From `/` on, in one spelling: names that the whole host shares are made of it.
fn absolute(path: PathBuf) -> PathBuf {
    // It fails without a working directory; then so does the first use of the path.
    std::path::absolute(&path).unwrap_or(path).components().collect()
}

/// A directory that can't be the state directory or the run directory: a container's configuration, which is text, could
/// not name it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot use {path:?} as APPC_ROOT or APPC_RUN: it holds a control character or is no UTF-8; choose another directory"
)]
pub struct InvalidDirectory {
    path: PathBuf,
}

fn check(path: &Path) -> Result<(), InvalidDirectory> {
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(()),
        _ => Err(InvalidDirectory { path: path.to_owned() }),
    }
}

/// The two directories that one installation of `appcontainers` owns.
///
/// # Examples
///
/// ```
/// use std::path::Path;
///
/// use appcontainers::Paths;
///
/// let paths = Paths::new("/srv/containers", "/run/containers");
/// assert_eq!(paths.root(), Path::new("/srv/containers"));
/// assert_eq!(paths.container(&"web".parse()?), Path::new("/srv/containers/containers/web"));
/// // Whoever moves the state with APPC_ROOT gets a run directory of its own, too.
/// let tests = Paths::with_root("/tmp/tests")?;
/// assert_ne!(tests.run(), Paths::from_env()?.run());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
    run: PathBuf,
}

impl Paths {
    /// State in `root`, locks and sockets in `run`; both absolute and without control characters, or no container starts.
    pub fn new(root: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), run: run.into() }
    }

    /// `APPC_ROOT` and `APPC_RUN` from the environment, else the defaults.
    pub fn from_env() -> Result<Self, InvalidDirectory> {
        Self::choose(variable("APPC_ROOT"), variable("APPC_RUN"))
    }

    /// State in `root`, the rest as [`Paths::from_env`].
    pub fn with_root(root: impl Into<PathBuf>) -> Result<Self, InvalidDirectory> {
        Self::choose(Some(root.into()), variable("APPC_RUN"))
    }

    /// Two state directories never share what is running: containers of one name would be taken for one.
    fn choose(root: Option<PathBuf>, run: Option<PathBuf>) -> Result<Self, InvalidDirectory> {
        let mut paths = Self::new(root.map_or_else(|| DEFAULT_ROOT.into(), absolute), DEFAULT_RUN);
        match run {
            Some(run) => paths.run = absolute(run),
            None if paths.root == Path::new(DEFAULT_ROOT) => {}
            None => paths.run = format!("{DEFAULT_RUN}-{}", paths.tag()).into(),
        }
        check(&paths.root)?;
        check(&paths.run)?;
        Ok(paths)
    }

    /// The state directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of locks and sockets.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Eight hex digits of the state directory's path, for names that the whole host shares
    /// (interfaces, firewall tables, cgroups).
    pub fn tag(&self) -> String {
        let hash = Sha256::digest(self.root.as_os_str().as_encoded_bytes());
        hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reservations: a snapshot, beside it the journal `resources.journal`.
    pub fn resources(&self) -> PathBuf {
        self.root.join("resources.json")
    }

    /// Manifests of bases.
    pub fn bases(&self) -> PathBuf {
        self.root.join("images/bases")
    }

    /// Manifests of images.
    pub fn user_images(&self) -> PathBuf {
        self.root.join("images/user")
    }

    /// Layers, `sha256-HEX.sqfs`.
    pub fn layers(&self) -> PathBuf {
        self.root.join("images/layers")
    }

    /// The file of one layer.
    pub fn layer(&self, digest: &Digest) -> PathBuf {
        self.layers().join(format!("sha256-{}.sqfs", digest.hex()))
    }

    /// Where layers are mounted, one directory each.
    pub fn layer_mounts(&self) -> PathBuf {
        self.root.join("overlays/image")
    }

    /// Where one layer is mounted.
    pub fn layer_mount(&self, digest: &Digest) -> PathBuf {
        self.layer_mounts().join(digest.hex())
    }

    /// Writable layers of kept containers.
    pub fn raw_overlays(&self) -> PathBuf {
        self.root.join("overlays/raw")
    }

    /// Writable layers of ephemeral containers.
    pub fn tmp_overlays(&self) -> PathBuf {
        self.root.join("overlays/tmp")
    }

    /// Configuration and logs of all containers.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// Configuration and logs of one container.
    pub fn container(&self, name: &ContainerName) -> PathBuf {
        self.containers().join(name.as_str())
    }

    /// A container's output.
    pub fn container_log(&self, name: &ContainerName) -> PathBuf {
        self.container(name).join("log")
    }

    /// A container's snapshots.
    pub fn container_snapshots(&self, name: &ContainerName) -> PathBuf {
        self.container(name).join("snapshots")
    }

    /// Templates; `default/` is ours, `user/` goes over it.
    pub fn skeletons(&self) -> PathBuf {
        self.root.join("skeletons")
    }

    /// The event journal's directory.
    pub fn events(&self) -> PathBuf {
        self.root.join("events")
    }

    /// How far programs with hooks have come.
    pub fn hooks(&self) -> PathBuf {
        self.root.join("hooks")
    }

    /// Volumes.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Secrets.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// What builds remember: which layer each step gave.
    pub fn build_cache(&self) -> PathBuf {
        self.root.join("build-cache")
    }

    /// The key of the secrets, unless another place is named for it.
    pub fn secret_key(&self) -> PathBuf {
        self.secrets().join("key")
    }

    /// The lock of the secrets, and of which containers have which.
    pub fn secrets_lock(&self) -> PathBuf {
        self.run.join("secrets.lock")
    }

    /// What setup has changed outside this directory, to undo it.
    pub fn setup_record(&self) -> PathBuf {
        self.root.join("setup.json")
    }

    /// What of one container does not survive a reboot: locks, sockets, the record of its start.
    pub fn container_run(&self, name: &ContainerName) -> PathBuf {
        self.run.join("containers").join(name.as_str())
    }

    /// Which container is current for which session.
    pub fn sessions(&self) -> PathBuf {
        self.run.join("sessions")
    }

    /// Containers' locks.
    pub fn locks(&self) -> PathBuf {
        self.run.join("locks")
    }

    /// A container's lock.
    pub fn container_lock(&self, name: &ContainerName) -> PathBuf {
        self.locks().join(format!("{name}.lock"))
    }

    /// The lock of whoever writes a container's log.
    pub fn monitor_lock(&self, name: &ContainerName) -> PathBuf {
        self.locks().join(format!("{name}.monitor"))
    }

    /// The lock of what all containers share. Not among the containers' locks: `host` is a name too.
    pub fn host_lock(&self) -> PathBuf {
        self.run.join("host.lock")
    }

    /// The lock of whoever writes to the event journal.
    pub fn journal_lock(&self) -> PathBuf {
        self.run.join("journal.lock")
    }

    /// What the reservations take, for who need not know whose it is.
    pub fn reservation_index(&self) -> PathBuf {
        self.run.join("reservations.index")
    }

    /// What the gateway publishes; absent where that is nothing.
    pub fn gateway(&self) -> PathBuf {
        self.root.join("gateway.json")
    }

    /// What the gateway's web server keeps: certificates that it has got, and accounts for that.
    pub fn gateway_data(&self) -> PathBuf {
        self.root.join("gateway")
    }

    /// The gateway's process, configuration and socket.
    pub fn gateway_run(&self) -> PathBuf {
        self.run.join("gateway")
    }

    /// The lock of what the gateway publishes.
    pub fn gateway_lock(&self) -> PathBuf {
        self.run.join("gateway.lock")
    }

    /// What was set up of the host's network since the last boot, and where.
    pub fn network_record(&self) -> PathBuf {
        self.run.join("network.json")
    }

    /// There while a command changes containers' network rules.
    pub fn network_change_mark(&self) -> PathBuf {
        self.run.join("network.changing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_state_directory_has_a_run_directory_of_its_own() {
        let choose = |root, run| Paths::choose(root, run).unwrap();
        let default = choose(None, None);
        assert_eq!((default.root(), default.run()), (Path::new(DEFAULT_ROOT), Path::new(DEFAULT_RUN)));
        assert_eq!(choose(Some("/var/lib/appcontainers/".into()), None), default);
        let other = choose(Some("/srv/a".into()), None);
        assert_eq!(other.run(), Path::new(&format!("{DEFAULT_RUN}-{}", other.tag())));
        assert_eq!(choose(Some("/srv/./a/".into()), None), other);
        assert_eq!(choose(Some("/srv/a".into()), Some("/run/x".into())).run(), Path::new("/run/x"));
    }

    #[test]
    fn the_units_name_the_scope_of_the_default_directory() {
        let units = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/systemd/appcontainers@.service");
        let scope = format!("appcontainers-{}.scope", Paths::new(DEFAULT_ROOT, DEFAULT_RUN).tag());
        assert!(std::fs::read_to_string(units).unwrap().contains(&scope), "{scope}");
    }

    #[test]
    fn a_relative_directory_is_made_absolute() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(Paths::choose(Some("state".into()), None).unwrap().root(), here.join("state"));
    }

    #[test]
    fn a_directory_that_no_configuration_can_name_is_refused() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        for bad in [&b"/srv/a\nb"[..], b"/srv/\x1b[2J", b"/srv/a\tb", b"/srv/\xff"] {
            let path = PathBuf::from(OsStr::from_bytes(bad));
            for chosen in [Paths::choose(Some(path.clone()), None), Paths::choose(None, Some(path))] {
                let error = chosen.unwrap_err().to_string();
                assert!(!error.chars().any(char::is_control), "{error}");
            }
        }
    }
}
