//! Memory for what must not get out of a process by accident: into a core dump, a swap device, or the next allocation.

use std::{
    fmt,
    io::{self, Read},
    ops::{Deref, DerefMut},
    ptr::NonNull,
    sync::atomic::{Ordering, compiler_fence},
};

/// Bytes on pages of their own: left out of core dumps and of forked children, locked in memory where that may be (`RLIMIT_MEMLOCK`),
/// and overwritten with zeros when this is dropped.
pub struct Guarded {
    start: NonNull<u8>,
    mapped: usize,
    length: usize,
}

// SAFETY: the mapping is this value's alone, and is reached only through its borrows.
unsafe impl Send for Guarded {}
// SAFETY: as above; a shared borrow only reads.
unsafe impl Sync for Guarded {}

impl Guarded {
    /// So many zeros.
    pub fn new(length: usize) -> io::Result<Self> {
        // A mapping of no bytes is an error.
        let mapped = length.max(1);
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new private mapping at an address that the kernel chooses; nothing else has it.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), mapped, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range is the mapping made above. What fails leaves it as it is: an old kernel, or a limit of locked memory.
        unsafe {
            libc::madvise(start, mapped, libc::MADV_DONTDUMP);
            libc::madvise(start, mapped, libc::MADV_WIPEONFORK);
            libc::mlock(start, mapped);
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mmap gave no address"))?;
        Ok(Self { start, mapped, length })
    }

    /// Reads to the end of `source`, at most `most` bytes; none if there are more.
    pub fn read(source: &mut impl Read, most: usize) -> io::Result<Option<Self>> {
        // With a byte more: whether there is one tells.
        let mut bytes = Self::new(most + 1)?;
        let mut filled = 0;
        while filled <= most {
            match source.read(&mut bytes[filled..]) {
                Ok(0) => {
                    bytes.truncate(filled);
                    return Ok(Some(bytes));
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Keeps the first `length` bytes only.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
}

impl Deref for Guarded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `length` is at most the mapping's size, all of it initialised (zeros by the kernel), and it lives as long as this.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and the borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guarded({} bytes)", self.length)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        for at in 0..self.mapped {
            // SAFETY: within the mapping. Volatile, so that the compiler does not leave out what nobody reads.
            unsafe { self.start.as_ptr().add(at).write_volatile(0) };
        }
        compiler_fence(Ordering::SeqCst);
        // SAFETY: the mapping made in `new`, which nothing borrows any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bytes_as_may_be_are_read_and_not_one_more() {
        let read = |text: &str| Guarded::read(&mut text.as_bytes(), 4).unwrap().map(|bytes| bytes.to_vec());
        assert_eq!(read(""), Some(Vec::new()));
        assert_eq!(read("abcd"), Some(b"abcd".to_vec()));
        assert_eq!(read("abcde"), None);
    }

    #[test]
    fn nothing_of_it_is_in_its_debug_text() {
        let bytes = Guarded::read(&mut &b"hunter2"[..], 100).unwrap().unwrap();
        assert_eq!(format!("{bytes:?}"), "Guarded(7 bytes)");
    }
}
