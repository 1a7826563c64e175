//! Saving a change of 10 MB on a Debian of about 170 MB as one file, and loading that file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    debian,
    installation::Installation,
    missing::Missing,
    podman::Podman,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
    timing::{Contender, in_turns},
};

const ROUNDS: usize = 5;

/// A hundred files that nothing compresses, 10 MB together, other ones each time.
const CHANGE: &str = "mkdir /srv/new && i=0 && while [ $i -lt 100 ]; do \
                      head -c 100000 /dev/urandom > /srv/new/$i && i=$((i + 1)) || exit 1; done";

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, missing: &mut Missing) -> anyhow::Result<()> {
    let Some(tar) = debian::tar()? else { return Ok(()) };
    let ours = Ours { installation: Installation::set_up(sandbox, "images")?, file: sandbox.base.join("ours.aimg") };
    let other = Installation::set_up(sandbox, "images-other")?;
    ours.installation.appc(&["base", "import", &tar.to_string_lossy(), "--name", "debian-12"])?;
    if !missing.has("podman", "podman") {
        return Ok(());
    }
    let theirs = Theirs { podman: Podman::set_up(sandbox)?, file: sandbox.base.join("theirs.tar") };
    theirs.podman.import("images", &tar, "debian-12")?;

    let contenders: &mut [Contender<'_>] = &mut [Box::new(|| ours.save()), Box::new(|| theirs.save())];
    let saved = in_turns(ROUNDS, contenders)?;
    table.add(&Row {
        what: "`save-image`, 10 MB changed on Debian (172 MB)",
        ours: Quantity::Time(saved[0]),
        beside: "podman commit + podman save",
        theirs: Quantity::Time(saved[1]),
        target: Some(0.1),
    });
    table.add(&Row {
        what: "the file that this gives",
        ours: size(&ours.file)?,
        beside: "podman save",
        theirs: size(&theirs.file)?,
        target: None,
    });

    let contenders: &mut [Contender<'_>] = &mut [Box::new(|| load(&other, &ours.file)), Box::new(|| theirs.load())];
    let loaded = in_turns(ROUNDS, contenders)?;
    table.add(&Row {
        what: "`load-image` of that file, into an empty store",
        ours: Quantity::Time(loaded[0]),
        beside: "podman load",
        theirs: Quantity::Time(loaded[1]),
        target: Some(0.1),
    });
    Ok(())
}

struct Ours {
    installation: Installation,
    file: PathBuf,
}

impl Ours {
    fn save(&self) -> anyhow::Result<Duration> {
        let appc = |arguments: &[&str]| self.installation.appc(arguments);
        appc(&["provision", "--base", "debian-12", "--name", "changed"])?;
        appc(&["-c", "changed", "run", "--", "sh", "-c", CHANGE])?;
        self.installation.wait_cleared_up()?;
        make_ready(&self.file)?;
        let time =
            self.installation.timed(&["-c", "changed", "save-image", &self.file.to_string_lossy(), "--name", "app"])?;
        appc(&["rm", "changed"])?;
        appc(&["gc"])?;
        Ok(time)
    }
}

fn load(installation: &Installation, file: &Path) -> anyhow::Result<Duration> {
    rustix::fs::sync();
    let time = installation.timed(&["load-image", &file.to_string_lossy(), "--name", "loaded"])?;
    installation.appc(&["rm", "loaded"])?;
    installation.appc(&["image", "rm", "app"])?;
    // With the image go its layers: the next load finds an empty store.
    installation.appc(&["gc"])?;
    Ok(time)
}

struct Theirs {
    podman: Podman,
    file: PathBuf,
}

impl Theirs {
    fn save(&self) -> anyhow::Result<Duration> {
        self.podman.time_run("images", &["--name", "changed", "debian-12", "sh", "-c", CHANGE])?;
        let file = self.file.to_string_lossy();
        make_ready(&self.file)?;
        let committed = self.podman.timed("images", &["commit", "--quiet", "changed", "app"])?;
        let saved = self.podman.timed("images", &["save", "--quiet", "--output", &file, "app"])?;
        self.podman.podman("images", &["rm", "changed"])?;
        self.podman.podman("images", &["rmi", "app"])?;
        Ok(committed + saved)
    }

    fn load(&self) -> anyhow::Result<Duration> {
        rustix::fs::sync();
        let time = self.podman.timed("images-other", &["load", "--quiet", "--input", &self.file.to_string_lossy()])?;
        self.podman.podman("images-other", &["rmi", "--all"])?;
        Ok(time)
    }
}

/// Removes the file, which podman would not overwrite, and writes out what the other side has left in memory: an
/// fsync, which ours ends with and podman's does not, would write it too.
fn make_ready(file: &Path) -> io::Result<()> {
    if file.exists() {
        fs::remove_file(file)?;
    }
    rustix::fs::sync();
    Ok(())
}

fn size(file: &Path) -> anyhow::Result<Quantity> {
    Ok(Quantity::Bytes(fs::metadata(file)?.len() as f64))
}
