//! What prints: programs for busybox's shell, the same in the container and on the host.

/// One of them.
pub(super) struct Program {
    pub(super) script: &'static str,
    /// How much it prints.
    pub(super) bytes: u64,
}

/// Makes a file of 16 MiB with lines of 64 bytes.
pub(super) const MAKE_TEXT: &str =
    "yes 'the quick brown fox jumps over the lazy dog and then sleeps 042' | head -c 16777216 > /root/text";

/// That file below the root directory.
pub(super) const TEXT: &str = "root/text";

/// 1 GiB of such lines. The directory that has the file is the shell's `$0`.
pub(super) const MUCH: Program = Program {
    script: "i=0; while [ $i -lt 64 ]; do i=$((i + 1)); busybox cat \"$0/root/text\" || exit 1; done",
    bytes: 1 << 30,
};

/// An eighth of that, which a log has room for: a watcher that is slow misses nothing.
pub(super) const PART: Program = Program {
    script: "i=0; while [ $i -lt 8 ]; do i=$((i + 1)); busybox cat \"$0/root/text\" || exit 1; done",
    bytes: 1 << 27,
};

/// A million lines, each in a write of its own.
pub(super) const LINES: Program = Program {
    script: r#"exec busybox awk 'BEGIN { for (i = 1; i <= 1000000; i++) { printf "line %07d\n", i; fflush() } }'"#,
    bytes: 13_000_000,
};

impl Program {
    /// The program where `root` is the root directory.
    pub(super) fn arguments<'a>(&'a self, root: &'a str) -> [&'a str; 5] {
        ["busybox", "sh", "-c", self.script, root]
    }
}
