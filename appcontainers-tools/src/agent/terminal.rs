//! Terminals for commands: pairs of the container's own devpts (pty(7)).
//!
//! No path that an image or the container could turn elsewhere plays a part: the directory is held open from the
//! agent's start, `ptmx` is opened in it across no link and no mount, and a pair's other end comes from the first.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use appcontainers_wire::TerminalSize;
use nix::unistd::Pid;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    pty::OpenptFlags,
    termios::Winsize,
};

/// Where a container's devpts is.
const DEVPTS: &str = "/dev/pts";

/// What statfs(2) says of a devpts.
const DEVPTS_MAGIC: u64 = 0x1cd1;

/// The container's devpts, if it has one.
#[derive(Debug)]
pub(crate) struct Terminals(Option<OwnedFd>);

/// One command's terminal, as its holder sees it.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: OwnedFd,
    /// Held while the process lives: one that closes its terminal may open it again, and until then it is not over.
    slave: Option<OwnedFd>,
}

impl Terminals {
    /// Holds the devpts open. Without one there are no terminals.
    pub(crate) fn open() -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(DEVPTS, flags, Mode::empty()).ok();
        Self(directory.filter(|fd| rustix::fs::fstatfs(fd).is_ok_and(|stat| stat.f_type as u64 == DEVPTS_MAGIC)))
    }

    /// A new terminal of this size.
    pub(crate) fn create(&self, size: TerminalSize) -> io::Result<Terminal> {
        let directory = self.0.as_ref().ok_or_else(|| io::Error::other("no terminals (devpts) are on /dev/pts"))?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let master = rustix::fs::openat2(directory, "ptmx", flags, Mode::empty(), beneath)?;
        rustix::pty::unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        let terminal = Terminal { master, slave: Some(slave) };
        terminal.resize(size)?;
        Ok(terminal)
    }
}

impl Terminal {
    /// Another descriptor for what the command writes and reads. Does not block.
    pub(crate) fn master(&self) -> io::Result<OwnedFd> {
        self.master.try_clone()
    }

    /// A descriptor for the command.
    pub(crate) fn slave(&self) -> io::Result<OwnedFd> {
        self.slave.as_ref().ok_or(io::ErrorKind::NotConnected)?.as_fd().try_clone_to_owned()
    }

    /// From here on the terminal lasts as long as others hold it.
    pub(crate) fn release(&mut self) {
        self.slave = None;
    }

    /// Sets the size; the kernel tells the foreground group if it is another one (SIGWINCH).
    pub(crate) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(&self.master, size)?)
    }

    /// The process group that reads the terminal now: a shell gives each of its jobs one.
    pub(crate) fn foreground(&self) -> Option<Pid> {
        let group = rustix::termios::tcgetpgrp(&self.master).ok()?;
        Some(Pid::from_raw(group.as_raw_nonzero().get()))
    }
}
