//! What a foreground command's reader has not read of segments that are dropped: its process's records, in a file beside the
//! segments. Each part that was taken from a segment ends with a record of the log itself, whose offset is the position
//! of the segment after.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use appcontainers_wire::{ProcessId, Stream};

use super::{LOG_ITSELF, RecordHeader};

/// How much is copied at once, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// Where the records of a process are held.
pub(super) fn path(directory: &Path, process: ProcessId) -> PathBuf {
    directory.join(format!("{process}.held"))
}

/// Copies a process's records at and behind `from` out of a segment that spans from `start` to `end`.
pub(super) fn hold(directory: &Path, process: ProcessId, from: u64, (start, end): (u64, u64)) -> io::Result<()> {
    let mut segment = BufReader::with_capacity(BUFFER_BYTES, File::open(directory.join(super::segment_name(start)))?);
    let mut position = start.max(from);
    segment.seek(SeekFrom::Start(position - start))?;
    let held = File::options().append(true).create(true).open(path(directory, process))?;
    let length = held.metadata()?.len();
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, &held);
    let mut copy = || {
        while position < end {
            let mut bytes = [0; RecordHeader::BYTES];
            segment.read_exact(&mut bytes)?;
            let header = RecordHeader::decode(&bytes).ok_or(io::ErrorKind::InvalidData)?;
            if header.process == process {
                out.write_all(&bytes)?;
                io::copy(&mut (&mut segment).take(header.length.into()), &mut out)?;
            } else {
                segment.seek_relative(header.length.into())?;
            }
            position += header.record_bytes();
        }
        let go_on = RecordHeader { process: LOG_ITSELF, stream: Stream::Stdout, offset: end, time_ns: 0, length: 0 };
        out.write_all(&go_on.encode())?;
        out.flush()
    };
    let copied = copy();
    // What is left in the buffer of a copy that failed is not written by the buffer's end.
    drop(out.into_parts());
    copied.inspect_err(|_| drop(held.set_len(length)))
}

/// Forgets what was held for a process.
pub(super) fn forget(directory: &Path, process: ProcessId) {
    match fs::remove_file(path(directory, process)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%process, %error, "cannot remove what was held of a process's output");
        }
        _ => {}
    }
}
