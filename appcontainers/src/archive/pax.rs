//! PAX extension records: `LENGTH KEY=VALUE\n`. Pure.

use std::collections::HashMap;

/// Records by key. A value is bytes: paths and attributes are no text. The later of two counts.
#[derive(Debug, Default)]
pub(super) struct Records {
    records: HashMap<Vec<u8>, Vec<u8>>,
}

impl Records {
    /// Reads the data of an extension header; `None` if it is malformed.
    pub(super) fn parse(mut data: &[u8]) -> Option<Self> {
        let mut records = HashMap::new();
        while !data.is_empty() {
            let space = data.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
            let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            records.insert(record[..equals].to_owned(), record[equals + 1..].to_owned());
            data = &data[length..];
        }
        Some(Self { records })
    }

    pub(super) fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.records.get(key.as_bytes()).map(Vec::as_slice)
    }

    /// A number in decimal digits. The outer `None` is "not there", the inner "no number".
    pub(super) fn number(&self, key: &str) -> Option<Option<u64>> {
        self.bytes(key).map(|value| std::str::from_utf8(value).ok()?.parse().ok())
    }

    /// A time in seconds; what is behind the dot is cut off.
    pub(super) fn seconds(&self, key: &str) -> Option<Option<i64>> {
        self.bytes(key).map(|value| std::str::from_utf8(value).ok()?.split('.').next()?.parse().ok())
    }

    /// Values of all keys with this prefix, by what follows it; sorted.
    pub(super) fn with_prefix(&self, prefix: &str) -> Vec<(&[u8], &[u8])> {
        let mut found: Vec<_> = self
            .records
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(prefix.as_bytes())?, value.as_slice())))
            .collect();
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_with_newlines_is_one_value() {
        let records = Records::parse(b"31 SCHILY.xattr.user.a=1\n2\n3=4\n12 path=a/b\n").unwrap();
        assert_eq!(records.with_prefix("SCHILY.xattr."), [(b"user.a".as_slice(), b"1\n2\n3=4".as_slice())]);
        assert_eq!(records.bytes("path"), Some(b"a/b".as_slice()));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            b"x".as_slice(),
            b"5 a=b",
            b"0 \n",
            b"1 \n",
            b"99 a=b\n",
            b"6 a=b\nx",
            b"5 ab\n",
            b"18446744073709551615 a=b\n",
        ] {
            assert!(Records::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn times_may_have_fractions() {
        let records = Records::parse(b"20 mtime=1700000.25\n12 atime=-5\n").unwrap();
        assert_eq!((records.seconds("mtime"), records.seconds("atime")), (Some(Some(1_700_000)), Some(Some(-5))));
    }

    proptest! {
        #[test]
        fn parse_never_panics(data in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Records::parse(&data);
        }
    }
}
