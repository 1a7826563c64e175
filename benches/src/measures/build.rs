//! Building an image of four commands and a copy of 10 MB on a Debian: from nothing, and again with nothing changed.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    comparison::Comparison, debian, installation::Installation, missing::Missing, podman::Podman, sandbox::Sandbox,
    table::Table,
};

const ROUNDS: usize = 5;

/// The image that is built on, on both sides, and podman's store.
const BASE: &str = "debian-12";
const STORE: &str = "build";

/// What is run: little of its own, so that what a step costs shows; the last writes 2,000 files.
const RUN: [&str; 4] = [
    "mkdir -p /srv/app && echo one > /srv/app/one",
    "useradd --create-home app",
    "cp -a /etc /srv/etc",
    "mkdir /srv/many && cd /srv/many && for i in $(seq 2000); do echo $i > $i; done",
];

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, missing: &mut Missing) -> anyhow::Result<()> {
    let Some(tar) = debian::tar()? else { return Ok(()) };
    let context = context(sandbox)?;
    let ours = Installation::set_up(sandbox, "build")?;
    ours.appc(&["base", "import", &tar.to_string_lossy(), "--name", BASE])?;
    let file = context.join("appc.toml").to_string_lossy().into_owned();
    let build = |more: &[&str]| -> anyhow::Result<Duration> {
        let time = ours.timed(&[&["build", "-f", &file], more].concat())?;
        ours.wait_cleared_up()?;
        Ok(time)
    };
    if !Podman::is_there(missing) {
        return Ok(());
    }
    let podman = Podman::set_up(sandbox)?;
    podman.import(STORE, &tar, BASE)?;
    let directory = context.to_string_lossy().into_owned();
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];
    let common = ["build", "--quiet", "--layers", "--network", "none", "--pull=never", "--tag", "app"];
    let theirs = |more: &[&str]| podman.timed(STORE, &[&common[..], &limits, more, &[directory.as_str()]].concat());

    let mut whole = Comparison::of(
        "`appc build --no-cache`, four commands and a copy of 10 MB on Debian",
        Box::new(|| {
            rustix::fs::sync();
            build(&["--no-cache"])
        }),
    );
    whole.beside(
        "podman build --no-cache",
        Some(1.0),
        Box::new(|| {
            rustix::fs::sync();
            theirs(&["--no-cache"])
        }),
    );
    whole.run(ROUNDS, table)?;
    let mut again = Comparison::of("`appc build` again, nothing changed", Box::new(|| build(&[])));
    again.beside("podman build with its cache", Some(0.2), Box::new(|| theirs(&[])));
    again.run(ROUNDS * 2, table)
}

/// The same for both: a file of 10 MB, and what to do.
fn context(sandbox: &Sandbox) -> anyhow::Result<PathBuf> {
    let context = sandbox.directory("build-context")?;
    let mut random = File::open("/dev/urandom")?.take(10_000_000);
    io::copy(&mut random, &mut File::create(context.join("data"))?).context("cannot write the file to be copied")?;
    let ours: Vec<String> = RUN.iter().map(|line| format!("[[steps]]\nrun = '{line}'\n")).collect();
    let copy = "[[files]]\nfrom = 'data'\nto = '/srv/data'\n";
    write(&context, "appc.toml", &format!("name = 'app'\nbase = '{BASE}'\n{}{copy}", ours.concat()))?;
    let theirs: Vec<String> = RUN.iter().map(|line| format!("RUN {line}\n")).collect();
    write(&context, "Containerfile", &format!("FROM localhost/{BASE}\n{}COPY data /srv/data\n", theirs.concat()))?;
    Ok(context)
}

fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
