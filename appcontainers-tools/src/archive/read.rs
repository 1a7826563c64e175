//! A tar archive read from its beginning to its end: members, and the data of the present one. Reads, writes nothing.
//!
//! Written for this program rather than taken from the `tar` crate, which cuts extended attributes at line feeds and
//! knows neither PAX's files with holes nor fractions of times.

use std::io::{self, Read};

use super::{
    Kind, Member,
    header::{self, BLOCK_BYTES, Block, Header},
    pax::{self, Pax},
    printable,
    sparse::{self, Extent, MAX_EXTENTS},
};

/// Longest extended header or long name.
const MAX_EXTENSION_BYTES: u64 = 4 * 1024 * 1024;

/// How much is read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Why an archive can't be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("the archive is cut off{}", after(path))]
    CutOff { path: String },
    #[error("what should be a header is none{}: the archive is damaged or no tar", after(path))]
    NotAHeader { path: String },
    #[error("{path}: its extended header is damaged or too long")]
    Extension { path: String },
    #[error("{path}: the map of its holes is damaged")]
    Sparse { path: String },
    #[error("{path}: a hard link with data of its own can't be extracted; make the archive with GNU tar")]
    LinkWithData { path: String },
    #[error("{path}: a member of type {kind:?} can't be extracted")]
    Kind { path: String, kind: char },
    #[error("cannot read the archive{}: {source}", after(path))]
    Read { path: String, source: io::Error },
}

fn after(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" after {path}") }
}

/// An archive.
pub(crate) struct Archive<R> {
    input: io::BufReader<R>,
    /// Bytes of the present member's data, and of the padding behind, that are not read.
    data: u64,
    padding: u64,
    global: Pax,
    /// The last member's name, for messages.
    last: String,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(input: R) -> Self {
        let input = io::BufReader::with_capacity(BUFFER_BYTES, input);
        Self { input, data: 0, padding: 0, global: Pax::default(), last: String::new() }
    }

    /// The next member; none at the end of the archive. Passes over what is left of the one before.
    pub(crate) fn next_member(&mut self) -> Result<Option<Member>, ArchiveError> {
        let mut pax = self.global.clone();
        let (mut long_path, mut long_link) = (None, None);
        loop {
            self.skip()?;
            let Some(block) = self.block()? else {
                let expected = pax != self.global || long_path.is_some() || long_link.is_some();
                return if expected { Err(self.cut_off()) } else { Ok(None) };
            };
            let header = header::parse(&block).map_err(|_| ArchiveError::NotAHeader { path: self.last.clone() })?;
            self.begin_data(header.size);
            match header.type_flag {
                b'x' | b'X' => {
                    let records = self.extension(&header)?;
                    pax.add(&records).map_err(|_| bad_extension(&header))?;
                }
                b'g' => {
                    let records = self.extension(&header)?;
                    self.global.add(&records).map_err(|_| bad_extension(&header))?;
                    pax.add(&records).map_err(|_| bad_extension(&header))?;
                }
                b'L' => long_path = Some(until_nul(self.extension(&header)?)),
                b'K' => long_link = Some(until_nul(self.extension(&header)?)),
                // A volume's label.
                b'V' => {}
                _ => return self.member(&block, header, pax, long_path, long_link).map(Some),
            }
        }
    }

