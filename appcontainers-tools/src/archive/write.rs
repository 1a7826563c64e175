//! A member's headers as bytes: ustar, with an extended header (pax) for what ustar can't say, and GNU's map (1.0) where
//! a file has holes. Pure.

use super::{
    Kind, Member,
    header::{BLOCK_BYTES, Block},
    pax,
    sparse::Extent,
};

/// Two blocks of zeros: the end of an archive.
pub(crate) const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

/// Longest name of a file or of a link's target in a header of its own.
const NAME_BYTES: usize = 100;

/// Largest numbers in the fields of eight and of twelve bytes.
const MOST_OF_EIGHT: u64 = 0o777_7777;
const MOST_OF_TWELVE: u64 = 0o777_7777_7777;

/// What stands for the name of a file with holes: programs that don't know of holes find the data under it.
const SPARSE_PREFIX: &[u8] = b"GNUSparseFile.0/";

/// How many zeros follow `length` bytes of data, up to a whole block.
pub(crate) fn padding(length: u64) -> usize {
    (length.wrapping_neg() % BLOCK_BYTES as u64) as usize
}

/// All that stands before a member's data: the bytes of its extents, one after the other, and their [`padding`].
pub(crate) fn head(member: &Member) -> Vec<u8> {
    let map = sparse_map(member);
    let stored: u64 = map.len() as u64 + member.extents.iter().map(|extent| extent.length).sum::<u64>();
    let name = match map.is_empty() {
        true => member.path.clone(),
        false => [SPARSE_PREFIX, base_name(&member.path)].concat(),
    };
    let records = records(member, stored, !map.is_empty());
    let mut bytes = Vec::with_capacity(4 * BLOCK_BYTES);
    if !records.is_empty() {
        let extended =
            Fields { name: &[b"PaxHeaders/", base_name(&member.path)].concat(), type_flag: b'x', ..Fields::default() };
        bytes.extend(extended.header(0o644, records.len() as u64, member.mtime.0));
        bytes.extend(&records);
        bytes.resize(bytes.len() + padding(records.len() as u64), 0);
    }
    let fields = Fields { name: &name, ids: [member.uid, member.gid], ..Fields::of(&member.kind) };
    bytes.extend(fields.header(member.mode, stored, member.mtime.0));
    bytes.extend(map);
    bytes
}

/// What a header can't say.
fn records(member: &Member, stored: u64, has_holes: bool) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| pax::push(&mut records, key, value);
    if has_holes {
        add(b"GNU.sparse.major", b"1");
        add(b"GNU.sparse.minor", b"0");
        add(b"GNU.sparse.name", &member.path);
        add(b"GNU.sparse.realsize", member.size.to_string().as_bytes());
    } else if member.path.len() > NAME_BYTES {
        add(b"path", &member.path);
    }
    if let Kind::HardLink { to } | Kind::Symlink { to } = &member.kind
        && to.len() > NAME_BYTES
    {
        add(b"linkpath", to);
    }
    for (key, id) in [(b"uid", member.uid), (b"gid", member.gid)] {
        if id > MOST_OF_EIGHT {
            add(key, id.to_string().as_bytes());
        }
    }
    if stored > MOST_OF_TWELVE {
        add(b"size", stored.to_string().as_bytes());
    }
    let (seconds, nanoseconds) = member.mtime;
    if nanoseconds != 0 || !(0..=MOST_OF_TWELVE as i64).contains(&seconds) {
        add(b"mtime", pax::time_text(seconds, nanoseconds).as_bytes());
    }
    for (name, value) in &member.xattrs {
        add(&pax::xattr_key(name), value);
    }
    records
}

/// Where the data of a file with holes goes, in whole blocks; nothing if there are none.
fn sparse_map(member: &Member) -> Vec<u8> {
    let is_whole = match member.extents.as_slice() {
        [] => member.size == 0,
        [all] => *all == Extent { offset: 0, length: member.size },
        _ => false,
    };
    if is_whole || member.kind != Kind::File {
        return Vec::new();
    }
    let end = member.extents.last().map_or(0, |last| last.offset + last.length);
    // As GNU tar does it: a hole at the end is followed by an extent without data.
    let last = (end < member.size).then_some(Extent { offset: member.size, length: 0 });
    let mut map = format!("{}\n", member.extents.len() + usize::from(last.is_some())).into_bytes();
    for extent in member.extents.iter().chain(&last) {
        map.extend(format!("{}\n{}\n", extent.offset, extent.length).as_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK_BYTES), 0);
    map
}

fn base_name(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// What tells one header from another.
#[derive(Default)]
struct Fields<'a> {
    name: &'a [u8],
    type_flag: u8,
    link: &'a [u8],
    ids: [u64; 2],
    /// Major and minor.
    device: [u32; 2],
}

impl<'a> Fields<'a> {
    fn of(kind: &'a Kind) -> Self {
        let plain = |type_flag| Self { type_flag, ..Self::default() };
        match kind {
            Kind::File => plain(b'0'),
            Kind::HardLink { to } => Self { link: to, ..plain(b'1') },
            Kind::Symlink { to } => Self { link: to, ..plain(b'2') },
            Kind::Device { is_block, major, minor } => {
                Self { device: [*major, *minor], ..plain(if *is_block { b'4' } else { b'3' }) }
            }
            Kind::Directory => plain(b'5'),
            Kind::Fifo => plain(b'6'),
        }
    }

