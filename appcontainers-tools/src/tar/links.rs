//! Which files the archive has already, for their further names: only files with several names are remembered, and only
//! until the last of them has come.

use std::collections::HashMap;

use rustix::fs::Stat;

/// Device and inode.
type FileId = (u64, u64);

/// Files with names that have not come yet.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<FileId, Name>);

#[derive(Debug)]
struct Name {
    path: Box<[u8]>,
    /// How many names may still come.
    left: u64,
}

impl Links {
    /// The name under which the file is in the archive.
    pub(super) fn find(&mut self, stat: &Stat) -> Option<Vec<u8>> {
        let name = self.0.get_mut(&id(stat))?;
        name.left -= 1;
        let path = name.path.to_vec();
        if name.left == 0 {
            self.0.remove(&id(stat));
        }
        Some(path)
    }

    /// The archive has the file under this name.
    pub(super) fn add(&mut self, stat: &Stat, path: &[u8]) {
        if stat.st_nlink > 1 {
            #[allow(clippy::unnecessary_cast, reason = "on 64-bit ARM it has 32 bits")]
            let names = stat.st_nlink as u64;
            self.0.insert(id(stat), Name { path: path.into(), left: names - 1 });
        }
    }
}

fn id(stat: &Stat) -> FileId {
    (stat.st_dev, stat.st_ino)
}
