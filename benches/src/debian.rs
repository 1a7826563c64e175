//! A Debian of about 170 MB as a tar, made once and kept beside the built programs.
//!
//! It comes from Debian's mirror, so it is made outside the sandbox, which has no way out.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

/// The same as `images/bases/debian-12.toml`, less the security archive.
const ARGUMENTS: &[&str] = &["--variant=minbase", "--include=ca-certificates", "--format=tar", "bookworm"];

/// The tar, if it could be made.
pub(crate) fn tar() -> anyhow::Result<Option<PathBuf>> {
    Ok(Some(path()?).filter(|path| path.exists()))
}

/// Makes it unless it is there. Without network the run goes on without the rows that need it.
pub(crate) fn fetch() -> anyhow::Result<()> {
    let path = path()?;
    if path.exists() {
        return Ok(());
    }
    let directory = path.parent().context("this program is in no directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    eprintln!("making {} with mmdebstrap, once", path.display());
    let unfinished = path.with_extension("tar.part");
    let mut command = Command::new("mmdebstrap");
    command.args(ARGUMENTS).arg(&unfinished).arg("deb http://deb.debian.org/debian bookworm main");
    command.arg("--quiet").stdin(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => fs::rename(&unfinished, &path)?,
        Ok(status) => eprintln!("mmdebstrap failed ({status}): no rows about a Debian base"),
        Err(error) => bail!("cannot run mmdebstrap (apt-get install mmdebstrap): {error}"),
    }
    Ok(())
}

/// Beside this program's directory, `target/release`: it survives new builds.
fn path() -> anyhow::Result<PathBuf> {
    let own = env::current_exe().context("cannot find this program's own file")?;
    let target = own.ancestors().nth(2).context("this program is in no target directory")?;
    Ok(target.join("bench-cache/debian-12.tar"))
}