    fn header(&self, mode: u32, size: u64, mtime: i64) -> Block {
        let mut block = [0; BLOCK_BYTES];
        let mut text = |at: usize, text: &[u8], most: usize| {
            let text = &text[..text.len().min(most)];
            block[at..at + text.len()].copy_from_slice(text);
        };
        text(0, self.name, NAME_BYTES);
        text(157, self.link, NAME_BYTES);
        text(257, b"ustar\x0000", 8);
        let octal = |number: u64, digits: usize| format!("{number:0digits$o}").into_bytes();
        let eight = |number: u64| octal(number.min(MOST_OF_EIGHT), 7);
        let twelve = |number: u64| octal(number.min(MOST_OF_TWELVE), 11);
        text(100, &eight(mode.into()), 8);
        text(108, &eight(self.ids[0]), 8);
        text(116, &eight(self.ids[1]), 8);
        text(124, &twelve(size), 12);
        text(136, &twelve(mtime.try_into().unwrap_or(0)), 12);
        text(156, &[self.type_flag], 1);
        text(329, &eight(self.device[0].into()), 8);
        text(337, &eight(self.device[1].into()), 8);
        text(148, b"        ", 8);
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::archive::Archive;

    fn name(most: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(1..=255_u8, 1..most).prop_map(|mut name| {
            // A name that ends with a slash is a directory's.
            name.push(b'x');
            name
        })
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![
            3 => Just(Kind::File),
            1 => Just(Kind::Directory),
            1 => Just(Kind::Fifo),
            1 => name(300).prop_map(|to| Kind::HardLink { to }),
            1 => name(300).prop_map(|to| Kind::Symlink { to }),
            1 => (any::<bool>(), 0..4096_u32, 0..(1_u32 << 20))
                .prop_map(|(is_block, major, minor)| Kind::Device { is_block, major, minor }),
        ]
    }

    /// Gaps and lengths in turn, and a gap at the end.
    fn layout() -> impl Strategy<Value = (u64, Vec<Extent>)> {
        (prop::collection::vec((1..5000_u64, 1..3000_u64), 0..40), 0..5000_u64).prop_map(|(parts, rest)| {
            let mut end = 0;
            let extents = parts.into_iter().map(|(gap, length)| {
                let offset = end + gap;
                end = offset + length;
                Extent { offset, length }
            });
            let extents: Vec<_> = extents.collect();
            (end + rest, extents)
        })
    }

    fn xattrs() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        let name = "user\\.[a-z=%\n ]{1,20}".prop_map(String::into_bytes);
        prop::collection::btree_map(name, prop::collection::vec(any::<u8>(), 0..300), 0..4)
            .prop_map(|map| map.into_iter().collect())
    }

    fn member() -> impl Strategy<Value = Member> {
        let times = (any::<i32>().prop_map(i64::from), prop_oneof![Just(0), 0..1_000_000_000_u32]);
        let ids = (any::<u32>(), 0..70_000_u32);
        (name(300), kind(), 0..0o10000_u32, ids, times, xattrs(), prop_oneof![Just(None), layout().prop_map(Some)])
            .prop_map(|(path, kind, mode, (uid, gid), mtime, xattrs, layout)| {
                let (size, extents) = match (&kind, layout) {
                    (Kind::File, Some(layout)) => layout,
                    (Kind::File, None) => (3000, vec![Extent { offset: 0, length: 3000 }]),
                    _ => (0, Vec::new()),
                };
                Member { path, kind, mode, uid: uid.into(), gid: gid.into(), owner: None, mtime, xattrs, size, extents }
            })
    }

    /// As a reader tells extents: those without data, and how a file without holes is said, are all the same.
    fn plain(mut member: Member) -> Member {
        member.extents.retain(|extent| extent.length > 0);
        member
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(members in prop::collection::vec(member(), 1..6)) {
            let mut bytes = Vec::new();
            for member in &members {
                bytes.extend(head(member));
                let stored: u64 = member.extents.iter().map(|extent| extent.length).sum();
                bytes.resize(bytes.len() + stored as usize, b'd');
                bytes.resize(bytes.len() + padding(stored), 0);
            }
            bytes.extend(END);
            let mut archive = Archive::new(bytes.as_slice());
            for member in members {
                let read = archive.next_member().unwrap().unwrap();
                prop_assert_eq!(plain(read), plain(member));
            }
            prop_assert_eq!(archive.next_member().unwrap(), None);
        }
    }

    #[test]
    fn a_size_beyond_eight_gibibytes_is_said() {
        let size = 20 << 30;
        let extents = vec![Extent { offset: 0, length: size }];
        let plain = Member {
            path: b"a".to_vec(),
            kind: Kind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            owner: None,
            mtime: (0, 0),
            xattrs: Vec::new(),
            size,
            extents,
        };
        let read = Archive::new(head(&plain).as_slice()).next_member().unwrap().unwrap();
        assert_eq!(read, plain);
    }
}
