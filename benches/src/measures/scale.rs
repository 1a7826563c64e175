//! A thousand containers of one image at once: what a start costs at the end, what each holds, how soon all are gone, and which limit
//! of the machine or the kernel comes next.

use std::{
    collections::HashSet,
    env, fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::memory;
use crate::{
    app::IMAGE,
    installation::Installation,
    missing::Missing,
    sandbox::{Sandbox, host_limit},
    table::{Quantity, Row, Table},
    timing::median,
};

/// How many there are, unless this variable says otherwise.
const CONTAINERS: usize = 1000;
const CONTAINERS_VARIABLE: &str = "APPC_BENCH_CONTAINERS";

/// The first ones warm the machine up and do not count.
const WARM_UP: usize = 3;

/// The medians are those of so many starts.
const STARTS: usize = 15;

/// All have to be gone after this.
const GONE: Duration = Duration::from_secs(10);

/// With less memory than this left, the measure ends.
const LEAST_MEMORY_BYTES: f64 = 3e9;

/// How long a container may take to refuse a connection.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, _: &mut Missing) -> anyhow::Result<()> {
    let count = env::var(CONTAINERS_VARIABLE)
        .ok()
        .filter(|text| !text.is_empty())
        .map_or(Ok(CONTAINERS), |text| text.parse())?;
    ensure!(count >= WARM_UP + 2 * STARTS, "{CONTAINERS_VARIABLE} must be {} at least", WARM_UP + 2 * STARTS);
    let ours = Installation::set_up(sandbox, "scale")?;
    make_image(sandbox, &ours)?;
    let memory_before = available_memory()?;
    let names: Vec<String> = (0..count).map(|number| format!("s-{number}")).collect();
    let (mut starts, mut loads, mut shots) = (Vec::new(), Vec::new(), Vec::new());
    for (number, name) in names.iter().enumerate() {
        if number == WARM_UP {
            shots.push(one_shots(&ours)?);
        }
        if number % 50 == 0 && available_memory()? < LEAST_MEMORY_BYTES {
            bail!("no memory for more than {number} containers");
        }
        loads.push(ours.timed(&["load-image", IMAGE, "--ephemeral", "--name", name])?);
        starts.push(ours.timed(&["start", name])?);
    }
    shots.push(one_shots(&ours)?);
    let memory_taken = memory_before - available_memory()?;

    let mut compare = |what: &str, last: Duration, first: Duration, target| {
        let (ours, theirs) = (Quantity::Time(last), Quantity::Time(first));
        table.add(&Row { what: &format!("{what} with {count} running"), ours, beside: "with none", theirs, target });
    };
    let ends = |times: &[Duration]| {
        let [first, last] = [&times[WARM_UP..WARM_UP + STARTS], &times[times.len() - STARTS..]];
        (median(last.to_vec()), median(first.to_vec()))
    };
    let (last, first) = ends(&starts);
    compare("`appc start`", last, first, Some(2.0));
    let (last, first) = ends(&loads);
    compare("`appc load-image NAME --ephemeral`", last, first, None);
    compare("`appc run --rm --image NAME -- true`", shots[1], shots[0], None);

    let usage = memory::usage(&ours, &names)?;
    let each = |bytes: f64| Quantity::Bytes(bytes / count as f64);
    let mut hold = |what: &str, bytes, target| {
        let theirs = Quantity::Bytes(memory::BUDGET_BYTES);
        let what = format!("memory of each of {count}: {what}");
        table.add(&Row { what: &what, ours: each(bytes), beside: "the budget for all three", theirs, target });
    };
    hold("PSS of the agent", usage.agent, None);
    hold("PSS of our monitor", usage.monitor, None);
    hold("PSS of LXC's monitor", usage.lxc, None);
    hold("these together", usage.agent + usage.monitor + usage.lxc, Some(1.0));
    hold("all that the machine has less, the kernel's part too", memory_taken, None);

    let reached = reach_all(&ours, count)?;
    let limits = limits(&ours, &names, [memory_taken, memory_before]);

    let begin = Instant::now();
    ours.appc(&["stop", "--all"])?;
    let answered = begin.elapsed();
    ours.wait_cleared_up()?;
    let gone = begin.elapsed();
    let left = ours.appc(&["ls", "--json"])?;
    ensure!(left.trim() == "[]", "containers are left: {left}");
    let mut end = |what: &str, time, target| {
        let (ours, theirs) = (Quantity::Time(time), Quantity::Time(GONE));
        table.add(&Row { what, ours, beside: "the budget", theirs, target });
    };
    end(&format!("`appc stop --all` of {count}"), answered, None);
    end("… until interfaces, cgroups and files are gone", gone, Some(1.0));

    println!("\n{reached}\n\n{limits}");
    Ok(())
}

fn make_image(sandbox: &Sandbox, ours: &Installation) -> anyhow::Result<()> {
    let file = sandbox.base.join("scale.aimg").to_string_lossy().into_owned();
    ours.appc(&["provision", "--name", "maker"])?;
    ours.appc(&["-c", "maker", "run", "--", "sh", "-c", "echo app > /root/app"])?;
    ours.appc(&["-c", "maker", "save-image", &file, "--name", IMAGE])?;
    ours.appc(&["load-image", &file, "--name", "loaded"])?;
    for name in ["maker", "loaded"] {
        ours.appc(&["rm", name])?;
    }
    ours.wait_cleared_up()
}

/// The median of some one-shots among those that run.
fn one_shots(ours: &Installation) -> anyhow::Result<Duration> {
    let shot = |_| ours.timed(&["run", "--rm", "--image", IMAGE, "--", "true"]);
    Ok(median((0..STARTS).map(shot).collect::<anyhow::Result<_>>()?))
}

