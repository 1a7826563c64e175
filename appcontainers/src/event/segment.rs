//! The journal's files: their names, and where their last whole lines end.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{EventError, MAX_LINE_BYTES};

/// How much is read first of a segment's end: most often the last lines are in it.
const TAIL_BYTES: u64 = 4096;

/// A torn tail and the line before it, with the end of the one before that.
const LONGEST_TAIL_BYTES: u64 = 2 * MAX_LINE_BYTES as u64;

/// Where a segment's whole lines end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    /// In bytes from its beginning.
    pub(super) bytes: u64,
    /// The number of the last event before it, which in an empty segment is one of an earlier segment.
    pub(super) number: u64,
}

/// The file of the segment that begins with event `first`.
pub(super) fn path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.jsonl"))
}

/// Whether an event can have this number: they are counted from 1, and behind each there is room for another.
pub(super) fn is_number(number: u64) -> bool {
    (1..u64::MAX).contains(&number)
}

/// The numbers with which the segments begin, in order; none where there is no journal.
pub(super) fn list(directory: &Path) -> Result<Vec<u64>, EventError> {
    let failed = |source| EventError::Journal { action: "list", path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut firsts = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
        let number = number.filter(|number| number.len() == 20).and_then(|number| number.parse().ok());
        firsts.extend(number.filter(|number| is_number(*number)));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Finds the end of the segment that begins with event `first`.
pub(super) fn end(file: &File, path: &Path, first: u64) -> Result<End, EventError> {
    let failed = |source| EventError::Journal { action: "read", path: path.to_owned(), source };
    let length = file.metadata().map_err(failed)?.len();
    for tail_bytes in [TAIL_BYTES, LONGEST_TAIL_BYTES] {
        let from = length.saturating_sub(tail_bytes);
        let mut tail = vec![0; (length - from) as usize];
        file.read_exact_at(&mut tail, from).map_err(failed)?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole == 0 && from == 0 {
            return Ok(End { bytes: 0, number: first.saturating_sub(1) });
        }
        let before = tail[..whole.saturating_sub(1)].iter().rposition(|byte| *byte == b'\n');
        let begin = match before {
            Some(at) => at + 1,
            None if from == 0 => 0,
            None => continue,
        };
        let number = number(&tail[begin..whole]);
        let number = number.ok_or(EventError::Damaged { path: path.to_owned(), offset: from + begin as u64 })?;
        return Ok(End { bytes: from + whole as u64, number });
    }
    Err(EventError::Damaged { path: path.to_owned(), offset: length.saturating_sub(LONGEST_TAIL_BYTES) })
}

fn number(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Number {
        number: u64,
    }
    serde_json::from_slice::<Number>(line).ok().map(|line| line.number).filter(|number| is_number(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(bytes: &[u8]) -> Result<End, EventError> {
        let place = tempfile::tempdir().unwrap();
        let path = path(place.path(), 7);
        fs::write(&path, bytes).unwrap();
        end(&File::open(&path).unwrap(), &path, 7)
    }

    #[test]
    fn the_end_is_behind_the_last_whole_line_however_long_that_is() {
        assert_eq!(end_of(b"").unwrap(), End { bytes: 0, number: 6 });
        assert_eq!(end_of(b"{\"number\":7").unwrap(), End { bytes: 0, number: 6 });
        let line = |number: u64, length: usize| {
            let text = format!("{{\"number\":{number},\"text\":\"");
            let padding = "x".repeat(length - text.len() - 3);
            format!("{text}{padding}\"}}\n").into_bytes()
        };
        for length in [60, 3000, 4095, 4096, 5000, MAX_LINE_BYTES] {
            let one = line(7, length);
            assert_eq!(one.len(), length);
            assert_eq!(end_of(&one).unwrap(), End { bytes: length as u64, number: 7 });
            let two = [one, line(8, length)].concat();
            let expected = End { bytes: 2 * length as u64, number: 8 };
            assert_eq!(end_of(&two).unwrap(), expected);
            assert_eq!(end_of(&[two, vec![b'x'; MAX_LINE_BYTES - 1]].concat()).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_event_at_the_end_is_damage() {
        for bytes in [b"nonsense\n".to_vec(), vec![b'x'; 3 * MAX_LINE_BYTES]] {
            assert!(matches!(end_of(&bytes), Err(EventError::Damaged { .. })));
        }
    }

    #[test]
    fn other_files_are_no_segments() {
        let place = tempfile::tempdir().unwrap();
        assert!(list(&place.path().join("absent")).unwrap().is_empty());
        for name in ["00000000000000000010.jsonl", "00000000000000000009.jsonl", "10.jsonl", "journal.jsonl", "x"] {
            fs::write(place.path().join(name), "").unwrap();
        }
        assert_eq!(list(place.path()).unwrap(), [9, 10]);
    }
}
