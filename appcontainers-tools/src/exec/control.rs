//! What agent and trampoline say to each other, over a socket pair that is the trampoline's descriptor 0 at first:
//! the spec (in a memfd, so that the agent never waits for a reader) and the command's standard input go there, a
//! failure comes back. That the socket closes without one says that the command runs.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Command, Stdio},
};

use appcontainers_wire::{ProcessSpec, SpawnFailure, decode, encode};
use rustix::{
    fs::{MemfdFlags, Mode, OFlags},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType,
    },
};

/// Longest failure that is sent, in bytes: a datagram.
const MAX_FAILURE_BYTES: usize = 64 * 1024;

/// Starts trampolines. Holds the agent's own file open: what happens to the container's mounts changes nothing.
pub(crate) struct Trampoline {
    executable: OwnedFd,
    null: OwnedFd,
}

/// How a start went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The trampoline is still at it.
    Pending,
    /// It is the command now.
    Running,
    /// It could not become the command.
    Failed(SpawnFailure),
}

impl Trampoline {
    /// Opens what each start needs.
    pub(crate) fn open() -> io::Result<Self> {
        let executable = rustix::fs::open("/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { executable, null })
    }

    /// Starts a trampoline for `spec`; standard input is /dev/null if there is none. Returns its pid and the socket for
    /// [`outcome`]. The working directory must be /proc.
    pub(crate) fn start(
        &self,
        spec: &ProcessSpec,
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> io::Result<(u32, OwnedFd)> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let memory = rustix::fs::memfd_create("spec", MemfdFlags::CLOEXEC)?;
        let text = encode(spec).map_err(io::Error::other)?;
        write_all(&memory, &text)?;
        let input = stdin.as_ref().map_or(self.null.as_fd(), AsFd::as_fd);
        send_fds(&ours, [memory.as_fd(), input])?;
        let child = Command::new(format!("self/fd/{}", self.executable.as_raw_fd()))
            .arg0("appc-agent")
            .arg(super::WORD)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr))
            .spawn()?;
        Ok((child.id(), ours))
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    let mut offset = 0;
    while !bytes.is_empty() {
        let written = rustix::io::pwrite(file, bytes, offset)?;
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

fn send_fds(socket: &OwnedFd, fds: [BorrowedFd<'_>; 2]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(socket, &[IoSlice::new(b".")], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// How the start went, as far as is known now.
pub(crate) fn outcome(socket: &OwnedFd) -> Outcome {
    let mut buffer = vec![0; MAX_FAILURE_BYTES];
    match rustix::net::recv(socket, &mut buffer, RecvFlags::DONTWAIT) {
        Ok((0, _)) => Outcome::Running,
        Ok((length, _)) => Outcome::Failed(decode(&buffer[..length]).unwrap_or_else(|error| SpawnFailure::Other {
            why: format!("the command was not started, and why is not understood: {error}"),
        })),
        Err(Errno::AGAIN | Errno::INTR) => Outcome::Pending,
        // The trampoline was killed before it read what it was sent.
        Err(_) => Outcome::Running,
    }
}

/// The trampoline's end; it closes on exec.
pub(super) struct Control(OwnedFd);

impl Control {
    /// Takes over what the agent sent on descriptor 0 and makes the command's standard input of it.
    pub(super) fn take() -> io::Result<(Self, ProcessSpec)> {
        let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let mut fds = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let mut fds = fds.next().ok_or(io::ErrorKind::UnexpectedEof)?;
        let (Some(memory), Some(input)) = (fds.next(), fds.next()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        rustix::stdio::dup2_stdin(&input)?;
        let mut text = vec![0; rustix::fs::fstat(&memory)?.st_size as usize];
        let mut read = 0;
        while read < text.len() {
            match rustix::io::pread(&memory, &mut text[read..], read as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => read += count,
            }
        }
        Ok((Self(socket), decode(&text).map_err(io::Error::other)?))
    }

    /// Tells the agent why there is no command.
    pub(super) fn report(&self, failure: &SpawnFailure) {
        let text = match encode(failure) {
            Ok(text) if text.len() <= MAX_FAILURE_BYTES => text,
            _ => {
                let why = format!(
                    "the command was not started (as a shell's {}); its name is too long",
                    failure.shell_code()
                );
                encode(&SpawnFailure::Other { why }).unwrap_or_default()
            }
        };
        // The agent is gone if this fails; there is nobody else to tell.
        let _ = rustix::net::send(&self.0, &text, SendFlags::NOSIGNAL);
    }
}
