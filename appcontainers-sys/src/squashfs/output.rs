//! The file that a squashfs is written to, as libsquashfs sees it.
#![allow(unsafe_code)]

use std::{
    ffi::c_void,
    fs::File,
    io,
    os::{raw::c_int, unix::fs::FileExt},
    slice,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{error::WriteError, handle::Handle, sys};

/// What libsquashfs's file object and the writer share: the file, how long it is, and the error that
/// libsquashfs turned into a mere `SQFS_ERROR_IO`.
pub(super) struct Output {
    pub(super) file: File,
    size: AtomicU64,
    error: Mutex<Option<io::Error>>,
}

/// An `sqfs_file_t` with our part behind it.
#[repr(C)]
struct Object {
    interface: sys::sqfs_file_t,
    output: Arc<Output>,
}

impl Output {
    /// Empties `file` and makes the object that libsquashfs writes to it with.
    pub(super) fn create(file: File) -> Result<(Arc<Self>, Handle<sys::sqfs_file_t>), WriteError> {
        file.set_len(0).map_err(|source| WriteError::Io { doing: "empty the file", source })?;
        let output = Arc::new(Self { file, size: AtomicU64::new(0), error: Mutex::new(None) });
        let interface = sys::sqfs_file_t {
            base: sys::sqfs_object_t { destroy: Some(destroy), copy: None },
            read_at: Some(read_at),
            write_at: Some(write_at),
            get_size: Some(get_size),
            truncate: Some(truncate),
        };
        let object = Box::into_raw(Box::new(Object { interface, output: Arc::clone(&output) }));
        // SAFETY: `object` begins with an sqfs_file_t, which begins with an sqfs_object_t, and only
        // `destroy` frees it.
        let handle = unsafe { Handle::new(object.cast(), "allocate the file")? };
        Ok((output, handle))
    }

    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Puts the system's own error in the place of libsquashfs's, if there was one.
    pub(super) fn explain(&self, error: WriteError) -> WriteError {
        match (error, self.error.lock().unwrap_or_else(PoisonError::into_inner).take()) {
            (WriteError::Library { doing, .. }, Some(source)) => WriteError::Io { doing, source },
            (error, _) => error,
        }
    }

    fn report(&self, result: io::Result<()>) -> c_int {
        match result {
            Ok(()) => 0,
            Err(error) => {
                self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                sys::SQFS_ERROR_IO
            }
        }
    }
}

/// # Safety
/// `file` is the object that `Output::create` made, not destroyed yet.
unsafe fn output<'a>(file: *const sys::sqfs_file_t) -> &'a Output {
    // SAFETY: the caller's contract; the object lives as long as libsquashfs may call with it.
    unsafe { &(*file.cast::<Object>()).output }
}

unsafe extern "C" fn destroy(object: *mut sys::sqfs_object_t) {
    // SAFETY: libsquashfs gives back the pointer that `Output::create` made, once.
    drop(unsafe { Box::from_raw(object.cast::<Object>()) });
}

unsafe extern "C" fn read_at(file: *mut sys::sqfs_file_t, offset: u64, buffer: *mut c_void, size: usize) -> c_int {
    // SAFETY: `file` is ours, and by the interface's contract `buffer` has room for `size` bytes.
    let (output, buffer) = unsafe { (output(file), slice::from_raw_parts_mut(buffer.cast::<u8>(), size)) };
    output.report(output.file.read_exact_at(buffer, offset))
}

unsafe extern "C" fn write_at(file: *mut sys::sqfs_file_t, offset: u64, data: *const c_void, size: usize) -> c_int {
    if size == 0 {
        return 0;
    }
    // SAFETY: `file` is ours, and by the interface's contract `data` has `size` bytes.
    let (output, data) = unsafe { (output(file), slice::from_raw_parts(data.cast::<u8>(), size)) };
    let result = output.file.write_all_at(data, offset);
    if result.is_ok() {
        output.size.fetch_max(offset + size as u64, Ordering::Relaxed);
    }
    output.report(result)
}

unsafe extern "C" fn get_size(file: *const sys::sqfs_file_t) -> u64 {
    // SAFETY: `file` is ours.
    unsafe { output(file) }.size()
}

unsafe extern "C" fn truncate(file: *mut sys::sqfs_file_t, size: u64) -> c_int {
    // SAFETY: `file` is ours.
    let output = unsafe { output(file) };
    let result = output.file.set_len(size);
    if result.is_ok() {
        output.size.store(size, Ordering::Relaxed);
    }
    output.report(result)
}
