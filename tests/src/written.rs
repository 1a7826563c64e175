//! What is written in a container, to the last attribute, seen by a program that is not ours.

use std::path::PathBuf;

use crate::Host;

const LISTING: &str = include_str!("../programs/listing.py");

/// By the container: links, a pipe, holes, owners, whiteouts, an opaque directory, times, names that are no UTF-8.
const BY_SHELL: &str = "set -e; cd /srv; mkdir -p a/b/c; echo one > a/one; ln a/one a/b/two; ln -s ../one a/b/link; \
    ln -s nowhere dangling; mkfifo pipe; dd if=/dev/null of=sparse bs=1M seek=100; echo end >> sparse; chown 33:44 a/one; \
    chmod 6755 a/b; echo tool > tool; chmod 4755 tool; chown -h 5:6 dangling; rm /etc/passwd; rm -r /etc/network; \
    mkdir /etc/network; echo x > /etc/network/x; touch -d '2001-02-03 04:05:06' a/one a; echo > \"$(printf 'no\\377utf8')\"; \
    chmod 0 a/b/c";

/// By the host, in the container's layer: what that shell can't make.
const BY_HOST: &str = r#"
import os, socket, struct, sys
base = int(sys.argv[2])
os.chdir(sys.argv[1] + "/srv")
socket.socket(socket.AF_UNIX).bind("socket")
os.chown("socket", base + 3, base + 4)
os.setxattr("a/one", "user.mark", b"\0\xff")
os.setxattr("a", "trusted.mark", b"1")
os.setxattr("tool", "security.capability", struct.pack("<IIIIII", 0x03000001, 0x2000, 0, 0, 0, base))
none = 2**32 - 1
entries = [(1, 6, none), (2, 4, base + 7), (4, 4, none), (8, 6, base + 8), (16, 6, none), (32, 0, none)]
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
os.setxattr("a/one", "system.posix_acl_access", acl)
os.setxattr("a", "system.posix_acl_default", acl)
os.setxattr("a/b", "trusted.overlay.opaque", b"y")
"#;

impl Host {
    /// The directory of what was written in a kept container.
    pub fn upper(&self, name: &str) -> PathBuf {
        self.paths().raw_overlays().join(name).join("upper")
    }

    /// Writes in a stopped container of the busybox base all that a file can be.
    #[track_caller]
    pub fn write_everything(&self, name: &str) {
        self.sh_in(name, "mkdir -p /etc/network; echo old > /etc/network/old").succeeds();
        self.sh_in(name, BY_SHELL).succeeds();
        self.on_upper(name, BY_HOST);
    }

    /// All that was written in a kept container, a line for each file: names, owners as the container has them, modes, times,
    /// links, attributes and digests.
    #[track_caller]
    pub fn written(&self, name: &str) -> String {
        self.on_upper(name, LISTING)
    }

    #[track_caller]
    fn on_upper(&self, name: &str, program: &str) -> String {
        let base = self.inspect(name)["id_range"]["base"].as_u64().expect("a container with ids of its own");
        let upper = self.upper(name);
        let arguments = ["-c", program, upper.to_str().expect("a path of UTF-8"), &base.to_string()];
        self.run("python3", arguments).succeeds()
    }
}
