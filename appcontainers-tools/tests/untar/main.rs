//! `appc-agent untar`, the real binary, with archives of GNU tar and with hostile ones. Needs root: owners are set.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod confined;
mod destination;
mod faithful;
mod hostile;
mod tree;

use std::{
    fs::File,
    io::{Seek, Write},
    path::Path,
    process::{Command, Output},
};

/// Runs a program to its end; it must succeed.
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Extracts an archive.
fn untar(archive: &[u8], into: &Path) -> Output {
    untar_with(archive, &["--into", into.to_str().unwrap()])
}

/// Extracts an archive as the options say.
fn untar_with(archive: &[u8], options: &[&str]) -> Output {
    assert!(rustix::process::geteuid().is_root(), "needs root, to set owners");
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(archive).unwrap();
    file.rewind().unwrap();
    Command::new(env!("CARGO_BIN_EXE_appc-agent")).arg("untar").args(options).stdin(file).output().unwrap()
}

/// Extracts an archive that must be refused; gives the one line that says why.
fn refused(archive: &[u8], into: &Path) -> String {
    let output = untar(archive, into);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text.strip_prefix("appc-agent: ").unwrap().trim_end().to_owned()
}

/// A header of the given type; sizes and names as they are asked for, the rest harmless.
fn header(kind: tar::EntryType, name: &[u8], link: &[u8], size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    header
}

/// Kind, name, link's target and data of a member.
type Member<'a> = (tar::EntryType, &'a [u8], &'a [u8], &'a [u8]);

/// An archive of such members.
fn archive(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, name, link, data) in members {
        builder.append(&header(*kind, name, link, data.len() as u64), *data).unwrap();
    }
    builder.into_inner().unwrap()
}
