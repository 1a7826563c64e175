//! Saving a change of 10 MB on a Debian of about 170 MB as one file, and loading that file.

mod lxd;
mod ours;
mod podman;

use std::{fs, io, path::Path};

use self::{lxd::WithLxd, ours::Ours, podman::WithPodman};
use crate::{
    comparison::Comparison,
    debian,
    missing::Missing,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
};

const ROUNDS: usize = 5;

/// The image before the change, and with it.
const BASE: &str = "debian-12";
const IMAGE: &str = "app";

/// The container that is changed, and the one made of what was loaded.
const CHANGED: &str = "changed";
const LOADED: &str = "loaded";

/// A hundred files that nothing compresses, 10 MB together, other ones each time.
const CHANGE: &str = "mkdir /srv/new && i=0 && while [ $i -lt 100 ]; do \
                      head -c 100000 /dev/urandom > /srv/new/$i && i=$((i + 1)) || exit 1; done";

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, missing: &mut Missing) -> anyhow::Result<()> {
    let Some(tar) = debian::tar()? else { return Ok(()) };
    let ours = Ours::set_up(sandbox, &tar)?;
    let podman = WithPodman::set_up(sandbox, missing, &tar)?;
    let lxd = WithLxd::set_up(sandbox, missing, &tar)?;

    let mut save = Comparison::of("`save-image`, 10 MB changed on Debian (172 MB)", Box::new(|| ours.save()));
    let mut load = Comparison::of("`load-image` of that file, into an empty store", Box::new(|| ours.load()));
    let mut files = Vec::new();
    if let Some(podman) = &podman {
        save.beside("podman commit + podman save", Some(0.1), Box::new(|| podman.save()));
        load.beside("podman load", Some(0.1), Box::new(|| podman.load()));
        files.push(("podman save", &podman.file));
    }
    if let Some(lxd) = &lxd {
        save.beside("lxc publish + lxc image export of LXD", None, Box::new(|| lxd.save()));
        load.beside("lxc image import + lxc init of LXD", None, Box::new(|| lxd.load()));
        files.push(("lxc image export of LXD", &lxd.file));
    }
    save.run(ROUNDS, table)?;
    for (beside, file) in files {
        let (ours, theirs) = (size(&ours.file)?, size(file)?);
        table.add(&Row { what: "the file that this gives", ours, beside, theirs, target: None });
    }
    load.run(ROUNDS, table)
}

/// Removes the file, which podman would not overwrite, and writes out what the other side has left in memory: an
/// fsync, which ours ends with and the others' do not, would write it too.
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
