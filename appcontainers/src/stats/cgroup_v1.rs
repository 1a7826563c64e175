//! The files of cgroups version 1. Pure.
//!
//! Formats: `Documentation/admin-guide/cgroup-v1` in the kernel's sources.

use super::Io;

/// Time on all processors in nanoseconds, one [`number`].
pub(super) const CPU: &str = "cpuacct.usage";
/// Bytes, one [`number`].
pub(super) const MEMORY: &str = "memory.usage_in_bytes";
/// One [`limit`].
pub(super) const MEMORY_LIMIT: &str = "memory.limit_in_bytes";

/// Without a limit the file has the greatest number of whole pages, which are 64 KiB at most.
const LEAST_UNLIMITED: u64 = i64::MAX as u64 - 0xffff;

/// A file with one number.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// A limit of memory; `Some(None)` if there is none.
pub(super) fn limit(text: &str) -> Option<Option<u64>> {
    number(text).map(|bytes| (bytes < LEAST_UNLIMITED).then_some(bytes))
}

/// Cached files that were not used of late, out of `memory.stat`: those of the cgroups below too.
pub(super) fn inactive_file(text: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix("total_inactive_file ")?))
}

/// Reads and writes out of the two files of the blkio controller, `io_service_bytes` and `io_serviced`.
///
/// Nothing but zeros tells nothing: newer kernels (6.1 does so) count only for devices that are throttled.
pub(super) fn io(bytes: &str, operations: &str) -> Option<Io> {
    let ((read_bytes, written_bytes), (reads, writes)) = (sums(bytes), sums(operations));
    let counted = Io { read_bytes, written_bytes, reads: Some(reads), writes: Some(writes) };
    (reads + writes > 0).then_some(counted)
}

/// What was read and written on all disks: lines `MAJOR:MINOR Read N`.
fn sums(text: &str) -> (u64, u64) {
    let (mut read, mut written) = (0, 0);
    for line in text.lines() {
        let [device, what, count] = line.split_ascii_whitespace().collect::<Vec<_>>()[..] else { continue };
        match (what, count.parse::<u64>()) {
            _ if super::is_loop_device(device) => {}
            ("Read", Ok(count)) => read += count,
            ("Write", Ok(count)) => written += count,
            _ => {}
        }
    }
    (read, written)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY_STAT: &str = "\
cache 12414976
rss 7806976
shmem 8998912
mapped_file 7561216
inactive_anon 0
active_anon 1531904
inactive_file 36864
active_file 3379200
hierarchical_memory_limit 9223372036854771712
total_cache 22505496576
total_rss 12898304
total_inactive_file 14439854080
total_active_file 8055418880
";

    const SERVICE_BYTES: &str = "\
7:1 Read 1175552
7:1 Write 0
7:1 Sync 1175552
7:1 Async 0
7:1 Discard 0
7:1 Total 1175552
254:0 Read 4096
254:0 Write 16777216
254:0 Sync 16781312
254:0 Async 0
254:0 Discard 0
254:0 Total 16781312
8:16 Read 512
8:16 Write 1024
8:16 Sync 1536
8:16 Async 0
8:16 Discard 0
8:16 Total 1536
Total 17958400
";

    const SERVICED: &str = "\
254:0 Read 1
254:0 Write 16
254:0 Sync 17
254:0 Async 0
254:0 Discard 0
254:0 Total 17
8:16 Read 1
8:16 Write 2
8:16 Total 3
Total 20
";

    #[test]
    fn numbers_and_limits_are_read_as_the_kernel_writes_them() {
        assert_eq!(number("11946536061609\n"), Some(11_946_536_061_609));
        assert_eq!(number(""), None);
        assert_eq!(limit("67108864\n"), Some(Some(67_108_864)));
        // Pages of 4 KiB and of 64 KiB.
        assert_eq!(limit("9223372036854771712\n"), Some(None));
        assert_eq!(limit("9223372036854710272\n"), Some(None));
        assert_eq!(limit("max\n"), None);
    }

    #[test]
    fn inactive_files_are_those_of_the_whole_tree() {
        assert_eq!(inactive_file(MEMORY_STAT), Some(14_439_854_080));
        assert_eq!(inactive_file("inactive_file 5\n"), None);
    }

    #[test]
    fn disks_are_summed_up_and_loop_devices_are_not_counted_beside_them() {
        let expected = Io { read_bytes: 4608, written_bytes: 16_778_240, reads: Some(2), writes: Some(18) };
        assert_eq!(io(SERVICE_BYTES, SERVICED), Some(expected));
    }

    #[test]
    fn a_kernel_that_counts_for_no_device_has_no_numbers() {
        // Linux 6.18, and 6.1 after 8 MiB were written.
        assert_eq!(io("Total 0\n", "Total 0\n"), None);
        let zeros = "254:16 Read 0\n254:16 Write 0\n254:16 Sync 0\n254:16 Async 0\n254:16 Discard 0\n254:16 Total 0\n\
                     7:0 Read 0\n7:0 Write 0\n7:0 Total 0\nTotal 0\n";
        assert_eq!(io(zeros, zeros), None);
        assert_eq!(io("", ""), None);
    }
}
