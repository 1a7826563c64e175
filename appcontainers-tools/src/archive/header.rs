//! One 512-byte tar header: ustar (POSIX.1-1988), GNU and what came before them. Pure.

/// Archives are made of blocks of this size.
pub(crate) const BLOCK_BYTES: usize = 512;

/// A block of an archive.
pub(crate) type Block = [u8; BLOCK_BYTES];

/// A header's fields as they stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) type_flag: u8,
    /// `prefix/name` in ustar.
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    /// Major and minor; 0 where a header has none, or what is none.
    pub(super) device: [u32; 2],
}

/// A block that is not a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAHeader;

/// Reads a header. The block is not all zeros.
pub(super) fn parse(block: &Block) -> Result<Header, NotAHeader> {
    check_sum(block)?;
    let mut path = text(&block[..100]).to_vec();
    if &block[257..263] == b"ustar\0" && block[345] != 0 {
        path = [text(&block[345..500]), b"/", &path].concat();
    }
    let size = number(&block[124..136])?;
    Ok(Header {
        type_flag: block[156],
        path,
        link: text(&block[157..257]).to_vec(),
        mode: (number(&block[100..108])? & 0o7777) as u32,
        uid: number(&block[108..116])?.try_into().map_err(|_| NotAHeader)?,
        gid: number(&block[116..124])?.try_into().map_err(|_| NotAHeader)?,
        size: size.try_into().map_err(|_| NotAHeader)?,
        mtime: number(&block[136..148])?,
        device: [&block[329..337], &block[337..345]].map(|field| number(field).unwrap_or(0) as u32),
    })
}

/// The sum of the header's bytes, its own field taken as blanks; some old programs added signed bytes.
fn check_sum(block: &Block) -> Result<(), NotAHeader> {
    let stated = number(&block[148..156])?;
    let bytes = || block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte as i8)).sum();
    if stated == unsigned || stated == signed { Ok(()) } else { Err(NotAHeader) }
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits between blanks, or, if the first bit is set, a big-endian two's complement number.
pub(super) fn number(field: &[u8]) -> Result<i64, NotAHeader> {
    match field {
        [first, rest @ ..] if first & 0x80 != 0 => {
            let start = if first & 0x40 == 0 { i128::from(first & 0x3f) } else { i128::from(*first as i8) };
            let value =
                rest.iter().try_fold(start, |value, byte| value.checked_mul(256)?.checked_add(i128::from(*byte)));
            value.and_then(|value| value.try_into().ok()).ok_or(NotAHeader)
        }
        _ => {
            let digits = text(field).trim_ascii();
            digits
                .iter()
                .try_fold(0_i64, |value, digit| match digit {
                    b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
                    _ => None,
                })
                .ok_or(NotAHeader)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_octal_or_binary_and_may_be_negative() {
        assert_eq!(number(b"0000755\0"), Ok(0o755));
        assert_eq!(number(b"   644 \0"), Ok(0o644));
        assert_eq!(number(b"\0\0\0"), Ok(0));
        assert_eq!(number(b"77777777777"), Ok(0o77_777_777_777), "no terminator where the field is full");
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]), Ok(1 << 33));
        assert_eq!(number(&[0xff; 12]), Ok(-1));
        assert_eq!(number(b"12x"), Err(NotAHeader));
        assert_eq!(number(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0]), Err(NotAHeader));
    }

    #[test]
    fn a_header_with_a_flipped_bit_is_none() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_path("dir/file").unwrap();
        header.set_mode(0o4755);
        header.set_uid(1000);
        header.set_size(0);
        header.set_mtime(1_700_000_000);
        header.set_cksum();
        archive.append(&header, std::io::empty()).unwrap();
        let mut block: Block = archive.get_ref()[..BLOCK_BYTES].try_into().unwrap();
        let parsed = parse(&block).unwrap();
        assert_eq!((parsed.path.as_slice(), parsed.mode, parsed.uid), (&b"dir/file"[..], 0o4755, 1000));
        for at in 0..BLOCK_BYTES {
            block[at] ^= 1;
            assert!(parse(&block).is_err(), "byte {at}");
            block[at] ^= 1;
        }
    }

    proptest! {
        #[test]
        fn no_block_is_a_panic(bytes in prop::collection::vec(any::<u8>(), BLOCK_BYTES)) {
            let block: Block = bytes.try_into().unwrap();
            drop(parse(&block));
        }
    }
}
