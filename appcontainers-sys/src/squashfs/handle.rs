//! Owns one object of libsquashfs.
#![allow(unsafe_code)]

use std::{os::raw::c_int, ptr::NonNull};

use super::{
    error::{LibraryError, WriteError},
    sys,
};

/// An object of libsquashfs, destroyed when dropped. Objects that it uses must be dropped after it.
pub(super) struct Handle<T>(NonNull<T>);

impl<T> Handle<T> {
    /// Takes what a `create` function of libsquashfs returned; null is "out of memory".
    ///
    /// # Safety
    /// `object` is null, or it is a live object of libsquashfs (`T` begins with an `sqfs_object_t`) that
    /// nobody else destroys.
    pub(super) unsafe fn new(object: *mut T, doing: &'static str) -> Result<Self, WriteError> {
        NonNull::new(object).map(Self).ok_or(WriteError::Library { doing, source: LibraryError(sys::SQFS_ERROR_ALLOC) })
    }

    pub(super) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        let object = self.0.as_ptr().cast::<sys::sqfs_object_t>();
        // SAFETY: by the contract of `new` this is a live object of ours that begins with an
        // sqfs_object_t; it is used no more.
        unsafe {
            if let Some(destroy) = (*object).destroy {
                destroy(object);
            }
        }
    }
}

/// A return code of libsquashfs as a result.
pub(super) fn check(code: c_int, doing: &'static str) -> Result<(), WriteError> {
    if code < 0 { Err(WriteError::Library { doing, source: LibraryError(code) }) } else { Ok(()) }
}
