//! Standard output as an archive in the making.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::fd::BorrowedFd,
};

use rustix::io::Errno;

use crate::archive::{self, END, Member};

/// How much is read and written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// An archive.
pub(super) struct Output {
    file: BufWriter<File>,
    buffer: Vec<u8>,
}

/// How a file's data was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Data {
    Whole,
    /// It ended too early: zeros are in the place of the rest.
    Short,
    /// The same, because it can't be read.
    Unreadable(Errno),
}

impl Output {
    pub(super) fn open() -> io::Result<Self> {
        let stdout = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        Ok(Self { file: BufWriter::new(stdout.into()), buffer: vec![0; BUFFER_BYTES] })
    }

    /// Writes what stands before a member's data; what has none is done with that.
    pub(super) fn head(&mut self, member: &Member) -> io::Result<()> {
        self.file.write_all(&archive::head(member))
    }

    /// Writes a member's data: exactly as many bytes as its head has said, whatever becomes of the file.
    pub(super) fn data(&mut self, file: BorrowedFd<'_>, member: &Member) -> io::Result<Data> {
        let mut data = Data::Whole;
        let mut stored = 0;
        for extent in &member.extents {
            let (mut at, end) = (extent.offset, extent.offset + extent.length);
            while at < end {
                let wanted = (end - at).min(self.buffer.len() as u64) as usize;
                let part = &mut self.buffer[..wanted];
                let mut count = 0;
                if data == Data::Whole {
                    match rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *part, at)) {
                        Ok(0) => data = Data::Short,
                        Ok(read) => count = read,
                        Err(errno) => data = Data::Unreadable(errno),
                    }
                }
                if data != Data::Whole {
                    part.fill(0);
                    count = wanted;
                }
                self.file.write_all(&part[..count])?;
                at += count as u64;
            }
            stored += extent.length;
        }
        self.file.write_all(&END[..archive::padding(stored)])?;
        Ok(data)
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.write_all(&END)?;
        self.file.flush()
    }
}
