//! The machine and the versions, without which a number means nothing.

use std::{fs, process::Command};

use crate::{lxd::Lxd, sandbox::Sandbox, timing::output};

/// A few lines of Markdown.
pub(crate) fn machine(sandbox: &Sandbox) -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory: u64 = field("/proc/meminfo", "MemTotal").and_then(|kb| kb.split(' ').next()?.parse().ok()).unwrap_or(0);
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system =
        system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown").trim_matches('"');
    let version = |program: &str, flag| first_line(program, flag);
    [
        format!(
            "{}: {processor}, {cpus} CPUs, {} GB; {system}, Linux {}",
            version("date", "-uI"),
            memory >> 20,
            version("uname", "-r")
        ),
        [
            version(&sandbox.programs.join("appc").to_string_lossy(), "--version"),
            format!("LXC {}", version("lxc-execute", "--version")),
            version("podman", "--version"),
            Lxd::version(),
            version("mksquashfs", "-version"),
            format!("Caddy {}", version("caddy", "version")),
        ]
        .join("; "),
        String::new(),
    ]
    .join("\n")
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.split_once(':')?.1.trim().to_owned()))
}

fn first_line(program: &str, flag: &str) -> String {
    let printed = output(Command::new(program).arg(flag)).unwrap_or_else(|_| format!("no {program}"));
    printed.lines().next().unwrap_or_default().to_owned()
}