    fn member(
        &mut self,
        block: &Block,
        header: Header,
        mut pax: Pax,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Member, ArchiveError> {
        let path = pax.sparse.name.take().or(pax.path.take()).or(long_path).unwrap_or(header.path);
        let link = pax.link.take().or(long_link).unwrap_or(header.link);
        self.last = printable(&path);
        let size = pax.size.unwrap_or(header.size);
        self.begin_data(size);
        let kind = match header.type_flag {
            // Before ustar, a directory was a file with a slash behind its name.
            0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            // Some programs give a link the size of its file and no data, some the data too: there is no telling.
            b'1' if size > 0 => return Err(ArchiveError::LinkWithData { path: self.last.clone() }),
            b'1' => Kind::HardLink { to: link },
            b'2' => Kind::Symlink { to: link },
            b'3' | b'4' => {
                Kind::Device { is_block: header.type_flag == b'4', major: header.device[0], minor: header.device[1] }
            }
            b'5' | b'D' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(ArchiveError::Kind { path: self.last.clone(), kind: char::from(other) }),
        };
        let (size, extents) = match kind {
            Kind::File => self.layout(block, header.type_flag, &pax, size)?,
            _ => (0, Vec::new()),
        };
        Ok(Member {
            path,
            kind,
            mode: header.mode,
            uid: pax.uid.unwrap_or(header.uid),
            gid: pax.gid.unwrap_or(header.gid),
            owner: pax.owner,
            mtime: pax.mtime.unwrap_or((header.mtime, 0)),
            xattrs: pax.xattrs,
            size,
            extents,
        })
    }

    /// The real size of a file and where its data goes.
    fn layout(
        &mut self,
        block: &Block,
        type_flag: u8,
        pax: &Pax,
        size: u64,
    ) -> Result<(u64, Vec<Extent>), ArchiveError> {
        let bad_map = |path: &str| ArchiveError::Sparse { path: path.to_owned() };
        let last = self.last.clone();
        let (real_size, extents) = if type_flag == b'S' {
            self.gnu_map(block)?
        } else if pax.sparse.version == Some((1, 0)) {
            (pax.sparse.real_size.ok_or_else(|| bad_map(&last))?, self.pax_map()?)
        } else if let (Some(real_size), false) = (pax.sparse.real_size, pax.sparse.map.is_empty()) {
            (real_size, sparse::pairs(&pax.sparse.map).map_err(|_| bad_map(&last))?)
        } else {
            return Ok((size, vec![Extent { offset: 0, length: size }]));
        };
        sparse::check(&extents, real_size, self.data).map_err(|_| bad_map(&last))?;
        Ok((real_size, extents))
    }

    /// The map of an old GNU header; further blocks of it lie before the data and are not counted in its size.
    fn gnu_map(&mut self, block: &Block) -> Result<(u64, Vec<Extent>), ArchiveError> {
        let bad_map = |path: &str| ArchiveError::Sparse { path: path.to_owned() };
        let (mut gnu, real_size) = sparse::gnu_header(block).map_err(|_| bad_map(&self.last))?;
        let mut extents = gnu.extents;
        while gnu.is_extended {
            let block = self.block()?.ok_or_else(|| self.cut_off())?;
            gnu = sparse::gnu_extension(&block).map_err(|_| bad_map(&self.last))?;
            extents.append(&mut gnu.extents);
            if extents.len() > MAX_EXTENTS {
                return Err(bad_map(&self.last));
            }
        }
        Ok((real_size, extents))
    }

    /// The map of PAX version 1.0: decimal numbers, one a line, in the first blocks of the data.
    fn pax_map(&mut self) -> Result<Vec<Extent>, ArchiveError> {
        let bad_map = |path: &str| ArchiveError::Sparse { path: path.to_owned() };
        let mut numbers = Vec::new();
        let mut digits = Vec::new();
        let mut expected = None;
        let mut block = [0; BLOCK_BYTES];
        let mut at = BLOCK_BYTES;
        while expected != Some(numbers.len()) {
            if at == BLOCK_BYTES {
                self.read_exact(&mut block)?;
                at = 0;
            }
            match block[at] {
                b'\n' => {
                    let number = pax::number(&digits).map_err(|_| bad_map(&self.last))?;
                    digits.clear();
                    match expected {
                        None if number <= MAX_EXTENTS as u64 => expected = Some(number as usize * 2),
                        None => return Err(bad_map(&self.last)),
                        Some(_) => numbers.push(number),
                    }
                }
                digit if digits.len() < 20 => digits.push(digit),
                _ => return Err(bad_map(&self.last)),
            }
            at += 1;
        }
        sparse::pairs(&numbers).map_err(|_| bad_map(&self.last))
    }

    /// Reads the present member's data, until it is all read (0).
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let wanted = self.data.min(buffer.len() as u64) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..wanted]).map_err(|source| self.unreadable(source))?;
        if count == 0 {
            return Err(self.cut_off());
        }
        self.data -= count as u64;
        Ok(count)
    }

    /// Reads what is behind the archive's end, so that its writer gets rid of it all.
    pub(crate) fn finish(&mut self) -> Result<(), ArchiveError> {
        io::copy(&mut self.input, &mut io::sink()).map(drop).map_err(|source| self.unreadable(source))
    }

    fn begin_data(&mut self, size: u64) {
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK_BYTES as u64;
    }

    fn skip(&mut self) -> Result<(), ArchiveError> {
        let left = self.data.saturating_add(self.padding);
        self.begin_data(0);
        let skipped = io::copy(&mut self.input.by_ref().take(left), &mut io::sink());
        if skipped.map_err(|source| self.unreadable(source))? < left { Err(self.cut_off()) } else { Ok(()) }
    }

    fn read_exact(&mut self, block: &mut Block) -> Result<(), ArchiveError> {
        let mut done = 0;
        while done < block.len() {
            match self.read(&mut block[done..])? {
                0 => return Err(ArchiveError::Sparse { path: self.last.clone() }),
                count => done += count,
            }
        }
        Ok(())
    }

    /// The next block that is not all zeros; none at the archive's end, which is two blocks of zeros or, in what some
    /// programs write, simply the end.
    fn block(&mut self) -> Result<Option<Block>, ArchiveError> {
        let mut block = [0; BLOCK_BYTES];
        let mut done = 0;
        while done < BLOCK_BYTES {
            match self.input.read(&mut block[done..]).map_err(|source| self.unreadable(source))? {
                0 if done == 0 => return Ok(None),
                0 => return Err(self.cut_off()),
                count => done += count,
            }
        }
        Ok(block.iter().any(|byte| *byte != 0).then_some(block))
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        if header.size > MAX_EXTENSION_BYTES {
            return Err(bad_extension(header));
        }
        let mut bytes = vec![0; header.size as usize];
        let mut done = 0;
        while done < bytes.len() {
            done += self.read(&mut bytes[done..])?;
        }
        Ok(bytes)
    }

    fn cut_off(&self) -> ArchiveError {
        ArchiveError::CutOff { path: self.last.clone() }
    }

    fn unreadable(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Read { path: self.last.clone(), source }
    }
}

fn bad_extension(header: &Header) -> ArchiveError {
    ArchiveError::Extension { path: printable(&header.path) }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}
