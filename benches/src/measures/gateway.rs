//! Requests through the web gateway, and through the proxy alone with a configuration of one's own.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{
    comparison::Comparison, installation::Installation, missing::Missing, sandbox::Sandbox, table::Table,
    timing::output,
};

/// Two containers behind one name.
const CONTAINERS: [&str; 2] = ["web-1", "web-2"];

/// Where the proxy alone listens.
const ALONE_PORT: u16 = 8080;

const ROUNDS: usize = 9;

/// What a row tells the time of.
const REQUESTS: f64 = 1000.0;

/// How long a program may take to listen.
const START: Duration = Duration::from_secs(20);

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, missing: &mut Missing) -> anyhow::Result<()> {
    if !missing.has("caddy", "caddy") || !missing.has("wrk", "wrk") {
        return Ok(());
    }
    let ours = Installation::set_up(sandbox, "gateway")?;
    let addresses = CONTAINERS.map(|name| serve(&ours, name));
    let [first, second] = addresses;
    let alone = format!(
        "{{\n\tadmin off\n\tauto_https off\n}}\nhttp://bench.test:{ALONE_PORT} {{\n\treverse_proxy {}:80 {}:80 {{\n\t\tlb_policy \
         round_robin\n\t}}\n}}\n",
        first?, second?
    );
    let file = sandbox.base.join("Caddyfile");
    fs::write(&file, alone).with_context(|| format!("cannot write {}", file.display()))?;
    ours.appc(&["gateway", "publish", "bench.test", CONTAINERS[0], CONTAINERS[1]])?;
    let _gateway = Running::start(&mut ours.command(&["gateway", "run"]), 80)?;
    let mut caddy = Command::new("caddy");
    caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file).env("HOME", &sandbox.base);
    let _alone = Running::start(&mut caddy, ALONE_PORT)?;
    let mut comparison = Comparison::of("1,000 requests through `appc gateway`", Box::new(|| requests(80)));
    // 0.9 times as many requests in the same time.
    comparison.beside("Caddy alone, the same containers", Some(1.0 / 0.9), Box::new(|| requests(ALONE_PORT)));
    comparison.run(ROUNDS, table)
}

/// A container with a web server that is as fast as the proxy: Caddy, with the host's libraries. Its address.
fn serve(ours: &Installation, name: &str) -> anyhow::Result<String> {
    ours.appc(&["provision", "--name", name])?;
    let libraries = output(Command::new("ldd").arg("/usr/bin/caddy"))?;
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/') && Path::new(word).is_file());
    for file in libraries.chain(["/usr/bin/caddy"]) {
        let directory = Path::new(file).parent().context("a file in no directory")?.to_string_lossy().into_owned();
        ours.appc(&["-c", name, "run", "--", "mkdir", "-p", &directory])?;
        let found = fs::canonicalize(file)?.to_string_lossy().into_owned();
        ours.appc(&["-c", name, "put", &found, file])?;
    }
    ours.appc(&["-c", name, "startup-command", "add", "exec caddy respond --listen :80 hello"])?;
    ours.appc(&["start", name])?;
    let details: Value = serde_json::from_str(&ours.appc(&["--json", "inspect", name])?)?;
    let address = details["ip"].as_str().context("a container without an address")?.to_owned();
    wait_for(&address, 80)?;
    Ok(address)
}

/// How long a thousand requests take when 32 clients ask as fast as they can.
fn requests(port: u16) -> anyhow::Result<Duration> {
    let url = format!("http://127.0.0.1:{port}/");
    let said = output(Command::new("wrk").args(["-t", "1", "-c", "32", "-d", "2s", "-H", "Host: bench.test", &url]))?;
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        bail!("requests to port {port} failed: {said}");
    }
    let rate = said.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:")?.trim().parse::<f64>().ok());
    let rate = rate.filter(|rate| *rate > 0.0).with_context(|| format!("wrk says no rate: {said}"))?;
    Ok(Duration::from_secs_f64(REQUESTS / rate))
}

/// A program that is killed when it is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, port: u16) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Self(command.spawn().with_context(|| format!("cannot run {command:?}"))?);
        wait_for("127.0.0.1", port)?;
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(address: &str, port: u16) -> anyhow::Result<()> {
    let until = Instant::now() + START;
    while TcpStream::connect((address, port)).is_err() {
        if Instant::now() >= until {
            bail!("nobody listens at {address}:{port}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
