//! A neighbour of the test's host.

use std::fs;

use rustix::process::Pid;

use crate::{Finished, Host, LIMIT, Running, eventually};

/// A neighbour of the host, 198.18.0.2 and 2001:db8:1::2, in a network namespace of its own; the host is 198.18.0.1 and
/// 2001:db8:1::1 to it.
#[derive(Debug)]
pub struct Outside {
    pid: Pid,
    _holder: Running,
}

impl Outside {
    /// Its addresses, in both protocols.
    pub const ADDRESSES: [&str; 2] = ["198.18.0.2", "2001:db8:1::2"];

    /// The host's addresses at its side.
    pub const HOST: [&str; 2] = ["198.18.0.1", "2001:db8:1::1"];

    /// Puts a neighbour beside the host.
    #[track_caller]
    pub fn new(host: &Host) -> Self {
        let holder = host.spawn("unshare", ["--net", "--kill-child", "cat"]);
        let own = fs::read_link("/proc/self/ns/net").expect("read the network namespace");
        let pid = eventually("a network namespace for the outside", || {
            let path = format!("/proc/{}/ns/net", holder.pid().as_raw_nonzero());
            fs::read_link(path).ok().filter(|namespace| *namespace != own).map(|_| holder.pid())
        });
        let ([at4, at6], [out4, out6]) = (Self::HOST, Self::ADDRESSES);
        host.sh(&format!(
            "set -e; ip link add up0 type veth peer name eth0 netns {}; ip addr add {at4}/24 dev up0; \
             ip addr add {at6}/64 dev up0 nodad; ip link set up0 up",
            pid.as_raw_nonzero()
        ))
        .succeeds();
        let outside = Self { pid, _holder: holder };
        // As an attacker on the host's own network would: packets to containers go to the host.
        outside
            .sh(
                host,
                &format!(
                    "set -e; ip link set lo up; ip addr add {out4}/24 dev eth0; ip addr add {out6}/64 dev eth0 nodad; \
                     ip link set eth0 up; ip route add 10.0.0.0/8 via {at4}; ip route add fd00::/8 via {at6}"
                ),
            )
            .succeeds();
        outside
    }

    /// Serves the word `outside` on port 8000, in both protocols.
    #[track_caller]
    pub fn serve(&self, host: &Host) -> Running {
        fs::create_dir(host.file("outside")).expect("make a directory");
        fs::write(host.file("outside/word"), "outside").expect("write a file");
        let mut command = host.command("nsenter");
        let pid = self.pid.as_raw_nonzero().to_string();
        command.args(["-t", &pid, "-n", "busybox", "httpd", "-f", "-p", "8000", "-h", "outside"]);
        let server = host.start_command(command, LIMIT);
        for address in ["198.18.0.2", "[2001:db8:1::2]"] {
            let line = format!("busybox timeout 3 busybox wget -q -O - http://{address}:8000/word");
            eventually("a web server outside", || (host.sh(&line).code == 0).then_some(()));
        }
        server
    }

    /// A process that is in its namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Runs a line of shell there.
    #[track_caller]
    pub fn sh(&self, host: &Host, line: &str) -> Finished {
        host.run("nsenter", ["-t", &self.pid.as_raw_nonzero().to_string(), "-n", "sh", "-c", line])
    }
}
