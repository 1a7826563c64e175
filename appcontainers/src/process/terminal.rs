//! The caller's terminal: its size, and its raw mode while what is typed goes to a command's own terminal.
//!
//! Raw mode ends with the [`Terminal`], and in a panic. A signal that ends the program leaves it on: whoever takes
//! signals for the command ([`super::RunStreams::signals`]) is not ended by them.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    panic,
    sync::{Mutex, Once, PoisonError},
};

use appcontainers_wire::TerminalSize;
use rustix::termios::{OptionalActions, Termios};

/// What a terminal has whose size nobody knows.
pub(super) const DEFAULT_SIZE: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// The terminal that is raw now, and how it was before. A program has one terminal, so there is one at most.
static RAW: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// The terminal of a foreground command's streams.
#[derive(Debug)]
pub struct Terminal {
    fd: OwnedFd,
    is_raw: bool,
}

impl Terminal {
    /// Finds the terminal that a command's output goes to, else that its input comes from. It becomes raw if both are
    /// terminals: then each key is the command's, and its terminal says what the key does.
    pub(super) fn find(stdin: Option<&File>, stdout: Option<&File>) -> io::Result<Option<Self>> {
        let [stdin, stdout] = [stdin, stdout].map(|file| file.filter(|file| rustix::termios::isatty(file)));
        let Some(found) = stdout.or(stdin) else { return Ok(None) };
        let mut terminal = Self { fd: OwnedFd::from(found.try_clone()?), is_raw: false };
        if let (Some(stdin), Some(_)) = (stdin, stdout) {
            terminal.is_raw = make_raw(stdin)?;
        }
        Ok(Some(terminal))
    }

    /// Its size now.
    pub fn size(&self) -> TerminalSize {
        match rustix::termios::tcgetwinsize(&self.fd) {
            Ok(size) => TerminalSize { rows: size.ws_row, columns: size.ws_col },
            Err(_) => DEFAULT_SIZE,
        }
    }

    /// Whether each key goes to the command as it is typed.
    pub fn is_raw(&self) -> bool {
        self.is_raw
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.is_raw {
            restore();
        }
    }
}

/// Whether it was not raw before.
fn make_raw(terminal: &File) -> io::Result<bool> {
    static HOOK: Once = Once::new();
    let mut raw = RAW.lock().unwrap_or_else(PoisonError::into_inner);
    if raw.is_some() {
        return Ok(false);
    }
    let before = rustix::termios::tcgetattr(terminal)?;
    let mut settings = before.clone();
    settings.make_raw();
    let handle = OwnedFd::from(terminal.try_clone()?);
    rustix::termios::tcsetattr(terminal, OptionalActions::Now, &settings)?;
    *raw = Some((handle, before));
    // A program may abort in a panic, and then nothing is dropped.
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            others(panic);
        }));
    });
    Ok(true)
}

fn restore() {
    let raw = RAW.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((terminal, before)) = raw
        && let Err(error) = rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &before)
    {
        tracing::warn!(%error, "cannot give the terminal back its settings");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use rustix::{
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
    };

    use super::*;

    /// A terminal's two ends.
    fn terminal() -> (OwnedFd, File) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        (master, slave)
    }

    fn is_raw(terminal: &File) -> bool {
        !tcgetattr(terminal).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// One test: a program has one raw terminal at a time.
    #[test]
    fn a_terminal_is_raw_while_it_is_held_and_until_a_panic() {
        let (_master, slave) = terminal();
        let file = tempfile::tempfile().unwrap();
        for (stdin, stdout) in [(None, Some(&slave)), (Some(&slave), Some(&file)), (Some(&slave), None)] {
            let found = Terminal::find(stdin, stdout).unwrap().unwrap();
            assert!(!found.is_raw() && !is_raw(&slave));
        }
        assert!(Terminal::find(Some(&file), Some(&file)).unwrap().is_none());

        let before = tcgetattr(&slave).unwrap();
        let held = Terminal::find(Some(&slave), Some(&slave)).unwrap().unwrap();
        assert!(held.is_raw() && is_raw(&slave));
        assert!(!Terminal::find(Some(&slave), Some(&slave)).unwrap().unwrap().is_raw());
        assert!(is_raw(&slave), "it is not the second one's to restore");
        drop(held);
        assert_eq!(format!("{:?}", tcgetattr(&slave).unwrap()), format!("{before:?}"));

        let held = Terminal::find(Some(&slave), Some(&slave)).unwrap().unwrap();
        std::thread::spawn(|| panic!("on purpose")).join().unwrap_err();
        assert!(!is_raw(&slave));
        drop(held);
    }

    #[test]
    fn the_size_is_that_of_the_moment() {
        let (master, slave) = terminal();
        let found = Terminal::find(None, Some(&slave)).unwrap().unwrap();
        for (rows, columns) in [(50, 132), (24, 80)] {
            tcsetwinsize(&master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
            assert_eq!(found.size(), TerminalSize { rows, columns });
        }
    }
}
