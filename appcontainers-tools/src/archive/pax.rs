//! PAX extended headers (POSIX.1-2001, pax): records `LENGTH KEY=VALUE\n` that say of the next member what its header
//! can't. Pure. Lengths are obeyed: a value may hold line feeds, and those of extended attributes do.

/// Where extended attributes are, as star and GNU tar write them.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// Whose a member is to be, in the words of a command line: only archives of our own have it, and only where that is asked for
/// is it obeyed.
const OWNER: &[u8] = b"APPC.owner";

/// A name and a value of an extended attribute.
pub(crate) type Xattr = (Vec<u8>, Vec<u8>);

/// What extended headers said; the last word counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) owner: Option<Vec<u8>>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: SparsePax,
}

/// GNU's description of a file with holes, in its three versions (GNU tar manual, "Storing Sparse Files").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SparsePax {
    pub(super) version: Option<(u64, u64)>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Offsets and lengths in turn, of versions 0.0 and 0.1.
    pub(super) map: Vec<u64>,
}

/// Records that can't be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotPax;

impl Pax {
    /// Adds the records of one extended header.
    pub(super) fn add(&mut self, mut records: &[u8]) -> Result<(), NotPax> {
        while !records.is_empty() {
            let blank = records.iter().position(|byte| *byte == b' ').ok_or(NotPax)?;
            let length = number(&records[..blank])? as usize;
            let record = records.get(blank + 1..length).ok_or(NotPax)?;
            let record = record.strip_suffix(b"\n").ok_or(NotPax)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(NotPax)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            records = &records[length..];
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), NotPax> {
        // An empty value takes the word back.
        let bytes = (!value.is_empty()).then(|| value.to_vec());
        let parsed = || if value.is_empty() { Ok(None) } else { number(value).map(Some) };
        match key {
            b"path" => self.path = bytes,
            b"linkpath" => self.link = bytes,
            b"size" => self.size = parsed()?,
            b"uid" => self.uid = parsed()?,
            b"gid" => self.gid = parsed()?,
            OWNER => self.owner = bytes,
            b"mtime" => self.mtime = if value.is_empty() { None } else { Some(time(value)?) },
            b"GNU.sparse.major" => {
                self.sparse.version = Some((number(value)?, self.sparse.version.unwrap_or_default().1))
            }
            b"GNU.sparse.minor" => {
                self.sparse.version = Some((self.sparse.version.unwrap_or_default().0, number(value)?))
            }
            b"GNU.sparse.name" => self.sparse.name = bytes,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = parsed()?,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse.map.push(number(value)?),
            b"GNU.sparse.map" => {
                self.sparse.map = value.split(|byte| *byte == b',').map(number).collect::<Result<_, _>>()?;
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    let name = xattr_name(name);
                    self.xattrs.retain(|(before, _)| *before != name);
                    self.xattrs.push((name, value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Adds a record.
pub(super) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    // The length counts its own digits.
    while length != rest + length.to_string().len() {
        length += 1;
    }
    records.extend([length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat());
}

/// The key of an extended attribute. A name may hold what ends a key, which GNU tar writes as here.
pub(super) fn xattr_key(name: &[u8]) -> Vec<u8> {
    let mut key = XATTR.to_vec();
    for byte in name {
        match byte {
            b'=' => key.extend(b"%3D"),
            b'%' => key.extend(b"%25"),
            byte => key.push(*byte),
        }
    }
    key
}

/// The name in an extended attribute's key.
fn xattr_name(mut key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len());
    while let Some((first, rest)) = key.split_first() {
        (key, _) = match key {
            [b'%', b'3', b'D', rest @ ..] => (rest, name.push(b'=')),
            [b'%', b'2', b'5', rest @ ..] => (rest, name.push(b'%')),
            _ => (rest, name.push(*first)),
        };
    }
    name
}

/// Seconds since 1970 and nanoseconds, as a record has them.
pub(super) fn time_text(seconds: i64, nanoseconds: u32) -> String {
    match (seconds, nanoseconds) {
        (_, 0) => seconds.to_string(),
        (..0, _) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
        _ => format!("{seconds}.{nanoseconds:09}"),
    }
}

/// A decimal number without sign.
pub(super) fn number(digits: &[u8]) -> Result<u64, NotPax> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NotPax);
    }
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(NotPax)
}

/// Seconds since 1970 with a fraction of any length, perhaps negative, as seconds and nanoseconds.
fn time(text: &[u8]) -> Result<(i64, u32), NotPax> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &[][..]),
    };
    let seconds: i64 = number(seconds)?.try_into().map_err(|_| NotPax)?;
    let mut nanoseconds = 0;
    for place in 0..9 {
        let digit = match fraction.get(place) {
            None => 0,
            Some(digit @ b'0'..=b'9') => digit - b'0',
            Some(_) => return Err(NotPax),
        };
        nanoseconds = nanoseconds * 10 + u32::from(digit);
    }
    Ok(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut records = Vec::new();
        push(&mut records, key, value);
        records
    }

    #[test]
    fn a_record_counts_the_digits_of_its_own_length() {
        assert_eq!(record(b"a", b"b"), b"6 a=b\n");
        for length in [92, 93, 94, 95, 96, 990, 991, 992, 993, 994] {
            let record = record(b"a", &vec![b'x'; length]);
            let stated = record.split(|byte| *byte == b' ').next().unwrap();
            assert_eq!(std::str::from_utf8(stated).unwrap(), record.len().to_string());
        }
    }

    #[test]
    fn a_value_with_line_feeds_is_whole() {
        let value = b"\x01\n\n12 path=x\n\xff";
        let mut pax = Pax::default();
        pax.add(&[record(b"SCHILY.xattr.user.a", value), record(b"path", b"b")].concat()).unwrap();
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), value.to_vec())]);
        assert_eq!(pax.path.as_deref(), Some(&b"b"[..]));
    }

    #[test]
    fn times_have_fractions_and_may_lie_before_1970() {
        assert_eq!(time(b"1700000000.5"), Ok((1_700_000_000, 500_000_000)));
        assert_eq!(time(b"1.0000000019"), Ok((1, 1)));
        assert_eq!(time(b"-1.25"), Ok((-2, 750_000_000)));
        assert_eq!(time(b"-3"), Ok((-3, 0)));
        assert_eq!(time(b"1.x"), Err(NotPax));
    }

    #[test]
    fn a_length_that_is_a_lie_is_refused() {
        for bad in [&b"5 a=b\n"[..], b"7 a=b\n", b"0 a=b\n", b"99999999999999999999 a=b\n", b"6 a=b", b"x", b"6 ab\n\n"]
        {
            assert_eq!(Pax::default().add(bad), Err(NotPax), "{:?}", String::from_utf8_lossy(bad));
        }
        assert_eq!(Pax::default().add(b"6 a=b\n"), Ok(()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(key in "[a-z.]{1,20}", value: Vec<u8>) {
            let key = [XATTR, key.as_bytes()].concat();
            let mut pax = Pax::default();
            pax.add(&record(&key, &value)).unwrap();
            prop_assert_eq!(&pax.xattrs[0].1, &value);
        }

        #[test]
        fn a_time_is_read_as_it_was(seconds: i64, nanoseconds in 0..1_000_000_000_u32) {
            let seconds = seconds / 2;
            prop_assert_eq!(time(time_text(seconds, nanoseconds).as_bytes()), Ok((seconds, nanoseconds)));
        }

        #[test]
        fn no_records_are_a_panic(records: Vec<u8>) {
            drop(Pax::default().add(&records));
        }
    }
}
