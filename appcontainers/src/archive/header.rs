//! One tar header, 512 bytes: ustar, GNU or older. Pure.

/// Length of a header, and what data is padded to.
pub(super) const BLOCK_BYTES: usize = 512;

pub(super) type Block = [u8; BLOCK_BYTES];

/// A header whose checksum is right.
pub(super) struct Header<'b>(&'b Block);

/// The sparse part of an old GNU header.
pub(super) struct GnuSparse {
    /// Offset and length.
    pub(super) chunks: Vec<(u64, u64)>,
    /// Blocks with more chunks lie behind this one.
    pub(super) more_follow: bool,
    pub(super) real_size: u64,
}

/// Why a block is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// Nothing but zeros: the end of the archive.
    Zeros,
    /// The checksum is wrong.
    Checksum,
}

impl<'b> Header<'b> {
    pub(super) fn parse(block: &'b Block) -> Result<Self, NoHeader> {
        if block.iter().all(|byte| *byte == 0) {
            return Err(NoHeader::Zeros);
        }
        let counted = || block[..148].iter().chain([b' '; 8].iter()).chain(&block[156..]);
        let unsigned: i64 = counted().map(|byte| i64::from(*byte)).sum();
        // Some old programs added signed bytes.
        let signed: i64 = counted().map(|byte| i64::from(*byte as i8)).sum();
        let header = Self(block);
        match header.number(148, 8) {
            Some(sum) if sum == unsigned || sum == signed => Ok(header),
            _ => Err(NoHeader::Checksum),
        }
    }

    /// The name with its prefix; not that of an extension before it.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        // GNU's own format has other things where the prefix is.
        let is_posix = &self.0[257..263] == b"ustar\0";
        match self.text(345, 155) {
            prefix if is_posix && !prefix.is_empty() => [prefix, b"/", name].concat(),
            _ => name.to_owned(),
        }
    }

    pub(super) fn link_name(&self) -> Vec<u8> {
        self.text(157, 100).to_owned()
    }

    pub(super) fn member_type(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn mode(&self) -> Option<u32> {
        Some((self.number(100, 8)? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Option<u64> {
        self.number(108, 8)?.try_into().ok()
    }

    pub(super) fn gid(&self) -> Option<u64> {
        self.number(116, 8)?.try_into().ok()
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.number(124, 12)?.try_into().ok()
    }

    pub(super) fn modified(&self) -> Option<i64> {
        self.number(136, 12)
    }

    pub(super) fn major(&self) -> Option<u32> {
        self.number(329, 8)?.try_into().ok()
    }

    pub(super) fn minor(&self) -> Option<u32> {
        self.number(337, 8)?.try_into().ok()
    }

    /// What an old GNU sparse member's header says of its chunks.
    pub(super) fn gnu_sparse(&self) -> Option<GnuSparse> {
        Some(GnuSparse {
            chunks: sparse_entries(&self.0[386..482])?,
            more_follow: self.0[482] != 0,
            real_size: self.number(483, 12)?.try_into().ok()?,
        })
    }

    fn text(&self, at: usize, length: usize) -> &'b [u8] {
        let field = &self.0[at..at + length];
        field.split(|byte| *byte == 0).next().unwrap_or(field)
    }

    fn number(&self, at: usize, length: usize) -> Option<i64> {
        number(&self.0[at..at + length])
    }
}

/// Chunks as old GNU sparse headers have them: two numbers of 12 bytes each, to the first empty one.
pub(super) fn sparse_entries(bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut entries = Vec::new();
    for entry in bytes.chunks_exact(24) {
        if entry[0] == 0 {
            break;
        }
        entries.push((number(&entry[..12])?.try_into().ok()?, number(&entry[12..])?.try_into().ok()?));
    }
    Some(entries)
}

/// Octal digits, or GNU's base 256 if the first bit is set. Empty is 0.
fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let first = if negative { i64::from(field[0] as i8) } else { i64::from(field[0] & 0x7f) };
        return field[1..].iter().try_fold(first, |value, byte| value.checked_mul(256)?.checked_add(i64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches(|c| c == ' ' || c == '\0');
    if digits.is_empty() { Some(0) } else { i64::from_str_radix(digits, 8).ok().filter(|value| *value >= 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(&[0; 8]), Some(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\x02\0\0\0"), Some(0x200_0000));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        for bad in [b"00009\0\0\0", b"-1\0\0\0\0\0\0", b"12 34\0\0\0"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }
}
