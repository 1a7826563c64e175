//! Where the data of a sparse member is. Pure.

/// The chunks of a sparse file: `(offset, length)`, in order; all else is zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SparseMap {
    pub(crate) chunks: Vec<(u64, u64)>,
    /// The whole file's length.
    pub(crate) real_size: u64,
}

impl SparseMap {
    /// Checks that chunks follow one another, end within the file, and have as many bytes as are stored.
    pub(super) fn new(chunks: Vec<(u64, u64)>, real_size: u64, stored: u64) -> Option<Self> {
        let (mut end, mut total) = (0u64, 0u64);
        for (offset, length) in &chunks {
            if *offset < end {
                return None;
            }
            end = offset.checked_add(*length)?;
            total = total.checked_add(*length)?;
        }
        (end <= real_size && total == stored).then_some(Self { chunks, real_size })
    }

    /// `offset,length,offset,length…`, as `GNU.sparse.map` has it.
    pub(super) fn parse_list(text: &[u8]) -> Option<Vec<(u64, u64)>> {
        let numbers: Vec<u64> =
            std::str::from_utf8(text).ok()?.split(',').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let pairs = numbers.chunks_exact(2);
        pairs.remainder().is_empty().then(|| pairs.map(|pair| (pair[0], pair[1])).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_lies_is_refused() {
        assert!(SparseMap::new(vec![(0, 5), (10, 5)], 20, 10).is_some());
        assert!(SparseMap::new(vec![(20, 0)], 20, 0).is_some());
        for (chunks, real_size, stored) in [
            (vec![(0, 5), (4, 5)], 20, 10),
            (vec![(10, 11)], 20, 11),
            (vec![(0, 5)], 20, 6),
            (vec![(u64::MAX, 2)], u64::MAX, 2),
        ] {
            assert!(SparseMap::new(chunks.clone(), real_size, stored).is_none(), "{chunks:?}");
        }
    }

    #[test]
    fn a_list_has_pairs() {
        assert_eq!(SparseMap::parse_list(b"0,1,5,2"), Some(vec![(0, 1), (5, 2)]));
        assert_eq!(SparseMap::parse_list(b"0,1,5"), None);
        assert_eq!(SparseMap::parse_list(b"0,x"), None);
    }
}
