//! The system calls that a container may not make. Pure: text for liblxc's policy format, version 2.
//!
//! The list is what Docker's and Podman's default profiles deny to a container without extra
//! capabilities (moby `profiles/seccomp/default.json`), plus io_uring. `ptrace` is allowed, as there: debuggers need it,
//! and it reaches only what belongs to the same user in the same user namespace.

use crate::record::Init;

/// Denied with EPERM.
const DENIED: &[&str] = &[
    "_sysctl",
    "acct",
    "add_key",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "create_module",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_kernel_syms",
    "get_mempolicy",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mbind",
    "migrate_pages",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "open_tree_attr",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_madvise",
    "query_module",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "setns",
    "settimeofday",
    "stime",
    "swapoff",
    "swapon",
    "sysfs",
    "syslog",
    "umount",
    "umount2",
    "unshare",
    "uselib",
    "userfaultfd",
    "ustat",
    "vhangup",
    "vm86",
    "vm86old",
];

/// Of those, what an operating system's services do: mounts and namespaces, keyrings, memory policies, and its end.
const ALLOWED_TO_SYSTEMS: &[&str] = &[
    "add_key",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_mempolicy",
    "keyctl",
    "mbind",
    "mount",
    "mount_setattr",
    "move_mount",
    "name_to_handle_at",
    "open_tree",
    "open_tree_attr",
    "pivot_root",
    "reboot",
    "request_key",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "setns",
    "umount",
    "umount2",
    "unshare",
    "vhangup",
];

/// `clone` flags that make a namespace (`sched.h`): user, pid, net, ipc, uts, cgroup, mount, time.
const NAMESPACE_FLAGS: &[u64] =
    &[0x1000_0000, 0x2000_0000, 0x4000_0000, 0x0800_0000, 0x0400_0000, 0x0200_0000, 0x0002_0000, 0x0000_0080];

/// Personalities (`personality.h`) that weaken the address space's protection: ADDR_NO_RANDOMIZE, MMAP_PAGE_ZERO,
/// ADDR_COMPAT_LAYOUT, READ_IMPLIES_EXEC.
const WEAK_PERSONALITIES: &[u64] = &[0x0004_0000, 0x0010_0000, 0x0020_0000, 0x0040_0000];

/// In no personality but in 0xffffffff, which only asks for the present one.
const PERSONALITY_QUERY: u64 = 0x8000_0000;

/// Sockets to the hypervisor, which no network namespace holds back (`socket.h`).
const AF_VSOCK: u64 = 40;

/// The policy as text.
pub(super) fn policy(init: Init) -> String {
    let mut text = String::from("2\ndenylist\n[all]\n");
    for call in DENIED.iter().filter(|call| init.is_app() || !ALLOWED_TO_SYSTEMS.contains(call)) {
        text.push_str(call);
        text.push_str(" errno 1\n");
    }
    for flag in NAMESPACE_FLAGS.iter().filter(|_| init.is_app()) {
        // The flags are clone's first argument (its second on s390, which is no target).
        text.push_str(&format!("clone errno 1 [0,{flag},SCMP_CMP_MASKED_EQ,{flag}]\n"));
    }
    for flag in WEAK_PERSONALITIES {
        let mask = flag | PERSONALITY_QUERY;
        text.push_str(&format!("personality errno 1 [0,{flag},SCMP_CMP_MASKED_EQ,{mask}]\n"));
    }
    // EAFNOSUPPORT: as if the kernel had none.
    text.push_str(&format!("socket errno 97 [0,{AF_VSOCK},SCMP_CMP_EQ]\n"));
    if init.is_app() {
        // Its flags are in memory, where seccomp can't look; with ENOSYS the C library falls back to clone.
        text.push_str("clone3 errno 38\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_allowed_only_what_is_denied_to_apps() {
        assert!(ALLOWED_TO_SYSTEMS.iter().all(|call| DENIED.contains(call)));
        let policy = policy(Init::System);
        assert!(policy.contains("kexec_load errno 1\n") && !policy.contains("\nmount ") && !policy.contains("clone"));
    }

    #[test]
    fn no_call_is_listed_twice_and_clone3_says_that_it_is_not_there() {
        let policy = policy(Init::App);
        let mut lines: Vec<_> = policy.lines().skip(3).collect();
        let count = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), count);
        assert!(policy.contains("clone3 errno 38\n"));
    }
}
