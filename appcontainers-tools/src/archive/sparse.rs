//! Which parts of a file with holes have data. Pure.

use super::header::{Block, NotAHeader, number};

/// Most parts of one file: bounds the memory that a hostile archive takes.
pub(crate) const MAX_EXTENTS: usize = 1_000_000;

/// A part of a file that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A map that contradicts itself or the member.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadMap;

/// Offsets and lengths in turn, as extents.
pub(super) fn pairs(numbers: &[u64]) -> Result<Vec<Extent>, BadMap> {
    let (pairs, []) = numbers.as_chunks::<2>() else { return Err(BadMap) };
    Ok(pairs.iter().map(|[offset, length]| Extent { offset: *offset, length: *length }).collect())
}

/// Checks that extents rise, lie in the file and have exactly the data that is there.
pub(super) fn check(extents: &[Extent], real_size: u64, data_size: u64) -> Result<(), BadMap> {
    let mut end = 0;
    let mut data = 0_u64;
    for extent in extents {
        if extent.offset < end {
            return Err(BadMap);
        }
        end = extent.offset.checked_add(extent.length).ok_or(BadMap)?;
        data += extent.length;
    }
    if end <= real_size && data == data_size { Ok(()) } else { Err(BadMap) }
}

/// What an old GNU header (type `S`) or one of its extension blocks says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GnuBlock {
    pub(super) extents: Vec<Extent>,
    /// Another extension block follows.
    pub(super) is_extended: bool,
}

/// The four extents in an old GNU header, and the file's real size.
pub(super) fn gnu_header(block: &Block) -> Result<(GnuBlock, u64), NotAHeader> {
    let real_size = number(&block[483..495])?.try_into().map_err(|_| NotAHeader)?;
    Ok((GnuBlock { extents: gnu_extents(&block[386..482])?, is_extended: block[482] != 0 }, real_size))
}

/// The 21 extents in an extension block.
pub(super) fn gnu_extension(block: &Block) -> Result<GnuBlock, NotAHeader> {
    Ok(GnuBlock { extents: gnu_extents(&block[..504])?, is_extended: block[504] != 0 })
}

fn gnu_extents(entries: &[u8]) -> Result<Vec<Extent>, NotAHeader> {
    let field = |field: &[u8]| number(field)?.try_into().map_err(|_| NotAHeader);
    entries
        .chunks_exact(24)
        .take_while(|entry| entry[0] != 0)
        .map(|entry| Ok(Extent { offset: field(&entry[..12])?, length: field(&entry[12..])? }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_that_overlap_overrun_or_lack_data_are_refused() {
        let map = |numbers: &[u64]| pairs(numbers).unwrap();
        assert_eq!(check(&map(&[0, 5, 10, 5]), 15, 10), Ok(()));
        assert_eq!(check(&map(&[0, 5, 10, 5, 20, 0]), 20, 10), Ok(()));
        for (bad, size, data) in
            [(&[0, 5, 4, 5][..], 15, 10), (&[0, 5, 11, 5], 15, 10), (&[0, 5], 15, 4), (&[u64::MAX, 1], u64::MAX, 1)]
        {
            assert_eq!(check(&map(bad), size, data), Err(BadMap), "{bad:?}");
        }
        assert_eq!(pairs(&[1]), Err(BadMap));
    }
}
