//! The system calls that a container may not make. Pure: text for liblxc's policy format, version 2.
//!
//! The list is what Docker's and Podman's default profiles deny to a container without extra
//! capabilities (moby `profiles/seccomp/default.json`), plus io_uring.

/// Denied with EPERM.
const DENIED: &[&str] = &[
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
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_madvise",
    "query_module",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "setns",
    "settimeofday",
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

/// `clone` flags that make a namespace (`sched.h`): user, pid, net, ipc, uts, cgroup, mount, time.
const NAMESPACE_FLAGS: &[u64] =
    &[0x1000_0000, 0x2000_0000, 0x4000_0000, 0x0800_0000, 0x0400_0000, 0x0200_0000, 0x0002_0000, 0x0000_0080];

/// The policy as text.
pub(super) fn policy() -> String {
    let mut text = String::from("2\ndenylist\n[all]\n");
    for call in DENIED {
        text.push_str(call);
        text.push_str(" errno 1\n");
    }
    for flag in NAMESPACE_FLAGS {
        // The flags are clone's first argument (its second on s390, which is no target).
        text.push_str(&format!("clone errno 1 [0,{flag},SCMP_CMP_MASKED_EQ,{flag}]\n"));
    }
    // Its flags are in memory, where seccomp can't look; with ENOSYS the C library falls back to clone.
    text.push_str("clone3 errno 38\n");
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_call_is_listed_twice_and_clone3_says_that_it_is_not_there() {
        let policy = super::policy();
        let mut lines: Vec<_> = policy.lines().skip(3).collect();
        let count = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), count);
        assert!(policy.contains("clone3 errno 38\n"));
    }
}
