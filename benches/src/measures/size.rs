//! Starting from a small and from a large image.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use anyhow::Context as _;

use crate::{
    installation::Installation,
    missing::Missing,
    sandbox::Sandbox,
    table::{Quantity, Row, Table},
    timing::in_turns,
};

const ROUNDS: usize = 30;
const SMALL: u64 = 10_000_000;
pub(super) const LARGE: u64 = 5_000_000_000;

pub(crate) fn measure(sandbox: &Sandbox, table: &mut Table, _: &mut Missing) -> anyhow::Result<()> {
    let ours = Installation::set_up(sandbox, "size")?;
    for (name, bytes) in [("small", SMALL), ("large", LARGE)] {
        import(sandbox, &ours, name, bytes)?;
    }
    let medians =
        in_turns(ROUNDS, &mut [Box::new(|| ours.time_start("large")), Box::new(|| ours.time_start("small"))])?;
    table.add(&Row {
        what: "`appc run --rm` from an image of 5 GB (random bytes)",
        ours: Quantity::Time(medians[0]),
        beside: "from one of 10 MB",
        theirs: Quantity::Time(medians[1]),
        target: Some(1.1),
    });
    Ok(())
}

fn import(sandbox: &Sandbox, ours: &Installation, name: &str, bytes: u64) -> anyhow::Result<()> {
    let directory = sandbox.base.join("import");
    make_root(&directory, bytes)?;
    ours.appc(&["base", "import", &directory.to_string_lossy(), "--name", name])?;
    fs::remove_dir_all(&directory)?;
    Ok(())
}

/// A root file system with a shell and `bytes` that nothing compresses.
pub(super) fn make_root(directory: &Path, bytes: u64) -> anyhow::Result<()> {
    let bin = directory.join("bin");
    fs::create_dir_all(&bin)?;
    let busybox = bin.join("busybox");
    fs::copy("/bin/busybox", &busybox).context("cannot copy busybox (apt-get install busybox-static)")?;
    fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755))?;
    for program in ["sh", "true", "mkdir", "head"] {
        symlink("busybox", bin.join(program))?;
    }
    let mut random = File::open("/dev/urandom")?.take(bytes);
    io::copy(&mut random, &mut File::create(directory.join("data"))?).context("cannot write the image's data")?;
    Ok(())
}
