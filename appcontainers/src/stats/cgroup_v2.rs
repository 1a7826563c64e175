//! The files of cgroups version 2. Pure.
//!
//! Formats: `Documentation/admin-guide/cgroup-v2.rst` in the kernel's sources.

use super::Io;

/// What [`cpu_usage_ns`] is in.
pub(super) const CPU: &str = "cpu.stat";
/// Bytes, one number.
pub(super) const MEMORY: &str = "memory.current";
/// One [`limit`].
pub(super) const MEMORY_LIMIT: &str = "memory.max";
/// What [`io`] is in.
pub(super) const IO: &str = "io.stat";

/// A limit; `Some(None)` if there is none.
pub(super) fn limit(text: &str) -> Option<Option<u64>> {
    match text.trim() {
        "max" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

/// Time on all processors out of `cpu.stat`. The file of that name in version 1 has no such line.
pub(super) fn cpu_usage_ns(text: &str) -> Option<u64> {
    field(text, "usage_usec ")?.checked_mul(1000)
}

/// Cached files that were not used of late, out of `memory.stat`.
pub(super) fn inactive_file(text: &str) -> Option<u64> {
    field(text, "inactive_file ")
}

/// Reads and writes on all disks, out of `io.stat`: lines `MAJOR:MINOR rbytes=N wbytes=N rios=N wios=N …`.
pub(super) fn io(text: &str) -> Io {
    let (mut sum, mut reads, mut writes) = (Io::default(), 0, 0);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next().is_none_or(super::is_loop_device) {
            continue;
        }
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let counted = match key {
                "rbytes" => &mut sum.read_bytes,
                "wbytes" => &mut sum.written_bytes,
                "rios" => &mut reads,
                "wios" => &mut writes,
                _ => continue,
            };
            *counted += value.parse().unwrap_or(0);
        }
    }
    Io { reads: Some(reads), writes: Some(writes), ..sum }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of a container on Linux 6.12 that wrote 8 MiB, less what is of no interest here.
    const CPU_STAT: &str = "\
usage_usec 251746
user_usec 111428
system_usec 140317
nice_usec 0
nr_periods 0
nr_throttled 0
throttled_usec 0
";

    const MEMORY_STAT: &str = "\
anon 307200
file 10412032
kernel 610304
inactive_anon 0
active_anon 311296
inactive_file 8671232
active_file 1736704
unevictable 0
workingset_refault_file 0
";

    const IO_STAT: &str = "\
254:16 rbytes=0 wbytes=8388608 rios=0 wios=8 dbytes=0 dios=0
7:0 rbytes=1135616 wbytes=0 rios=22 wios=0 dbytes=0 dios=0
";

    #[test]
    fn processor_time_is_in_the_stat_file_of_version_2_only() {
        assert_eq!(cpu_usage_ns(CPU_STAT), Some(251_746_000));
        assert_eq!(cpu_usage_ns("nr_periods 0\nnr_throttled 0\nthrottled_time 0\n"), None);
    }

    #[test]
    fn limits_are_numbers_or_max() {
        assert_eq!(limit("4096\n"), Some(Some(4096)));
        assert_eq!(limit("max\n"), Some(None));
        assert_eq!(limit(""), None);
    }

    #[test]
    fn inactive_files_are_found_by_their_whole_name() {
        assert_eq!(inactive_file(MEMORY_STAT), Some(8_671_232));
        assert_eq!(inactive_file("total_inactive_file 5\n"), None);
    }

    #[test]
    fn disks_are_summed_up_and_loop_devices_are_not_counted_beside_them() {
        let expected = Io { read_bytes: 0, written_bytes: 8_388_608, reads: Some(0), writes: Some(8) };
        assert_eq!(io(IO_STAT), expected);
        // A device of which nothing is known, and a second disk.
        let two = IO_STAT.to_owned() + "253:1 \n8:16 rbytes=512 wbytes=1024 rios=1 wios=2 dbytes=0 dios=0\n";
        let expected = Io { read_bytes: 512, written_bytes: 8_389_632, reads: Some(1), writes: Some(10) };
        assert_eq!(io(&two), expected);
        assert_eq!(io(""), Io { reads: Some(0), writes: Some(0), ..Io::default() });
    }
}
