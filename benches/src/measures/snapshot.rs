//! Keeping a change of 10 MB on an image of 5 GB, and going back to it.

use std::{fs, path::Path, process::Command, time::Duration};

use super::size::{LARGE, make_root};
use crate::{
    comparison::Comparison, installation::Installation, missing::Missing, podman::Podman, sandbox::Sandbox,
    table::Table, timing::output,
};

const ROUNDS: usize = 5;

/// The image, the container that is changed, and what is kept of it.
const IMAGE: &str = "large";
const CHANGED: &str = "changed";
const KEPT: &str = "kept";

/// podman's store.
const STORE: &str = "snapshot";

/// A hundred files that nothing compresses, 10 MB together, other ones each time.
const CHANGE: &str = "mkdir /new && i=0 && while [ $i -lt 100 ]; do \
                      head -c 100000 /dev/urandom > /new/$i && i=$((i + 1)) || exit 1; done";

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, missing: &mut Missing) -> anyhow::Result<()> {
    if !Podman::is_there(missing) {
        return Ok(());
    }
    let root = sandbox.base.join("snapshot-root");
    make_root(&root, LARGE)?;
    let ours = Installation::set_up(sandbox, "snapshot")?;
    ours.appc(&["base", "import", &root.to_string_lossy(), "--name", IMAGE])?;
    let podman = Podman::set_up(sandbox)?;
    import(&podman, &root)?;

    let what = "`snapshot` + `restore`, 10 MB changed on an image of 5 GB";
    let mut comparison = Comparison::of(what, Box::new(|| with_ours(&ours)));
    comparison.beside("podman commit", Some(0.1), Box::new(|| with_podman(&podman)));
    comparison.run(ROUNDS, table)
}

/// Each file of 5 GB goes as soon as it is not needed any more.
fn import(podman: &Podman, root: &Path) -> anyhow::Result<()> {
    let tar = root.with_extension("tar");
    output(Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&tar).arg("."))?;
    fs::remove_dir_all(root)?;
    podman.import(STORE, &tar, IMAGE)?;
    Ok(fs::remove_file(&tar)?)
}

fn with_ours(ours: &Installation) -> anyhow::Result<Duration> {
    ours.appc(&["provision", "--base", IMAGE, "--name", CHANGED])?;
    ours.appc(&["-c", CHANGED, "run", "--", "sh", "-c", CHANGE])?;
    ours.wait_cleared_up()?;
    // Or what was written before would be counted here, by the side that brings its own to the disk.
    rustix::fs::sync();
    let made = ours.timed(&["snapshot", CHANGED, KEPT])?;
    let restored = ours.timed(&["restore", CHANGED, KEPT])?;
    ours.appc(&["rm", CHANGED])?;
    Ok(made + restored)
}

fn with_podman(podman: &Podman) -> anyhow::Result<Duration> {
    podman.time_run(STORE, &["--name", CHANGED, IMAGE, "sh", "-c", CHANGE])?;
    rustix::fs::sync();
    let committed = podman.timed(STORE, &["commit", "--quiet", CHANGED, KEPT])?;
    podman.podman(STORE, &["rm", CHANGED])?;
    podman.podman(STORE, &["rmi", KEPT])?;
    Ok(committed)
}
