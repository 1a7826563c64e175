//! User namespaces that exist for their id maps alone (`mount_setattr(2)`, `MOUNT_ATTR_IDMAP`).

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
};

use rustix::{pipe::PipeFlags, thread::UnshareFlags};

/// A user namespace in which ids `0..count` are `base..base + count` of the caller's namespace,
/// users and groups alike. Only for programs with one thread (see [`crate::process::fork`]).
pub fn with_range(base: u32, count: u32) -> io::Result<OwnedFd> {
    let (ready, ready_in_child) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (release_in_child, release) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let mut release_end = Some(release);
    let child = crate::process::fork(|| {
        drop(release_end.take());
        // SAFETY: the child has one thread and does nothing after this but write and read pipes.
        if unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER) }.is_err() {
            return;
        }
        // The parent reads this byte, opens the namespace and closes its end: then the read below ends.
        let _ = File::from(ready_in_child).write_all(b"r");
        let _ = File::from(release_in_child).read(&mut [0]);
    });
    let child = child?;
    let mut byte = [0];
    File::from(ready).read_exact(&mut byte).map_err(|_| {
        io::Error::other("the kernel refuses a user namespace (see /proc/sys/user/max_user_namespaces)")
    })?;
    let of_child = format!("/proc/{}", child.pid().as_raw_nonzero());
    let namespace = map_and_open(&of_child, base, count);
    // Before anything returns: the child waits for this end to close, and dropping the child waits for it.
    drop(release_end);
    child.wait()?;
    namespace
}

/// As [`with_range`], for programs with several threads; slower, as it runs a program (`cat`).
pub fn with_range_of_program(base: u32, count: u32) -> io::Result<OwnedFd> {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    // SAFETY: the closure makes one system call and touches no memory that other threads may hold a lock on.
    unsafe {
        command.pre_exec(|| Ok(rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER)?));
    }
    let mut child = command.spawn()?;
    let namespace = map_and_open(&format!("/proc/{}", child.id()), base, count);
    // It ends with its input.
    drop(child.stdin.take());
    child.wait()?;
    namespace
}

fn map_and_open(of_child: &str, base: u32, count: u32) -> io::Result<OwnedFd> {
    let map = format!("0 {base} {count}\n");
    std::fs::write(format!("{of_child}/uid_map"), &map)?;
    std::fs::write(format!("{of_child}/gid_map"), &map)?;
    Ok(File::open(format!("{of_child}/ns/user"))?.into())
}
