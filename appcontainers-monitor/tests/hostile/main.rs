//! Agents that are hostile: what a container's init may send to its monitor, which must neither panic, nor grow, nor write
//! anything but what it was sent, where it belongs.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod any;
mod messages;
mod output;
mod rig;
