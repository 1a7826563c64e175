//! Packing and unpacking beside squashfs-tools, whose format a layer has.

use std::{fs, path::Path, process::Command};

use crate::{
    debian,
    installation::Installation,
    missing::Missing,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
    timing::{in_turns, output, timed},
};

const ROUNDS: usize = 3;

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, missing: &mut Missing) -> anyhow::Result<()> {
    let Some(tar) = debian::tar()? else { return Ok(()) };
    if !missing.has("mksquashfs", "squashfs-tools") {
        return Ok(());
    }
    let ours = Installation::set_up(sandbox, "squashfs")?;
    let tree = sandbox.directory("tree")?;
    output(Command::new("tar").arg("-xpf").arg(&tar).arg("-C").arg(&tree))?;
    let packed = sandbox.base.join("theirs.sqfs");

    let pack = || {
        let time = ours.timed(&["base", "import", &tree.to_string_lossy(), "--name", "tree"])?;
        ours.appc(&["base", "rm", "tree"])?;
        ours.appc(&["gc"])?;
        Ok(time)
    };
    let medians = in_turns(ROUNDS, &mut [Box::new(pack), Box::new(|| timed(&mut mksquashfs(&tree, &packed)))])?;
    table.add(&Row {
        what: "`base import` of a directory (Debian, 172 MB)",
        ours: Quantity::Time(medians[0]),
        beside: "mksquashfs, the same level",
        theirs: Quantity::Time(medians[1]),
        target: None,
    });
    fs::remove_dir_all(&tree)?;
    Ok(())
}

fn mksquashfs(tree: &Path, packed: &Path) -> Command {
    let mut command = Command::new("mksquashfs");
    command.arg(tree).arg(packed).args(["-comp", "zstd", "-Xcompression-level", "3"]);
    command.args(["-noappend", "-no-progress", "-quiet"]);
    command
}
