//! A terminal on which a test types and reads what a person would see.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process_group},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use crate::{LIMIT, allowed, wait::wait_until};

/// A program on a terminal of its own. Killed, with all of its process group, when dropped.
#[derive(Debug)]
pub struct Console {
    master: File,
    /// Held, so that what was printed last can still be read when the program has ended.
    _slave: OwnedFd,
    child: Child,
    seen: String,
}

impl Console {
    /// Runs `command` as the leader of a session whose terminal this is.
    #[track_caller]
    pub(crate) fn start(command: &Command, (rows, columns): (u16, u16)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("open a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("unlock a terminal");
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, flags).expect("open a terminal's other end");
        let share = || Stdio::from(slave.try_clone().expect("share a terminal"));
        let mut setsid = Command::new("setsid");
        setsid.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => setsid.env(key, value),
                None => setsid.env_remove(key),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            setsid.current_dir(directory);
        }
        let console = Self {
            master: master.into(),
            child: setsid.stdin(share()).stdout(share()).stderr(share()).spawn().expect("run setsid (util-linux)"),
            _slave: slave,
            seen: String::new(),
        };
        console.resize(rows, columns);
        console
    }

    /// Types, without a line end of its own.
    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("type");
    }

    /// Makes the terminal's window another size.
    #[track_caller]
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("resize a terminal");
    }

    /// Whether each key goes to the program as it is typed, and is shown by nobody else.
    #[track_caller]
    pub fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.master).expect("a terminal's settings").local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits until this is seen; gives what was before it.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + allowed(LIMIT);
        loop {
            if let Some((before, after)) = self.seen.split_once(text) {
                let before = before.to_owned();
                self.seen = after.to_owned();
                return before;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {text:?} on the terminal, saw {:?}", self.seen);
            self.read(Timespec::try_from(left).expect("a short time"));
        }
    }

    /// Waits for the program's end; its exit code (128 + N if signal N ended it) and what was seen last.
    #[track_caller]
    pub fn wait(mut self) -> (i32, String) {
        let status = wait_until(&mut self.child, Instant::now() + allowed(LIMIT));
        while self.read(Timespec::default()) {}
        let status = status.unwrap_or_else(|| panic!("the program on the terminal hangs, saw {:?}", self.seen));
        let code = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal);
        (status.code().or(code).unwrap_or_default(), std::mem::take(&mut self.seen))
    }

    /// Reads what is there, or comes within this time; whether something did.
    fn read(&mut self, time: Timespec) -> bool {
        let ready = poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&time));
        if !ready.is_ok_and(|ready| ready > 0) {
            return false;
        }
        let mut buffer = [0; 4096];
        let count = self.master.read(&mut buffer).expect("read a terminal");
        self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        count > 0
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // setsid forks only where it leads its group already: it is the session's leader, or that one's parent.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
