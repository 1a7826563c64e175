//! A base of one static program: it works on a host that has no network.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use appcontainers_sys::squashfs::{Metadata, Options, Special, WriteError, Writer};
use serde::{Deserialize, Serialize};

use super::{BaseError, fit::make_fit};
use crate::image::pack::PackError;

/// The recipe's part about busybox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Busybox {
    /// The program on the host.
    pub program: PathBuf,
    /// The package that has it.
    pub package: String,
}

const DIRECTORIES: [(&str, u32); 16] = [
    ("bin", 0o755),
    ("home", 0o755),
    ("lib", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("root", 0o700),
    ("sbin", 0o755),
    ("srv", 0o755),
    ("usr/bin", 0o755),
    ("usr/lib", 0o755),
    ("usr/local/bin", 0o755),
    ("usr/sbin", 0o755),
    ("usr/share", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];

const FILES: [(&str, &str); 4] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/shells", "/bin/sh\n/bin/ash\n"),
    ("etc/profile", "export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n"),
];

/// Scripts begin with these paths, wherever the rest is.
const ELSEWHERE: [(&str, &str); 1] = [("usr/bin/env", "../../bin/busybox")];

/// Packs the base. All times are the program's, so that the same program gives the same layer.
pub(super) fn pack(recipe: &Busybox, into: File, options: &Options) -> Result<(), BaseError> {
    let Busybox { program, package } = recipe;
    let missing = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => BaseError::Missing { path: program.clone(), package: package.clone() },
        _ => BaseError::Read { path: program.clone(), source },
    };
    let bytes = fs::read(program).map_err(missing)?;
    if !is_static(&bytes) {
        return Err(BaseError::NotStatic { path: program.clone(), package: package.clone() });
    }
    let modified = fs::metadata(program).map_err(missing)?.mtime();
    let applets = applets(recipe)?;
    write(&bytes, modified, &applets, into, options)
        .map_err(|source| BaseError::Pack { what: program.display().to_string(), source: PackError::Write(source) })
}

fn write(program: &[u8], modified: i64, applets: &[String], into: File, options: &Options) -> Result<(), WriteError> {
    let owned = |permissions| Metadata { permissions, modified, ..Metadata::default() };
    let mut writer = Writer::create(into, options)?;
    writer.directory(b"/", &owned(0o755))?;
    for parent in ["dev", "etc", "run", "usr", "usr/local", "var"] {
        writer.directory(parent.as_bytes(), &owned(0o755))?;
    }
    for (path, mode) in DIRECTORIES {
        writer.directory(path.as_bytes(), &owned(mode))?;
    }
    let files = FILES.iter().map(|(path, text)| (*path, text.as_bytes(), 0o644));
    for (path, data, mode) in files.chain([("bin/busybox", program, 0o755)]) {
        let mut file = writer.file(path.as_bytes(), &owned(mode))?;
        file.write(data)?;
        file.finish()?;
    }
    let in_bin = applets.iter().map(|applet| (format!("bin/{applet}"), "busybox"));
    for (path, target) in in_bin.chain(ELSEWHERE.map(|(path, target)| (path.to_owned(), target))) {
        writer.special(path.as_bytes(), &Special::Symlink(target.into()), &owned(0o777))?;
    }
    make_fit(&mut writer)?;
    writer.finish().map(drop)
}

/// What the program can be called; not itself, and nothing that is no plain name.
fn applets(recipe: &Busybox) -> Result<Vec<String>, BaseError> {
    let program = recipe.program.display().to_string();
    let run = Command::new(&recipe.program).arg("--list").stdin(Stdio::null()).output();
    let output = run.map_err(|source| BaseError::Run { program: program.clone(), source })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(BaseError::Failed { program, status: output.status, said });
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let plain =
        |name: &&str| !name.is_empty() && !name.contains('/') && *name != "busybox" && *name != "." && *name != "..";
    Ok(text.lines().filter(plain).map(str::to_owned).collect())
}

/// True if an ELF file names no interpreter (elf(5), `PT_INTERP`).
fn is_static(program: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let is_64_bit_little_endian = program.starts_with(b"\x7fELF\x02\x01");
    let read = |at: usize, length: usize| -> Option<u64> {
        let field = program.get(at..at.checked_add(length)?)?;
        Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let interpreted = || -> Option<bool> {
        let (table, size, count) = (read(32, 8)? as usize, read(54, 2)? as usize, read(56, 2)? as usize);
        let mut types = (0..count).map(|index| read(table.checked_add(index * size)?, 4));
        types.try_fold(false, |found, kind| Some(found || kind? == u64::from(PT_INTERP)))
    };
    is_64_bit_little_endian && interpreted() == Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_known() {
        let this = fs::read("/proc/self/exe").unwrap();
        assert!(!is_static(&this));
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(&this[..60]));
    }

    #[test]
    fn without_busybox_the_package_is_named() {
        let recipe = Busybox { program: "/nowhere/busybox".into(), package: "busybox-static".to_owned() };
        let error = pack(&recipe, tempfile::tempfile().unwrap(), &Options::default()).unwrap_err();
        assert!(matches!(error, BaseError::Missing { .. }));
        assert!(error.to_string().contains("busybox-static"), "{error}");
    }
}
