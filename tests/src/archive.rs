//! Archives as nobody's `tar` would write them.

use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

/// A tar archive in the making. Names go in as they are: `..`, absolute, whatever.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    /// An archive without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(name, EntryType::Regular, "", 0o644, content)
    }

    /// A program.
    #[must_use]
    pub fn program(self, name: &str, content: &str) -> Self {
        self.member(name, EntryType::Regular, "", 0o755, content.as_bytes())
    }

    /// A directory.
    #[must_use]
    pub fn directory(self, name: &str) -> Self {
        self.member(name, EntryType::Directory, "", 0o755, &[])
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.member(name, EntryType::Symlink, target, 0o777, &[])
    }

    /// A hard link.
    #[must_use]
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.member(name, EntryType::Link, target, 0o644, &[])
    }

    /// A named pipe.
    #[must_use]
    pub fn fifo(self, name: &str) -> Self {
        self.member(name, EntryType::Fifo, "", 0o644, &[])
    }

    /// A device node: `block` or character.
    #[must_use]
    pub fn device(mut self, name: &str, block: bool, major: u32, minor: u32) -> Self {
        let kind = if block { EntryType::Block } else { EntryType::Char };
        let mut header = header(name, kind, "", 0o666, 0);
        header.set_device_major(major).expect("set a device number");
        header.set_device_minor(minor).expect("set a device number");
        header.set_cksum();
        self.bytes.extend(header.as_bytes());
        self
    }

    /// A member of any kind.
    #[must_use]
    pub fn member(mut self, name: &str, kind: EntryType, link: &str, mode: u32, content: &[u8]) -> Self {
        self.bytes.extend(header(name, kind, link, mode, content.len() as u64).as_bytes());
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }

    /// Writes it to `path`, which it gives back.
    pub fn write(self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref().to_owned();
        std::fs::write(&path, self.finish()).expect("write an archive");
        path
    }
}

fn header(name: &str, kind: EntryType, link: &str, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    // Not `set_path`, which refuses just the names that are wanted here.
    let write = |field: &mut [u8], text: &str| field[..text.len()].copy_from_slice(text.as_bytes());
    {
        let fields = header.as_gnu_mut().expect("a GNU header");
        write(&mut fields.name, name);
        write(&mut fields.linkname, link);
    }
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_size(size);
    header.set_cksum();
    header
}
