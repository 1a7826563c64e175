//! Reads a plain tar member by member, from its start to its end.

use std::io::{self, Read};

use appcontainers_sys::squashfs::{Device, Xattr};

use super::{
    ArchiveError,
    header::{BLOCK_BYTES, Block, GnuSparse, Header, NoHeader, sparse_entries},
    pax::Records,
    sparse::SparseMap,
};

/// Longest extension header: a member's attributes fit, an attack on our memory does not.
const MAX_EXTENSION_BYTES: u64 = 1024 * 1024;
/// Longest list of a sparse member's chunks.
const MAX_SPARSE_CHUNKS: usize = 1024 * 1024;

/// One member of an archive.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its name, as the archive has it.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: MemberKind,
    pub(crate) permissions: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970.
    pub(crate) modified: i64,
    pub(crate) xattrs: Vec<Xattr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberKind {
    /// A file; where its data is if it is sparse.
    File {
        stored: u64,
        sparse: Option<SparseMap>,
    },
    HardLink(Vec<u8>),
    Symlink(Vec<u8>),
    Character(Device),
    Block(Device),
    Directory,
    Fifo,
}

/// Extension headers that were read before a member's own.
#[derive(Default)]
struct Extensions {
    pax: Option<Records>,
    name: Option<Vec<u8>>,
    link_name: Option<Vec<u8>>,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.name.is_none() && self.link_name.is_none()
    }
}

