//! Forks: children that run a closure and end, and leaving the terminal behind. Who is at the other end of a socket.

use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::process::{Pid, Signal, WaitOptions, waitpid};

/// A forked child that has not been waited for. Dropping it waits.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    waited: bool,
}

impl Child {
    /// The child's pid.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Ends it at once.
    pub fn kill(self) -> io::Result<()> {
        rustix::process::kill_process(self.pid, Signal::KILL)?;
        self.wait().map(drop)
    }

    /// Waits for the end; true if the child's closure ran to its end.
    pub fn wait(mut self) -> io::Result<bool> {
        self.reap()
    }

    fn reap(&mut self) -> io::Result<bool> {
        self.waited = true;
        loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Ok(Some((_, status))) => return Ok(status.exit_status() == Some(0)),
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.waited
            && let Err(error) = self.reap()
        {
            tracing::warn!(pid = self.pid.as_raw_nonzero(), %error, "cannot wait for a forked child");
        }
    }
}

/// Forks a child that runs `body` and ends without running exit handlers.
///
/// Only for programs with one thread: in a child of several, a lock that another thread held
/// stays locked (POSIX `fork`). An error says that the caller has more, or that the kernel has no room.
pub fn fork(body: impl FnOnce()) -> io::Result<Child> {
    if thread_count()? != 1 {
        return Err(io::Error::other("fork in a program with several threads"));
    }
    // SAFETY: there is one thread (checked above), so every lock and the allocator are consistent in
    // the child; the child leaves through `_exit` and never returns to the caller's frames.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_ok();
            // SAFETY: `_exit` takes a number and does not return.
            unsafe { libc::_exit(i32::from(!ended)) }
        }
        raw => {
            let pid = Pid::from_raw(raw).ok_or_else(|| io::Error::other("fork gave no pid"))?;
            Ok(Child { pid, waited: false })
        }
    }
}

/// Goes on in a child that has a session of its own and no parent to wait for it; the calling
/// process ends with code 0. Only for programs with one thread, as [`fork`].
pub fn daemonize() -> io::Result<()> {
    if thread_count()? != 1 {
        return Err(io::Error::other("daemonize in a program with several threads"));
    }
    // SAFETY: one thread, as in `fork`; the parent leaves through `_exit`, the child goes on alone.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            rustix::process::setsid()?;
            Ok(())
        }
        // SAFETY: `_exit` takes a number and does not return.
        _ => unsafe { libc::_exit(0) },
    }
}

/// Closes everything that a caller left open beside the standard streams. Only for a program that has opened nothing
/// itself yet: descriptors that it owns would be closed under it.
pub fn close_inherited() -> io::Result<()> {
    // SAFETY: close_range(2) takes two numbers and flags; that nothing owns these descriptors is the caller's word above.
    match unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives every signal its default effect and blocks none, as a program expects to be started: what a caller ignores
/// (`nohup`, a Rust program's SIGPIPE) would else be ignored in all that it starts.
pub fn reset_signals() {
    // SAFETY: `signal` and `sigprocmask` take numbers and a set that lives during the call; for numbers that can't be
    // changed (KILL, STOP, those of the C library) they return an error and do nothing.
    unsafe {
        for number in 1..=libc::SIGRTMAX() {
            libc::signal(number, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Sends a signal by number, also one of the real-time signals, to the process of a pidfd.
pub fn send_signal(pidfd: &OwnedFd, signal: i32) -> io::Result<()> {
    let (no_info, flags) = (std::ptr::null::<libc::siginfo_t>(), 0u32);
    // SAFETY: pidfd_send_signal(2) takes an open descriptor, a number, and a null pointer for what kill(2) would say.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Which process connected the other end of a socket (unix(7), SO_PEERCRED); none if it is of a pid namespace that can't be
/// seen from here.
pub fn peer(socket: &UnixStream) -> io::Result<Option<Pid>> {
    // Not rustix's: its type has no room for the pid 0, with which the kernel says that it can't be seen.
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel writes at most `length` bytes, which are
    // the size of `peer`, plain numbers that may have any value.
    match unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut peer).cast(), &raw mut length) } {
        0 => Ok(Pid::from_raw(peer.pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

fn thread_count() -> io::Result<u64> {
    // The link count of /proc/self/task is 2 plus a link a thread (proc(5)).
    Ok(rustix::fs::stat("/proc/self/task")?.st_nlink as u64 - 2)
}
