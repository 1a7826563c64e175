//! A container's limits in the kernel: what LXC sets before its first instruction, what is set beside that when it runs, what is
//! changed later, and what is there.
//!
//! All of it is the host's: cgroups' files that are not among those which liblxc gives to the container (`cgroup.procs` and the
//! like), the host's end of its interface, and limits of processes that only the host's root raises again.

mod actual;
mod disk;
mod error;
mod group;
mod host;
mod live;
mod lxc;
mod network;
mod open_files;

pub(crate) use actual::read as actual;
pub(crate) use disk::Disk;
pub use error::LimitError;
pub(crate) use host::check;
pub(super) use host::disk_of;
pub use live::complete_start;
pub(crate) use live::{change, reassert};
pub(super) use lxc::{nofile, settings};
pub(crate) use network::forget as forget_network;
pub(super) use open_files::most as most_open_files;
pub use open_files::{free_agent, of_command as nofile_of_command};
