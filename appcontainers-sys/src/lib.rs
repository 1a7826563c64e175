//! What the kernel, liblxc and libsquashfs do for us, behind safe functions that take and return owned types.
//!
//! This is the only crate with `unsafe`; each block names the contract it keeps. It knows nothing of
//! containers' names, states or files on disk.

#![allow(unsafe_code)]

pub mod ext4;
pub mod inside;
pub mod loopdev;
pub mod lxc;
pub mod memory;
pub mod mount;
pub mod process;
pub mod squashfs;
pub mod tree;
pub mod userns;
