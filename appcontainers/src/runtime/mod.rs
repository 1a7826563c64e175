//! Starting a container and clearing up after it.

pub(crate) mod apparmor;
pub(crate) mod boot;
pub(crate) mod cgroup;
mod discarded;
mod error;
mod finish;
mod id_map_trial;
mod layer_mount;
pub(crate) mod limits;
mod live_mount;
mod lxc_config;
mod overlay_disk;
pub mod programs;
pub(crate) mod rootfs;
mod running_mounts;
pub(crate) mod scope;
mod seccomp;
mod start;
mod start_files;
mod start_record;

pub use cgroup::prewarm;
pub(crate) use discarded::discarded;
pub use error::RuntimeError;
pub(crate) use error::host_error;
pub(crate) use finish::{LXC_MONITOR_END, is_gone, remove, remove_tree};
pub use finish::{finish, reap};
pub(crate) use id_map_trial::check_id_mapping;
pub(crate) use layer_mount::{mount_layer, unmount_layer};
pub use limits::{LimitError, complete_start as complete_limits, free_agent, nofile_of_command};
pub(crate) use live_mount::follow as follow_mounts;
pub use live_mount::{PreparedMount, mount_all, prepare_mounts};
pub use lxc_config::{BadValue, CAPABILITIES, DEFAULT_PIDS_LIMIT};
pub(crate) use overlay_disk::{create_disk, disk_file, ensure_disk, grow_disk, replace_disk, unmount_disk};
pub use programs::ProgramMissing;
pub(crate) use rootfs::{
    abandon_renewal, begin_renewal, complete_renewal, create_overlay, next_layer, overlay_dir, put_in_place, renewals,
    sync_renewal,
};
pub(crate) use running_mounts::RunningMounts;
pub use scope::enter as enter_scope;
pub(crate) use start::payload_cgroup;
pub use start::{
    AGENT_SOCKET_DIR, Started, Starting, begin, cgroup_path, has_lxc_monitor, is_frozen, memory_events, oom_kills,
    processes, set_frozen,
};
pub(crate) use start_files::{resolv_conf, rewrite_hosts};
pub(crate) use start_record::shown_status;
pub use start_record::{ProcessIdentity, StartMode, StartRecord, Status, status};
