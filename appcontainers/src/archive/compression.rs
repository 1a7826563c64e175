//! Opens an archive as a plain tar. What it is its first bytes say, not its name.

use std::{
    fmt,
    io::{self, BufReader, Cursor, Read},
};

use flate2::read::MultiGzDecoder;
use liblzma::{
    read::XzDecoder,
    stream::{CONCATENATED, Stream},
};

use super::ArchiveError;

/// What the longest magic number here needs.
const MAGIC_BYTES: usize = 6;
/// A hostile file can ask for a dictionary of 4 GiB; `xz -9` needs 65 MiB.
const XZ_MEMORY_BYTES: u64 = 512 * 1024 * 1024;

/// The tar inside an archive. Errors of the decompressor say which it was.
pub struct PlainTar {
    format: &'static str,
    inner: Box<dyn Read + Send>,
}

/// Opens an archive at its start.
pub fn open(archive: impl Read + Send + 'static) -> Result<PlainTar, ArchiveError> {
    let failed = |source| ArchiveError::Read { member: None, source };
    let mut archive = BufReader::with_capacity(128 * 1024, archive);
    let mut start = Vec::with_capacity(MAGIC_BYTES);
    (&mut archive).take(MAGIC_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
    let whole = Cursor::new(start.clone()).chain(archive);
    let unsupported = |format| Err(ArchiveError::Compression { format });
    Ok(match start.as_slice() {
        [] => return Err(ArchiveError::Empty),
        [0x1f, 0x8b, ..] => PlainTar { format: "gzip", inner: Box::new(MultiGzDecoder::new(whole)) },
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let decoder = zstd::stream::read::Decoder::new(whole).map_err(failed)?;
            PlainTar { format: "zstd", inner: Box::new(decoder) }
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_BYTES, CONCATENATED)
                .map_err(|error| failed(io::Error::other(error)))?;
            PlainTar { format: "xz", inner: Box::new(XzDecoder::new_stream(whole, stream)) }
        }
        [b'B', b'Z', b'h', ..] => return unsupported("bzip2"),
        [0x1f, 0x9d, ..] => return unsupported("compress"),
        [b'P', b'K', 3, 4, ..] => return unsupported("zip"),
        _ => PlainTar { format: "", inner: Box::new(whole) },
    })
}

impl Read for PlainTar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|source| match (self.format, source.kind()) {
            ("", _) | (_, io::ErrorKind::Interrupted) => source,
            (format, kind) => io::Error::new(kind, DecompressError { format, source }),
        })
    }
}

/// What a decompressor said, and which.
#[derive(Debug, thiserror::Error)]
#[error("its {format} data is truncated or corrupt")]
struct DecompressError {
    format: &'static str,
    #[source]
    source: io::Error,
}

impl fmt::Debug for PlainTar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainTar").field("format", &self.format).finish_non_exhaustive()
    }
}
