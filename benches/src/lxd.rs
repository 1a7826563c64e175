//! LXD: a daemon with a directory of its own, containers in a directory, on its bridge.
//!
//! Its containers have no address and `sleep` as their init, which is in its favour.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    missing::Missing,
    sandbox::Sandbox,
    timing::{output, timed},
};

/// Debian's. A snap's is the host's own daemon and can have no second directory; Ubuntu's `/usr/sbin/lxd` installs it.
const DAEMON: &str = "/usr/bin/lxd";

/// How long the daemon may take to begin, in seconds as it wants it, and to end.
const BEGIN_SECONDS: &str = "60";
const END: Duration = Duration::from_secs(60);

/// The bridge has no address, so that LXD starts no dnsmasq for it.
const SETTINGS: &str = "\
storage_pools:
- {name: default, driver: dir}
networks:
- {name: lxdbr0, type: bridge, config: {ipv4.address: none, ipv6.address: none}}
profiles:
- name: default
  config: {raw.lxc: lxc.init.cmd = /bin/sleep infinity}
  devices:
    root: {type: disk, pool: default, path: /}
    eth0: {type: nic, network: lxdbr0, name: eth0}
";

/// A running daemon. Ends with its containers when this is dropped.
#[derive(Debug)]
pub(crate) struct Lxd {
    directory: PathBuf,
    daemon: Child,
}

impl Lxd {
    /// Whether there is one that can be had for oneself; if not, that is noted.
    pub(crate) fn is_there(missing: &mut Missing) -> bool {
        missing.has(DAEMON, "lxd")
    }

    /// One line, or that there is none.
    pub(crate) fn version() -> String {
        output(Command::new(DAEMON).arg("--version")).map_or_else(|_| "no LXD".to_owned(), |text| format!("LXD {text}"))
    }

    /// Starts a daemon. One at a time: they would have the same bridge.
    pub(crate) fn set_up(sandbox: &Sandbox, name: &str) -> anyhow::Result<Self> {
        let directory = sandbox.directory(&format!("lxd-{name}"))?;
        let log = fs::File::create(directory.join("log")).context("cannot create LXD's log")?;
        let mut command = Command::new(DAEMON);
        command.args(["--group", "root"]).env("LXD_DIR", &directory);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let lxd = Self { daemon: command.spawn().with_context(|| format!("cannot run {DAEMON}"))?, directory };
        output(Command::new(DAEMON).args(["waitready", "--timeout", BEGIN_SECONDS]).env("LXD_DIR", &lxd.directory))
            .with_context(|| lxd.log())?;
        let settings = lxd.directory.join("settings.yaml");
        fs::write(&settings, SETTINGS)?;
        // It reads them from its standard input only.
        let mut init = Command::new("sh");
        init.args(["-c", "exec \"$1\" init --preseed < \"$2\"", "sh", DAEMON]).arg(settings);
        output(init.env("LXD_DIR", &lxd.directory)).with_context(|| lxd.log())?;
        Ok(lxd)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("lxc");
        command.args(arguments).env("LXD_DIR", &self.directory).env("LXD_CONF", self.directory.join("client"));
        command
    }

    /// Makes an image of a tar of its files.
    pub(crate) fn import(&self, tar: &Path, image: &str) -> anyhow::Result<()> {
        let metadata = self.directory.join("metadata.yaml");
        fs::write(&metadata, format!("architecture: {}\ncreation_date: 1\n", env::consts::ARCH))?;
        let packed = self.directory.join("metadata.tar");
        output(Command::new("tar").arg("-C").arg(&self.directory).arg("-cf").arg(&packed).arg("metadata.yaml"))?;
        self.lxc(&["image", "import", &packed.to_string_lossy(), &tar.to_string_lossy(), "--alias", image]).map(drop)
    }

    /// Runs a command of the client to its end and gives what it printed.
    pub(crate) fn lxc(&self, arguments: &[&str]) -> anyhow::Result<String> {
        output(&mut self.command(arguments))
    }

    /// How long one takes.
    pub(crate) fn timed(&self, arguments: &[&str]) -> anyhow::Result<Duration> {
        timed(&mut self.command(arguments))
    }

    fn log(&self) -> String {
        let log = self.directory.join("log");
        format!("LXD says: {}", fs::read_to_string(&log).unwrap_or_else(|error| error.to_string()).trim_end())
    }

    /// Asks it to end, and waits.
    fn end(&mut self) -> anyhow::Result<()> {
        let names = self.lxc(&["list", "--format", "csv", "--columns", "n"])?;
        for name in names.lines() {
            self.lxc(&["delete", "--force", name])?;
        }
        // It takes this for the host's shutdown and undoes its mounts and its bridge.
        kill_process(Pid::from_child(&self.daemon), Signal::POWER)?;
        let until = Instant::now() + END;
        while self.daemon.try_wait()?.is_none() {
            if Instant::now() >= until {
                bail!("LXD does not end within {} s", END.as_secs());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Lxd {
    /// What it leaves goes with the sandbox.
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}; {}", self.log());
            let _ = self.daemon.kill().and_then(|()| self.daemon.wait());
        }
    }
}
