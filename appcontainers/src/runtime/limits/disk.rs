//! The disk that a directory is on.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use rustix::fs::{major, minor, stat};

use super::LimitError;

/// A whole disk, as the kernel numbers it: limits of input and output are a disk's, never a partition's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disk {
    major: u32,
    minor: u32,
}

impl fmt::Display for Disk {
    /// As cgroups' files have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl Disk {
    /// The disk that has the file system of `path`.
    pub(crate) fn of(path: &Path) -> Result<Self, LimitError> {
        let on = |on: String| LimitError::NoDisk { path: path.to_owned(), on };
        let device =
            stat(path).map_err(|source| LimitError::Unreadable { path: path.to_owned(), source: source.into() })?;
        // Overlay, tmpfs, NFS, and btrfs, whose disks only the mount's source tells, have a number without a device.
        let device = match major(device.st_dev) {
            0 => Self::of_mount(device.st_dev).ok_or_else(|| on(file_system(device.st_dev)))?,
            _ => Self { major: major(device.st_dev), minor: minor(device.st_dev) },
        };
        device.whole().ok_or_else(|| on(format!("device {device}")))
    }

    /// The source of a mount, if that is a block device.
    fn of_mount(device: u64) -> Option<Self> {
        let (_, source) = mount(device)?;
        let status = stat(source.strip_prefix("/dev/").map(|_| source.as_str())?).ok()?;
        let is_block = rustix::fs::FileType::from_raw_mode(status.st_mode) == rustix::fs::FileType::BlockDevice;
        is_block.then(|| Self { major: major(status.st_rdev), minor: minor(status.st_rdev) })
    }

    /// The disk of which it may be a partition.
    fn whole(self) -> Option<Self> {
        let path = fs::canonicalize(format!("/sys/dev/block/{self}")).ok()?;
        let disk = if path.join("partition").exists() { path.parent()?.to_owned() } else { path };
        let text = fs::read_to_string(disk.join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// The number as rustix has it, for comparisons.
    #[cfg(test)]
    fn number(self) -> u64 {
        rustix::fs::makedev(self.major, self.minor)
    }
}

/// Type and source of the mount with this number (`proc_pid_mountinfo(5)`).
fn mount(device: u64) -> Option<(String, String)> {
    let wanted = format!("{}:{}", major(device), minor(device));
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = text.lines().find(|line| line.split(' ').nth(2) == Some(&wanted))?;
    let mut behind = line.split_once(" - ")?.1.split(' ');
    Some((behind.next()?.to_owned(), behind.next()?.to_owned()))
}

fn file_system(device: u64) -> String {
    mount(device).map_or_else(|| "an unknown file system".to_owned(), |(kind, _)| kind)
}

/// The files of version 1, by whether it is what is read.
pub(super) fn file_of_version_1(read: bool) -> &'static str {
    if read { "blkio.throttle.read_bps_device" } else { "blkio.throttle.write_bps_device" }
}

/// The name in version 2's `io.max`.
pub(super) fn word_of_version_2(read: bool) -> &'static str {
    if read { "rbps" } else { "wbps" }
}

/// Of `254:0 1048576` lines, what is said of this disk.
pub(super) fn find_in_version_1(text: &str, disk: Disk) -> Option<u64> {
    line_of(text, disk)?.parse().ok().filter(|bytes| *bytes != 0)
}

/// Of `254:0 rbps=1048576 wbps=max …` lines, likewise.
pub(super) fn find_in_version_2(text: &str, disk: Disk, read: bool) -> Option<u64> {
    let mut words = line_of(text, disk)?.split(' ').filter_map(|word| word.split_once('='));
    words.find(|(key, _)| *key == word_of_version_2(read))?.1.parse().ok()
}

fn line_of(text: &str, disk: Disk) -> Option<&str> {
    let name = disk.to_string();
    text.lines().filter_map(|line| line.split_once(' ')).find(|(device, _)| *device == name).map(|(_, rest)| rest)
}

/// Where `path` is, for whoever asks which disk that is.
pub(super) fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.exists()).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_no_disk_says_what_it_is_on() {
        let error = Disk::of(Path::new("/proc")).unwrap_err().to_string();
        assert!(error.contains("(proc)"), "{error}");
        assert_eq!(Disk { major: 8, minor: 17 }.number(), rustix::fs::makedev(8, 17));
    }

    #[test]
    fn limits_are_found_by_disk() {
        let disk = Disk { major: 254, minor: 0 };
        assert_eq!(find_in_version_1("7:0 5\n254:0 1048576\n", disk), Some(1_048_576));
        assert_eq!(find_in_version_1("254:01 5\n", disk), None);
        let text = "7:0 rbps=1 wbps=2 riops=max wiops=max\n254:0 rbps=1048576 wbps=max riops=max wiops=max\n";
        assert_eq!(find_in_version_2(text, disk, true), Some(1_048_576));
        assert_eq!(find_in_version_2(text, disk, false), None);
        assert_eq!(find_in_version_2("", disk, true), None);
    }
}
