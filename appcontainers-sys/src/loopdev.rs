//! Loop devices: a file shown as a block device that goes away with its last user.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// From `linux/loop.h`.
const LOOP_CONFIGURE: u32 = 0x4C0A;
const LOOP_CTL_GET_FREE: u32 = 0x4C82;
const LOOP_GET_STATUS64: u32 = 0x4C05;
const LOOP_SET_CAPACITY: u32 = 0x4C07;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// What is in the file is cached once, by the file system in it.
const LO_FLAGS_DIRECT_IO: u32 = 16;

#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

/// A loop device that shows a part of a file. It is detached when nothing has it open or mounted any more.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    device: File,
}

impl LoopDevice {
    /// Shows all of `file`, read-only.
    pub fn attach(file: &File) -> io::Result<Self> {
        Self::attach_as(file, LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR)
    }

    /// Shows all of `file`, to be read and written: by the device that does so already, if there is one. With two, two file
    /// systems would write to the same bytes, each as if it were alone.
    pub fn share(file: &File) -> io::Result<Self> {
        flock(file, FlockOperation::LockExclusive)?;
        let device = match Self::showing(file) {
            Ok(None) => Self::attach_as(file, LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO),
            Ok(Some(device)) => Ok(device),
            Err(error) => Err(error),
        };
        flock(file, FlockOperation::Unlock)?;
        device
    }

    /// The device that shows a file, if there is one.
    pub fn showing(file: &File) -> io::Result<Option<Self>> {
        let status = file.metadata()?;
        for entry in fs::read_dir("/sys/block")?.flatten() {
            if !entry.path().join("loop/backing_file").exists() {
                continue;
            }
            let path = Path::new("/dev").join(entry.file_name());
            // What is open can't go, nor come to show another file.
            let Ok(device) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
            // SAFETY: all fields are integers or arrays of them, for which zero is valid.
            let mut info: LoopInfo64 = unsafe { std::mem::zeroed() };
            // SAFETY: `info` is a `struct loop_info64` (linux/loop.h) that lives during the call and is written by it.
            let known = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64 as _, &raw mut info) };
            if known == 0 && (info.device, info.inode) == (status.dev(), status.ino()) {
                return Ok(Some(Self { path, device }));
            }
        }
        Ok(None)
    }

    /// Makes the device as large as its file is now.
    pub fn follow_size(&self) -> io::Result<()> {
        // SAFETY: LOOP_SET_CAPACITY takes no argument that is used.
        match unsafe { libc::ioctl(self.device.as_raw_fd(), LOOP_SET_CAPACITY as _, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn attach_as(file: &File, flags: u32) -> io::Result<Self> {
        let is_written = flags & LO_FLAGS_READ_ONLY == 0;
        // The device keeps what it is given open, and with it a lock (flock) that the caller holds: it gets its own.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = &OpenOptions::new().read(true).write(is_written).open(path)?;
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        // Others look for free devices too, so the number may be taken between the two calls.
        for _ in 0..1000 {
            // SAFETY: LOOP_CTL_GET_FREE takes no argument and returns a number or -1.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = match OpenOptions::new().read(true).write(is_written).open(&path) {
                Ok(device) => device,
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => continue,
                Err(error) => return Err(error),
            };
            match configure(&device, file, flags) {
                Ok(()) => return Ok(Self { path, device }),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => continue,
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("no free loop device after 1000 tries"))
    }

    /// The device's path, `/dev/loopN`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn configure(device: &File, file: &File, flags: u32) -> io::Result<()> {
    // An empty read tells a file that can't be read before the kernel makes a device of it.
    file.read_at(&mut [0], 0)?;
    // SAFETY: all fields are integers or arrays of them, for which zero is valid.
    let mut config: LoopConfig = unsafe { std::mem::zeroed() };
    config.fd = file.as_raw_fd() as u32;
    config.info.flags = flags;
    // SAFETY: `config` is a `struct loop_config` (linux/loop.h) that lives during the call; the kernel
    // takes its own reference to the file.
    match unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
