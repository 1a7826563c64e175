//! What may happen to a file and to the names that lead to it: its own directory, all above it, and where symbolic links
//! among them lead.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init},
    io::Errno,
};

/// Room for many events with the longest names (inotify(7)).
const BUFFER_BYTES: usize = 16 * 1024;

/// How many symbolic links are followed, as by the kernel.
const MOST_LINKS: usize = 40;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// The file has changed.
    Data,
    /// Its name may lead to another file.
    Names,
}

/// A watch over a path. When its names have changed, it is to be begun anew.
pub(super) struct Watch {
    inotify: OwnedFd,
    /// By watch: the names in that directory that lead to the file.
    names: HashMap<i32, Vec<OsString>>,
    buffer: Box<[MaybeUninit<u8>]>,
}

impl Watch {
    /// Watches an absolute path, as far as it is there.
    pub(super) fn begin(path: &Path) -> Result<Self, Errno> {
        let inotify = init(CreateFlags::CLOEXEC)?;
        let buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES].into_boxed_slice();
        let mut watch = Self { inotify, names: HashMap::new(), buffer };
        watch.add_names(path)?;
        match add_watch(&watch.inotify, path, WatchFlags::MODIFY) {
            // It will be there, or another.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(watch),
            Err(errno) => Err(errno),
        }
    }

    /// Goes from `/` to the file, and watches each directory before it looks into it: what changes later is seen.
    fn add_names(&mut self, path: &Path) -> Result<(), Errno> {
        let mut directory = PathBuf::from("/");
        let mut left = components(path);
        let mut links = 0;
        while let Some(name) = left.pop() {
            match name.as_bytes() {
                b"/" => directory = PathBuf::from("/"),
                b".." => drop(directory.pop()),
                _ => {
                    let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
                    let watch = match add_watch(&self.inotify, &directory, flags) {
                        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                        watch => watch?,
                    };
                    self.names.entry(watch).or_default().push(name.clone());
                    let whole = directory.join(&name);
                    match fs::read_link(&whole) {
                        Ok(target) if links < MOST_LINKS => {
                            links += 1;
                            left.extend(components(&target));
                        }
                        _ => directory = whole,
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until something has happened; of several things, the names.
    pub(super) fn wait(&mut self) -> Result<News, Errno> {
        let mut reader = Reader::new(&self.inotify, &mut self.buffer);
        let mut news = None;
        while news.is_none() || !reader.is_buffer_empty() {
            let event = match reader.next() {
                Err(Errno::INTR) => continue,
                event => event?,
            };
            let flags = event.events();
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let is_named =
                self.names.get(&event.wd()).is_some_and(|names| names.iter().any(|known| Some(&**known) == name));
            if is_named || flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                news = Some(News::Names);
            } else if flags.contains(ReadFlags::MODIFY) {
                news.get_or_insert(News::Data);
            }
        }
        Ok(news.unwrap_or(News::Data))
    }
}

/// A path's components, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let mut parts: Vec<OsString> = parts.map(|part| part.as_os_str().to_owned()).collect();
    parts.reverse();
    parts
}
