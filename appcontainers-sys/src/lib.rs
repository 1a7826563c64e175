//! liblxc, libsquashfs, the mount API, namespaces and id maps, behind safe functions. The only
//! crate with `unsafe` code.

pub mod squashfs;