/// Reads members one after the other. After an error nothing sensible follows.
pub(crate) struct TarReader<R> {
    inner: R,
    /// What is left of the member's data, and the zeros behind it.
    data_left: u64,
    padding_left: u64,
    /// The last member's name, for errors.
    last: Option<String>,
    done: bool,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, data_left: 0, padding_left: 0, last: None, done: false }
    }

    /// The next member; `None` at the end. Skips what was not read of the one before.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip(self.data_left.saturating_add(self.padding_left))?;
            (self.data_left, self.padding_left) = (0, 0);
            let mut block = [0; BLOCK_BYTES];
            if self.done || !self.read_block(&mut block)? {
                return self.end(&extensions);
            }
            let header = match Header::parse(&block) {
                Ok(header) => header,
                Err(NoHeader::Zeros) => return self.end(&extensions),
                Err(NoHeader::Checksum) if self.last.is_none() && extensions.is_empty() => {
                    return Err(ArchiveError::NotATar);
                }
                Err(NoHeader::Checksum) => return Err(self.corrupt("a header's checksum is wrong")),
            };
            let size = header.size().ok_or_else(|| self.corrupt("a member's size is no number"))?;
            match header.member_type() {
                b'x' | b'X' => {
                    let data = self.extension(size)?;
                    let records = Records::parse(&data).ok_or_else(|| self.corrupt("a PAX header is malformed"))?;
                    extensions.pax = Some(records);
                }
                // Defaults for all members: nobody uses them but for comments.
                b'g' => drop(self.extension(size)?),
                b'L' => extensions.name = Some(self.name_extension(size)?),
                b'K' => extensions.link_name = Some(self.name_extension(size)?),
                // A volume's label.
                b'V' => self.begin_data(size),
                _ => return self.member(&header, size, extensions).map(Some),
            }
        }
    }

    /// Reads the member's data as it is stored: a sparse member's chunks without the holes. An end before the
    /// member's end is an error of kind `UnexpectedEof`.
    pub(crate) fn read_data(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.data_left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        match self.inner.read(&mut buffer[..wanted])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.data_left -= count as u64;
                Ok(count)
            }
        }
    }

    /// Reads to the very end, so that a decompressor has checked all: behind the end of a tar there may be padding.
    pub(crate) fn drain(&mut self) -> Result<(), ArchiveError> {
        io::copy(&mut self.inner, &mut io::sink()).map(drop).map_err(|error| self.read_error(error))
    }

    /// What `error`, met in the member's data, means.
    pub(crate) fn read_error(&self, source: io::Error) -> ArchiveError {
        let member = self.last.clone();
        match source.kind() {
            // Only a plain tar's own end comes without another error inside.
            io::ErrorKind::UnexpectedEof if source.get_ref().is_none() => ArchiveError::Truncated { member },
            _ => ArchiveError::Read { member, source },
        }
    }

    fn member(&mut self, header: &Header<'_>, size: u64, extensions: Extensions) -> Result<Member, ArchiveError> {
        let pax = extensions.pax.unwrap_or_default();
        let wrong = "a header's number is malformed";
        let corrupt = |reader: &Self| reader.corrupt(wrong);
        let bytes = |key| pax.bytes(key).map(<[u8]>::to_owned);
        let path = bytes("GNU.sparse.name").or(bytes("path")).or(extensions.name).unwrap_or_else(|| header.name());
        self.last = Some(String::from_utf8_lossy(&path).into_owned());
        if path.is_empty() || path.contains(&0) {
            return Err(self.corrupt("a member has no name, or a NUL in it"));
        }
        let link = || bytes("linkpath").or(extensions.link_name).unwrap_or_else(|| header.link_name());
        let id = |key, own: Option<u64>| pax.number(key).unwrap_or(own).and_then(|id| u32::try_from(id).ok());
        let (uid, gid) = (id("uid", header.uid()), id("gid", header.gid()));
        let size = pax.number("size").unwrap_or(Some(size)).ok_or_else(|| corrupt(self))?;
        let device = header.major().zip(header.minor()).map(|(major, minor)| Device { major, minor });

        let kind = match header.member_type() {
            b'\0' | b'0' | b'7' if path.ends_with(b"/") => MemberKind::Directory,
            b'\0' | b'0' | b'7' => MemberKind::File { stored: size, sparse: None },
            b'S' => MemberKind::File { stored: size, sparse: None },
            b'1' => MemberKind::HardLink(link()),
            b'2' => MemberKind::Symlink(link()),
            b'3' => MemberKind::Character(device.ok_or_else(|| corrupt(self))?),
            b'4' => MemberKind::Block(device.ok_or_else(|| corrupt(self))?),
            b'5' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            other => {
                let member = String::from_utf8_lossy(&path).into_owned();
                return Err(ArchiveError::UnsupportedMember { member, member_type: other.into() });
            }
        };
        // A hard link's header may tell its target's size, but no data follows.
        let has_data = !matches!(kind, MemberKind::HardLink(_));
        self.begin_data(if has_data { size } else { 0 });
        let kind = match kind {
            MemberKind::File { .. } if header.member_type() == b'S' => self.gnu_sparse(header)?,
            MemberKind::File { .. } => self.pax_sparse(&pax)?,
            kind => kind,
        };
        let xattrs = pax.with_prefix("SCHILY.xattr.").into_iter();
        Ok(Member {
            path,
            kind,
            permissions: header.mode().ok_or_else(|| corrupt(self))?,
            uid: uid.ok_or_else(|| corrupt(self))?,
            gid: gid.ok_or_else(|| corrupt(self))?,
            modified: pax.seconds("mtime").unwrap_or(header.modified()).ok_or_else(|| corrupt(self))?,
            xattrs: xattrs.map(|(name, value)| Xattr { name: name.to_owned(), value: value.to_owned() }).collect(),
        })
    }

    /// GNU's old format: chunks in the header and in blocks behind it, which the size does not count.
    fn gnu_sparse(&mut self, header: &Header<'_>) -> Result<MemberKind, ArchiveError> {
        let wrong = "a sparse member's map is malformed";
        let sparse = header.gnu_sparse().ok_or_else(|| self.corrupt(wrong))?;
        let GnuSparse { mut chunks, mut more_follow, real_size } = sparse;
        while more_follow {
            let mut block = [0; BLOCK_BYTES];
            if !self.read_block(&mut block)? {
                return Err(ArchiveError::Truncated { member: self.last.clone() });
            }
            chunks.extend(sparse_entries(&block[..504]).ok_or_else(|| self.corrupt(wrong))?);
            more_follow = block[504] != 0;
            if chunks.len() > MAX_SPARSE_CHUNKS {
                return Err(self.corrupt("a sparse member has too many chunks"));
            }
        }
        self.sparse_file(chunks, real_size)
    }

    /// PAX's sparse formats 0.1 (map in a record) and 1.0 (map before the data).
    fn pax_sparse(&mut self, pax: &Records) -> Result<MemberKind, ArchiveError> {
        let wrong = "a sparse member's map is malformed";
        if let Some(list) = pax.bytes("GNU.sparse.map") {
            let chunks = SparseMap::parse_list(list).ok_or_else(|| self.corrupt(wrong))?;
            let real_size = pax.number("GNU.sparse.size").flatten().ok_or_else(|| self.corrupt(wrong))?;
            return self.sparse_file(chunks, real_size);
        }
        match pax.number("GNU.sparse.major") {
            None if pax.bytes("GNU.sparse.numblocks").is_some() => {
                Err(self.corrupt("a sparse member is in format 0.0, which is not supported"))
            }
            None => Ok(MemberKind::File { stored: self.data_left, sparse: None }),
            Some(Some(1)) => {
                let chunks = self.read_sparse_map()?.ok_or_else(|| self.corrupt(wrong))?;
                let real_size = pax.number("GNU.sparse.realsize").flatten().ok_or_else(|| self.corrupt(wrong))?;
                self.sparse_file(chunks, real_size)
            }
            Some(_) => Err(self.corrupt("a sparse member is in a format that is not supported")),
        }
    }

    fn sparse_file(&self, chunks: Vec<(u64, u64)>, real_size: u64) -> Result<MemberKind, ArchiveError> {
        let stored = self.data_left;
        let map = SparseMap::new(chunks, real_size, stored);
        let map = map.ok_or_else(|| self.corrupt("a sparse member's map does not fit its data"))?;
        Ok(MemberKind::File { stored, sparse: Some(map) })
    }

    /// The map at the start of the data: decimal numbers, a line each, padded to a whole block. `None` if malformed.
    fn read_sparse_map(&mut self) -> Result<Option<Vec<(u64, u64)>>, ArchiveError> {
        let mut text = Vec::new();
        let mut numbers: Vec<u64> = Vec::new();
        loop {
            let mut block = [0; BLOCK_BYTES];
            if self.data_left < BLOCK_BYTES as u64 {
                return Ok(None);
            }
            if !self.read_block(&mut block)? {
                return Err(ArchiveError::Truncated { member: self.last.clone() });
            }
            self.data_left -= BLOCK_BYTES as u64;
            for byte in block {
                match byte {
                    b'0'..=b'9' if text.len() < 20 => text.push(byte),
                    b'\n' => match std::str::from_utf8(&text).ok().and_then(|digits| digits.parse().ok()) {
                        Some(number) => {
                            numbers.push(number);
                            text.clear();
                        }
                        None => return Ok(None),
                    },
                    _ => return Ok(None),
                }
                if numbers.first().is_some_and(|count| *count > MAX_SPARSE_CHUNKS as u64) {
                    return Ok(None);
                }
                if numbers.first().is_some_and(|count| numbers.len() as u64 == 1 + 2 * count) {
                    return Ok(Some(numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()));
                }
            }
        }
    }

    fn begin_data(&mut self, size: u64) {
        self.data_left = size;
        self.padding_left = (BLOCK_BYTES as u64 - size % BLOCK_BYTES as u64) % BLOCK_BYTES as u64;
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > MAX_EXTENSION_BYTES {
            return Err(self.corrupt("an extension header is longer than 1 MiB"));
        }
        self.begin_data(size);
        let mut data = vec![0; size as usize];
        self.inner.read_exact(&mut data).map_err(|error| self.read_error(error))?;
        self.data_left = 0;
        Ok(data)
    }

    fn name_extension(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut name = self.extension(size)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    /// False at the end of the input; an error within a block.
    fn read_block(&mut self, block: &mut Block) -> Result<bool, ArchiveError> {
        let mut filled = 0;
        while filled < BLOCK_BYTES {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) if self.last.is_none() => return Err(ArchiveError::NotATar),
                Ok(0) => return Err(ArchiveError::Truncated { member: self.last.clone() }),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.read_error(error)),
            }
        }
        Ok(true)
    }

    fn skip(&mut self, length: u64) -> Result<(), ArchiveError> {
        let skipped = io::copy(&mut (&mut self.inner).take(length), &mut io::sink());
        match skipped.map_err(|error| self.read_error(error))? {
            count if count == length => Ok(()),
            _ => Err(ArchiveError::Truncated { member: self.last.clone() }),
        }
    }

    /// The end is a block of zeros or, as GNU tar has it, simply the end.
    fn end(&mut self, extensions: &Extensions) -> Result<Option<Member>, ArchiveError> {
        self.done = true;
        match (&self.last, extensions.is_empty()) {
            (_, false) => Err(ArchiveError::Truncated { member: self.last.clone() }),
            (None, true) => Err(ArchiveError::Empty),
            (Some(_), true) => Ok(None),
        }
    }

    fn corrupt(&self, why: &'static str) -> ArchiveError {
        ArchiveError::Corrupt { member: self.last.clone(), why }
    }
}
