//! A file that is read from near its end on.

use std::{os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{FileType, Mode, OFlags, Stat, fstat},
    io::Errno,
};

/// How much is read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// A regular file and how far it is read.
pub(super) struct Tailed {
    file: OwnedFd,
    position: u64,
    buffer: Vec<u8>,
}

impl Tailed {
    /// Opens a file at its beginning; none if there is something else.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        let is_file = FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile;
        Ok(is_file.then(|| Self { file, position: 0, buffer: vec![0; BUFFER_BYTES] }))
    }

    /// Passes over all but the last lines. A last line needs no line feed behind it.
    pub(super) fn skip_to_last(&mut self, lines: u64) -> Result<(), Errno> {
        let size = self.stat()?.st_size as u64;
        let (mut end, mut found) = (size, 0);
        self.position = if lines == 0 { size } else { 0 };
        while end > 0 && found < lines {
            let start = end.saturating_sub(self.buffer.len() as u64);
            let read = rustix::io::pread(&self.file, &mut self.buffer[..(end - start) as usize], start)?;
            for at in (0..read).rev() {
                if self.buffer[at] != b'\n' || start + at as u64 + 1 == size {
                    continue;
                }
                found += 1;
                if found == lines {
                    self.position = start + at as u64 + 1;
                    break;
                }
            }
            end = start;
        }
        Ok(())
    }

    /// The next bytes; none at the end. A file that has shrunk begins anew.
    pub(super) fn read(&mut self) -> Result<&[u8], Errno> {
        let count = rustix::io::retry_on_intr(|| rustix::io::pread(&self.file, &mut *self.buffer, self.position))?;
        self.position += count as u64;
        if count == 0 && (self.stat()?.st_size as u64) < self.position && self.position > 0 {
            self.position = 0;
            return self.read();
        }
        Ok(&self.buffer[..count])
    }

    /// Whether both are the same file.
    pub(super) fn is_same(&self, other: &Self) -> Result<bool, Errno> {
        let [one, other] = [self.stat()?, other.stat()?];
        Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
    }

    fn stat(&self) -> Result<Stat, Errno> {
        fstat(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn last(content: &[u8], lines: u64) -> Vec<u8> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let mut tailed = Tailed::open(file.path()).unwrap().unwrap();
        // Small, so that lines cross its end.
        tailed.buffer.truncate(7);
        tailed.skip_to_last(lines).unwrap();
        let mut all = Vec::new();
        loop {
            match tailed.read().unwrap() {
                [] => return all,
                bytes => all.extend(bytes),
            }
        }
    }

    proptest! {
        #[test]
        fn the_last_lines_are_what_split_says(content in "[a\n]{0,60}", lines in 0..8_usize) {
            let all: Vec<&str> = content.split_inclusive('\n').collect();
            let expected = all[all.len().saturating_sub(lines)..].concat();
            prop_assert_eq!(last(content.as_bytes(), lines as u64), expected.into_bytes());
        }
    }

    #[test]
    fn a_directory_is_none() {
        assert!(Tailed::open(Path::new("/")).unwrap().is_none());
        assert_eq!(Tailed::open(Path::new("/no/such")).map(drop).unwrap_err(), Errno::NOENT);
    }
}
