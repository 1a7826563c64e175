//! A terminal's whole screen, given back as it was.
//!
//! Keys come at once and are not shown, Ctrl-C among them: nothing ends or stops the program while the screen is its own.

use std::{io::IsTerminal, os::fd::OwnedFd, time::Instant};

use anyhow::Context as _;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read},
    stdio::{stdin, stdout},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};
use signal_hook::consts::SIGWINCH;

use crate::{signals, stdio};

/// To the other screen, without a cursor (xterm's control sequences).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

const CTRL_C: u8 = 3;

/// Why [`Screen::wait`] returned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The time is over.
    Time,
    /// What is shown no longer fits.
    Resized,
    /// `q`, Ctrl-C, a signal or the terminal's end.
    End,
}

/// The terminal on standard output; given back when dropped.
pub(crate) struct Screen {
    signals: OwnedFd,
    /// How the keyboard was; absent where standard input is no terminal.
    keyboard: Option<Termios>,
}

impl Screen {
    pub(crate) fn open() -> anyhow::Result<Self> {
        let signals = signals::forwarded()?;
        let keyboard = if std::io::stdin().is_terminal() {
            let before = tcgetattr(stdin()).context("cannot read the terminal's settings")?;
            let mut raw = before.clone();
            raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            tcsetattr(stdin(), OptionalActions::Now, &raw).context("cannot change the terminal's settings")?;
            Some(before)
        } else {
            None
        };
        let screen = Self { signals, keyboard };
        stdio::print(ENTER)?;
        Ok(screen)
    }

    /// Shows as much of `text` as there is room for, in place of what was shown.
    pub(crate) fn show(&mut self, text: &str) -> anyhow::Result<()> {
        let size = tcgetwinsize(stdout()).context("cannot read the terminal's size")?;
        stdio::print(&drawn(text, size.ws_col.into(), size.ws_row.into()))
    }

    /// Waits for a key that ends, for another size, or until it is `until`.
    pub(crate) fn wait(&mut self, until: Instant) -> anyhow::Result<Wake> {
        loop {
            let mut sources = vec![PollFd::new(&self.signals, PollFlags::IN)];
            let keys = stdin();
            if self.keyboard.is_some() {
                sources.push(PollFd::new(&keys, PollFlags::IN));
            }
            let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
            match poll(&mut sources, left.as_ref()) {
                Ok(0) => return Ok(Wake::Time),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for the terminal"),
            }
            let ready: Vec<bool> = sources.iter().map(|source| !source.revents().is_empty()).collect();
            let mut bytes = [0; 64];
            if ready[0] {
                let read = read(&self.signals, &mut bytes).unwrap_or(0);
                let resized = bytes[..read].iter().all(|signal| i32::from(*signal) == SIGWINCH);
                return Ok(if read > 0 && resized { Wake::Resized } else { Wake::End });
            }
            if ready.get(1) == Some(&true) {
                let read = read(keys, &mut bytes).unwrap_or(0);
                if read == 0 || bytes[..read].iter().any(|key| matches!(*key, b'q' | b'Q' | CTRL_C)) {
                    return Ok(Wake::End);
                }
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody can be told that the terminal is gone.
        let _ = stdio::print(LEAVE);
        if let Some(before) = &self.keyboard {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// The control sequences that show `text` from the upper left corner on, in `columns` and `rows` (0: unknown).
fn drawn(text: &str, columns: usize, rows: usize) -> String {
    let room = |size: usize| if size == 0 { usize::MAX } else { size };
    let lines = text.lines().take(room(rows));
    // Each line's rest is cleared, then all below the last one, which does not end: that would move everything up.
    let lines = lines.map(|line| line.chars().take(room(columns)).collect::<String>() + "\x1b[K");
    format!("\x1b[H{}\x1b[J", lines.collect::<Vec<_>>().join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_cut_off() {
        assert_eq!(drawn("one\ntwo\n", 0, 0), "\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J");
        assert_eq!(drawn("one\ntwo\nthree\n", 2, 2), "\x1b[Hon\x1b[K\r\ntw\x1b[K\x1b[J");
        assert_eq!(drawn("", 2, 2), "\x1b[H\x1b[J");
    }
}
