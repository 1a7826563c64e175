//! Starting a container with liblxc.
//!
//! liblxc is called only in a short-lived forked child: in the calling process it would move that
//! process into its own monitor cgroup and leave cgroups behind. The child starts the container
//! daemonized, hands back its init as a pidfd, and ends; LXC's own monitor and the container live on.

use std::{
    ffi::{CStr, CString},
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::AsFd,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType,
    },
    process::{Pid, PidfdFlags, Signal},
};

use crate::process::{Child, fork, reset_signals};

/// What liblxc needs to start a container.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// The container's name for LXC.
    pub name: String,
    /// A directory of this container's own: LXC's command socket is named by it and `name`.
    pub lxc_path: PathBuf,
    /// The configuration file, in `lxc.container.conf(5)`'s format.
    pub config: PathBuf,
}

/// The directory that liblxc makes for locks of containers below `lxc_path`, and never removes.
pub fn lock_directory(lxc_path: &Path) -> PathBuf {
    Path::new("/run/lxc/lock").join(lxc_path.strip_prefix("/").unwrap_or(lxc_path))
}

/// A container that LXC has started.
#[derive(Debug)]
pub struct Started {
    /// The container's init in the caller's pid namespace.
    pub init_pid: Pid,
    /// The same, as a file descriptor that can't come to mean another process.
    pub init: OwnedFd,
}

/// A start that is under way in a child.
#[derive(Debug)]
pub struct Starting {
    answer: OwnedFd,
    child: Child,
}

/// Starts a container in the background. Only for programs with one thread, as [`fork`].
pub fn start(request: &StartRequest) -> io::Result<Starting> {
    let (answer, answer_in_child) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let child = fork(|| {
        reset_signals();
        // A start whose caller is dead must not go on to a container that no record names.
        if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
            return;
        }
        let opened = start_here(request).and_then(|pid| match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(init) => Ok((pid, init)),
            Err(_) => Err("the container's init ended at once".to_owned()),
        });
        let sent = match opened {
            Ok((pid, init)) => send_init(&answer_in_child, pid, &init),
            Err(why) => rustix::net::send(&answer_in_child, why.as_bytes(), SendFlags::empty()).map(drop),
        };
        if let Err(errno) = sent {
            tracing::error!(%errno, "cannot hand a started container's init over");
        }
    })?;
    Ok(Starting { answer, child })
}

impl Starting {
    /// Whether [`Starting::wait`] would wait no more; waits for that, but at most `timeout`.
    pub fn is_over_within(&self, timeout: Duration) -> io::Result<bool> {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.answer, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives the start up: liblxc is called off. LXC's monitor and what it has started live on, in their cgroup.
    pub fn abandon(self) -> io::Result<()> {
        self.child.kill()
    }

    /// Waits until the container's init runs; an error holds what liblxc said.
    pub fn wait(self) -> io::Result<Started> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &self.answer,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let init = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        self.child.wait()?;
        let text = &bytes[..received.bytes];
        match (init, std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).and_then(Pid::from_raw)) {
            (Some(init), Some(init_pid)) => Ok(Started { init_pid, init }),
            _ if text.is_empty() => Err(io::Error::other("the process that called liblxc died")),
            _ => Err(io::Error::other(String::from_utf8_lossy(text).into_owned())),
        }
    }
}

fn send_init(socket: &OwnedFd, pid: Pid, init: &OwnedFd) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [init.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let text = pid.as_raw_nonzero().to_string();
    rustix::net::sendmsg(socket, &[IoSlice::new(text.as_bytes())], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

fn start_here(request: &StartRequest) -> Result<Pid, String> {
    let name = CString::new(request.name.as_str()).map_err(|_| "a NUL in the container's name")?;
    let lxc_path = path(&request.lxc_path)?;
    let config = path(&request.config)?;
    // SAFETY: both strings live during the call; the container that comes back is ours until
    // `lxc_container_put`, which this process never needs: it ends.
    let container = unsafe { lxc_sys::lxc_container_new(name.as_ptr(), lxc_path.as_ptr()) };
    // SAFETY: liblxc gives NULL or a valid container.
    let Some(functions) = (unsafe { container.as_ref() }) else {
        return Err("liblxc gives no container".to_owned());
    };
    let (Some(load_config), Some(want_daemonize), Some(start), Some(init_pid)) =
        (functions.load_config, functions.want_daemonize, functions.start, functions.init_pid)
    else {
        return Err("liblxc lacks a function".to_owned());
    };
    // SAFETY: `container` is the one that these functions came from and is valid; strings live
    // during the calls; a NULL argv means the configuration's `lxc.init.cmd`.
    unsafe {
        if !load_config(container, config.as_ptr()) {
            return Err(format!("liblxc refuses the configuration {}", request.config.display()));
        }
        want_daemonize(container, true);
        if !start(container, 0, std::ptr::null()) {
            let error = functions.error_string;
            let said = if error.is_null() {
                "liblxc could not start the container".to_owned()
            } else {
                CStr::from_ptr(error).to_string_lossy().into_owned()
            };
            return Err(said);
        }
        Pid::from_raw(init_pid(container)).ok_or_else(|| "the container's init ended at once".to_owned())
    }
}

fn path(path: &Path) -> Result<CString, String> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| format!("a NUL in {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lxcs_locks_are_below_its_own_directory() {
        assert_eq!(lock_directory(Path::new("/run/a/b")), Path::new("/run/lxc/lock/run/a/b"));
    }
}