fn available_memory() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kib =
        text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map(|kib: f64| kib * 1024.0).context("no MemAvailable in /proc/meminfo")
}

/// Knocks at every container: nobody listens, so each says so.
fn reach_all(ours: &Installation, count: usize) -> anyhow::Result<String> {
    let listing: Value = serde_json::from_str(&ours.appc(&["ls", "--json"])?)?;
    let addresses = listing.as_array().context("no listing")?.iter().filter_map(|one| one["ip"].as_str()?.parse().ok());
    let addresses: Vec<Ipv4Addr> = addresses.collect();
    ensure!(addresses.len() == count, "{} of {count} containers are listed", addresses.len());
    let begin = Instant::now();
    let mut silent = 0;
    for address in &addresses {
        let answer = TcpStream::connect_timeout(&SocketAddr::from((*address, 1)), PATIENCE);
        silent += usize::from(!answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused));
    }
    Ok(format!("Of {count} containers {} answer the host, in {:.1} s.", count - silent, begin.elapsed().as_secs_f64()))
}

/// What is limited: how much of it is taken, and for how many containers that would be enough.
/// `memory` is what they have taken, and what there was.
fn limits(ours: &Installation, names: &[String], memory: [f64; 2]) -> String {
    let count = names.len();
    let number = |path: &str| fs::read_to_string(path).ok()?.split_whitespace().next()?.parse::<f64>().ok();
    let sys = |path: &str| number(&format!("/proc/sys/{path}"));
    let host = Processes::look();
    let mounts = |pid: &str| {
        fs::read_to_string(format!("/proc/{pid}/mountinfo")).map_or(0.0, |text| text.lines().count() as f64)
    };
    let monitors_mounts = ours.processes("s-0").map_or(0.0, |one| mounts(&one.monitor.to_string()));
    // The kernel has one table for all namespaces, so what containers know of the host counts too.
    let arp = |process: &str| {
        let text = fs::read_to_string(format!("/proc/{process}/net/arp"));
        // Flag 4 (ATF_PERM of arp(7)): those that are permanent do not count.
        let counts = |line: &&str| {
            let flags = line.split_whitespace().nth(2).and_then(|flags| flags.strip_prefix("0x"));
            flags.and_then(|flags| u32::from_str_radix(flags, 16).ok()).is_some_and(|flags| flags & 4 == 0)
        };
        text.map_or(0.0, |text| text.lines().skip(1).filter(counts).count() as f64)
    };
    let agents = names.iter().filter_map(|name| Some(arp(&ours.processes(name).ok()?.agent.to_string())));
    let neighbours = arp("self") + agents.sum::<f64>();
    let keys = fs::read_to_string("/proc/key-users").unwrap_or_default();
    let keys =
        keys.lines().filter_map(|line| line.trim().strip_prefix("0:")?.split_whitespace().nth(2)?.split_once('/'));
    let keys = keys.filter_map(|(used, most)| Some((used.parse::<f64>().ok()?, most.parse::<f64>().ok()?))).next();
    let all = [
        ("processes and threads (kernel.pid_max)", Some(host.threads), host_limit("kernel/pid_max")),
        ("open files (fs.file-max)", sys("fs/file-nr"), sys("fs/file-max")),
        (
            "inotify instances of root (fs.inotify.max_user_instances)",
            Some(host.inotify),
            sys("fs/inotify/max_user_instances"),
        ),
        ("mounts of the host's namespace (fs.mount-max)", Some(mounts("self")), sys("fs/mount-max")),
        ("mounts of one monitor's namespace (fs.mount-max)", Some(monitors_mounts), sys("fs/mount-max")),
        ("network namespaces (user.max_net_namespaces)", Some(host.network_namespaces), sys("user/max_net_namespaces")),
        (
            "neighbours, in all namespaces (net.ipv4.neigh.default.gc_thresh3)",
            Some(neighbours),
            host_limit("net/ipv4/neigh/default/gc_thresh3"),
        ),
        (
            "connections tracked (net.netfilter.nf_conntrack_max)",
            sys("net/netfilter/nf_conntrack_count"),
            sys("net/netfilter/nf_conntrack_max"),
        ),
        ("keys of root (kernel.keys.root_maxkeys)", keys.map(|keys| keys.0), keys.map(|keys| keys.1)),
        ("memory that was free before, MB", Some((memory[0] / 1e6).round()), Some((memory[1] / 1e6).round())),
    ];
    let mut rows: Vec<(f64, String)> = Vec::new();
    for (what, used, most) in all {
        let Some((used, most)) = used.zip(most) else { continue };
        let enough = if used > 0.0 { most / used * count as f64 } else { f64::INFINITY };
        rows.push((enough, format!("| {what} | {used} | {most} | {enough:.0} |")));
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rows: Vec<String> = rows.into_iter().map(|(_, row)| row).collect();
    format!("| limit | taken with {count} | of | enough for |\n|---|---:|---:|---:|\n{}", rows.join("\n"))
}

/// What the processes that can be seen here hold.
#[derive(Default)]
struct Processes {
    threads: f64,
    inotify: f64,
    network_namespaces: f64,
}

impl Processes {
    fn look() -> Self {
        let (mut all, mut namespaces) = (Self::default(), HashSet::new());
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let path = process.path();
            if !process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            let entries = |name: &str| fs::read_dir(path.join(name)).into_iter().flatten().flatten();
            all.threads += entries("task").count() as f64;
            let is_inotify = |file: &Path| fs::read_link(file).is_ok_and(|to| to == Path::new("anon_inode:inotify"));
            all.inotify += entries("fd").filter(|entry| is_inotify(&entry.path())).count() as f64;
            namespaces.extend(fs::read_link(path.join("ns/net")));
        }
        all.network_namespaces = namespaces.len() as f64;
        all
    }
}
