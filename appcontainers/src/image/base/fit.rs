//! Makes any root file system fit for containers: what is mounted over must be there, and be what is mounted.

use appcontainers_sys::squashfs::{Metadata, WriteError, Writer};

/// What something is mounted on, and its mode.
const DIRECTORIES: [(&[u8], u32); 6] =
    [(b"dev", 0o755), (b"etc", 0o755), (b"proc", 0o555), (b"run", 0o755), (b"sys", 0o555), (b"tmp", 0o1777)];

/// Files that are bind-mounted over. A link there would lead the mount elsewhere.
const FILES: [&[u8]; 3] = [b"etc/hosts", b"etc/hostname", b"etc/resolv.conf"];

const EMPTY: &[u8] = b"dev";

/// Adds what is missing, replaces what is of another type, and empties `dev`, which a container has of its own.
pub(super) fn make_fit(writer: &mut Writer) -> Result<(), WriteError> {
    let with_mode = |permissions| Metadata { permissions, ..Metadata::default() };
    writer.remove(EMPTY)?;
    for (path, mode) in DIRECTORIES {
        if !writer.is_directory(path)? {
            writer.directory(path, &with_mode(mode))?;
        }
    }
    for path in FILES {
        if !writer.is_file(path)? {
            writer.remove(path)?;
            writer.file(path, &with_mode(0o644))?.finish()?;
        }
    }
    Ok(())
}
