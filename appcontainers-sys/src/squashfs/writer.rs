//! Takes files as they come and compresses their data.
#![allow(unsafe_code)]

use std::{ffi::CString, fs::File, mem::MaybeUninit, ptr, ptr::NonNull, sync::Arc, thread};

use super::{
    error::{WriteError, shown},
    handle::{Handle, check},
    output::Output,
    sys,
    tree::{Kind, Metadata, NO_XATTRS, Node, Special, Tree, special_kind},
};

/// What zstd calls its highest level.
pub const MAX_COMPRESSION_LEVEL: u32 = 22;

/// Size of a data block: what mksquashfs takes, too.
const BLOCK_SIZE: u32 = 128 * 1024;
/// More threads than this win nothing: the one that feeds them is busy.
const MAX_WORKERS: usize = 16;
/// Blocks in flight for each thread; bounds memory.
const BACKLOG: u32 = 8;

/// How a squashfs is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// zstd's level, 1 to [`MAX_COMPRESSION_LEVEL`]; what is outside is moved to the nearer end.
    pub compression_level: u32,
    /// What was modified later is said to be of this second (since 1970), so that when something was packed does not show.
    pub newest: Option<u32>,
    /// The second that the squashfs itself is of; that of the newest in it if absent.
    pub made: Option<u32>,
}

impl Default for Options {
    /// Level 3: 500 MB take 1.4 s, and level 15 would take 24 s for 13 % less.
    fn default() -> Self {
        Self { compression_level: 3, newest: None, made: None }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Length of the file, a multiple of 4096.
    pub size_bytes: u64,
    /// Files, directories and all else; hard links count once.
    pub inodes: u32,
}

/// Writes one squashfs. Paths are bytes, relative to the root whether they begin with `/` or not; a later
/// file replaces an earlier one of the same path; directories that nobody named are root's, 0755.
///
/// Not `Send`: libsquashfs calls back from the thread that feeds it.
pub struct Writer {
    // Dropped in this order: each uses those below it.
    processor: Handle<sys::sqfs_block_processor_t>,
    pub(super) inodes: Vec<InodeSlot>,
    _block_writer: Handle<sys::sqfs_block_writer_t>,
    pub(super) fragments: Handle<sys::sqfs_frag_table_t>,
    pub(super) xattrs: Handle<sys::sqfs_xattr_writer_t>,
    _decompressor: Handle<sys::sqfs_compressor_t>,
    pub(super) compressor: Handle<sys::sqfs_compressor_t>,
    pub(super) file: Handle<sys::sqfs_file_t>,
    pub(super) output: Arc<Output>,
    pub(super) tree: Tree,
    pub(super) super_block: sys::sqfs_super_t,
    newest: Option<u32>,
    pub(super) made: Option<u32>,
    incomplete: bool,
}

/// Where libsquashfs keeps a pointer to a file's inode, which moves while data is in flight.
pub(super) struct InodeSlot(NonNull<*mut sys::sqfs_inode_generic_t>);

impl InodeSlot {
    fn new() -> Self {
        Self(NonNull::from(Box::leak(Box::new(ptr::null_mut()))))
    }

    /// The inode; final only when the block processor has finished.
    pub(super) fn inode(&self) -> *mut sys::sqfs_inode_generic_t {
        // SAFETY: the slot lives until we drop it, and libsquashfs writes to it only within calls.
        unsafe { *self.0.as_ptr() }
    }
}

impl Drop for InodeSlot {
    fn drop(&mut self) {
        // SAFETY: the inode is libsquashfs's allocation (or null, which free takes), the slot is a leaked
        // Box; the block processor that used them is gone, it is declared before the slots.
        unsafe {
            sys::sqfs_free(self.inode().cast());
            drop(Box::from_raw(self.0.as_ptr()));
        }
    }
}

impl Writer {
    /// Starts a squashfs in `file`, which is emptied. It must be open for reading, too: equal blocks are
    /// compared with what is written already.
    pub fn create(file: File, options: &Options) -> Result<Self, WriteError> {
        let (output, file) = Output::create(file)?;
        let level = options.compression_level.clamp(1, MAX_COMPRESSION_LEVEL);
        let compressor = compressor(level, 0)?;
        let decompressor = self::compressor(level, sys::SQFS_COMP_FLAG_UNCOMPRESS as u16)?;
        let workers = thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS) as u32;
        let super_block = start(&file, &compressor).map_err(|error| output.explain(error))?;

        // SAFETY: the objects passed in are alive and outlive what is made here: `Writer`'s fields are
        // dropped in an order that guarantees it. The description is copied.
        let (block_writer, fragments, xattrs, processor) = unsafe {
            let block_writer =
                Handle::new(sys::sqfs_block_writer_create(file.as_ptr(), 4096, 0), "create the block writer")?;
            let fragments = Handle::new(sys::sqfs_frag_table_create(0), "create the fragment table")?;
            let xattrs = Handle::new(sys::sqfs_xattr_writer_create(0), "create the attribute table")?;
            let description = sys::sqfs_block_processor_desc_t {
                size: size_of::<sys::sqfs_block_processor_desc_t>() as u32,
                max_block_size: BLOCK_SIZE,
                num_workers: workers,
                max_backlog: workers * BACKLOG,
                cmp: compressor.as_ptr(),
                wr: block_writer.as_ptr(),
                tbl: fragments.as_ptr(),
                file: file.as_ptr(),
                uncmp: decompressor.as_ptr(),
            };
            let mut processor = ptr::null_mut();
            let doing = "start its threads";
            check(sys::sqfs_block_processor_create_ex(&description, &mut processor), doing)?;
            (block_writer, fragments, xattrs, Handle::new(processor, doing)?)
        };
        Ok(Self {
            processor,
            inodes: Vec::new(),
            _block_writer: block_writer,
            fragments,
            xattrs,
            _decompressor: decompressor,
            compressor,
            file,
            output,
            tree: Tree::new(),
            super_block,
            newest: options.newest,
            made: options.made,
            incomplete: false,
        })
    }

    /// Adds a directory, or changes the metadata of one that is there. The path of the root is `/` or empty.
    pub fn directory(&mut self, path: &[u8], metadata: &Metadata) -> Result<(), WriteError> {
        let xattrs = self.record_xattrs(path, metadata)?;
        self.tree.directory(path, metadata, xattrs)
    }

    /// Adds a file whose content the returned writer takes. Nothing is entered until it is finished.
    pub fn file<'w>(&'w mut self, path: &[u8], metadata: &Metadata) -> Result<FileWriter<'w>, WriteError> {
        if self.incomplete {
            return Err(WriteError::Incomplete);
        }
        let xattrs = self.record_xattrs(path, metadata)?;
        let node = Node::new(Kind::File(self.inodes.len()), metadata, xattrs);
        let slot = InodeSlot::new();
        // SAFETY: the slot stays where it is until the processor is gone.
        let code = unsafe {
            sys::sqfs_block_processor_begin_file(self.processor.as_ptr(), slot.0.as_ptr(), ptr::null_mut(), 0)
        };
        self.inodes.push(slot);
        self.incomplete = true;
        check(code, "begin a file")?;
        Ok(FileWriter { writer: self, path: path.to_owned(), node })
    }

    /// Adds a file that has no content.
    pub fn special(&mut self, path: &[u8], special: &Special, metadata: &Metadata) -> Result<(), WriteError> {
        let kind = special_kind(path, special)?;
        let xattrs = self.record_xattrs(path, metadata)?;
        self.tree.add(path, Node::new(kind, metadata, xattrs))
    }

    /// Gives what is at `target` another name.
    pub fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), WriteError> {
        self.tree.hard_link(path, target)
    }

    /// Takes a name out again, with all below it. False if it was not there.
    pub fn remove(&mut self, path: &[u8]) -> Result<bool, WriteError> {
        self.tree.remove(path)
    }

    /// True if there is a directory at `path`.
    pub fn is_directory(&self, path: &[u8]) -> Result<bool, WriteError> {
        Ok(matches!(self.tree.contains(path)?, Some(Kind::Directory(_))))
    }

    /// True if there is a file with content at `path`.
    pub fn is_file(&self, path: &[u8]) -> Result<bool, WriteError> {
        Ok(matches!(self.tree.contains(path)?, Some(Kind::File(_))))
    }

    /// Writes what is left and gives the file back. It is not synced.
    pub fn finish(mut self) -> Result<(File, Summary), WriteError> {
        if self.incomplete {
            return Err(WriteError::Incomplete);
        }
        let explain = |writer: &Self, error| writer.output.explain(error);
        // SAFETY: the processor is alive.
        let code = unsafe { sys::sqfs_block_processor_finish(self.processor.as_ptr()) };
        check(code, "write the data").map_err(|error| explain(&self, error))?;
        if let Some(newest) = self.newest {
            self.tree.nodes.iter_mut().for_each(|node| node.modified = node.modified.min(newest));
        }
        let summary = self.write_metadata().map_err(|error| explain(&self, error))?;
        let file = self.output.file.try_clone();
        Ok((file.map_err(|source| WriteError::Io { doing: "duplicate the file descriptor", source })?, summary))
    }

    fn record_xattrs(&mut self, path: &[u8], metadata: &Metadata) -> Result<u32, WriteError> {
        if metadata.xattrs.is_empty() {
            return Ok(NO_XATTRS);
        }
        let writer = self.xattrs.as_ptr();
        let doing = "record extended attributes";
        let mut names = Vec::with_capacity(metadata.xattrs.len());
        for xattr in &metadata.xattrs {
            let refused = || WriteError::Xattr { path: shown(path), name: shown(&xattr.name) };
            let known = ["user.", "trusted.", "security."]
                .iter()
                .any(|prefix| xattr.name.strip_prefix(prefix.as_bytes()).is_some_and(|rest| !rest.is_empty()));
            if !known || xattr.name.len() > 255 || xattr.value.len() > 65536 {
                return Err(refused());
            }
            names.push(CString::new(xattr.name.as_slice()).map_err(|_| refused())?);
        }
        let mut index = NO_XATTRS;
        // SAFETY: the attribute writer is alive; names end with NUL, and names and values are copied.
        unsafe {
            check(sys::sqfs_xattr_writer_begin(writer, 0), doing)?;
            for (name, xattr) in names.iter().zip(&metadata.xattrs) {
                let (value, size) = (xattr.value.as_ptr().cast(), xattr.value.len());
                check(sys::sqfs_xattr_writer_add(writer, name.as_ptr(), value, size), doing)?;
            }
            check(sys::sqfs_xattr_writer_end(writer, &mut index), doing)?;
        }
        Ok(index)
    }
}

/// Takes one file's content. Dropped before [`FileWriter::finish`], it leaves the whole squashfs unfinishable.
pub struct FileWriter<'w> {
    writer: &'w mut Writer,
    path: Vec<u8>,
    node: Node,
}

impl FileWriter<'_> {
    /// Appends bytes.
    pub fn write(&mut self, data: &[u8]) -> Result<(), WriteError> {
        if data.is_empty() {
            // libsquashfs 1.2 follows a null pointer when nothing is appended to nothing.
            return Ok(());
        }
        let processor = self.writer.processor.as_ptr();
        // SAFETY: the processor is alive and copies the data.
        let code = unsafe { sys::sqfs_block_processor_append(processor, data.as_ptr().cast(), data.len()) };
        check(code, "write a file's data").map_err(|error| self.writer.output.explain(error))
    }

    /// Appends `length` zeros. Whole blocks of them take no room.
    pub fn hole(&mut self, mut length: u64) -> Result<(), WriteError> {
        static ZEROS: [u8; BLOCK_SIZE as usize] = [0; BLOCK_SIZE as usize];
        while length > 0 {
            let part = length.min(ZEROS.len() as u64);
            self.write(&ZEROS[..part as usize])?;
            length -= part;
        }
        Ok(())
    }

    /// Enters the file in the tree.
    pub fn finish(self) -> Result<(), WriteError> {
        // SAFETY: the processor is alive.
        let code = unsafe { sys::sqfs_block_processor_end_file(self.writer.processor.as_ptr()) };
        check(code, "end a file").map_err(|error| self.writer.output.explain(error))?;
        self.writer.incomplete = false;
        self.writer.tree.add(&self.path, self.node)
    }
}

fn compressor(level: u32, flags: u16) -> Result<Handle<sys::sqfs_compressor_t>, WriteError> {
    let doing = "set up zstd";
    let mut config = MaybeUninit::<sys::sqfs_compressor_config_t>::zeroed();
    let mut compressor = ptr::null_mut();
    // SAFETY: all zeros is a valid configuration (integers only), init fills it, create copies it.
    unsafe {
        let config = config.assume_init_mut();
        check(sys::sqfs_compressor_config_init(config, sys::SQFS_COMP_ZSTD, BLOCK_SIZE as usize, flags), doing)?;
        config.level = level;
        check(sys::sqfs_compressor_create(config, &mut compressor), doing)?;
        Handle::new(compressor, doing)
    }
}

/// Writes the superblock for the first time, to keep its place, and the compressor's options behind it.
fn start(
    file: &Handle<sys::sqfs_file_t>,
    compressor: &Handle<sys::sqfs_compressor_t>,
) -> Result<sys::sqfs_super_t, WriteError> {
    let doing = "write the superblock";
    let mut super_block = MaybeUninit::<sys::sqfs_super_t>::zeroed();
    // SAFETY: all zeros is a valid superblock structure (integers only); file and compressor are alive, and
    // every compressor of libsquashfs has write_options.
    unsafe {
        let super_block = super_block.assume_init_mut();
        check(sys::sqfs_super_init(super_block, BLOCK_SIZE as usize, 0, sys::SQFS_COMP_ZSTD), doing)?;
        check(sys::sqfs_super_write(super_block, file.as_ptr()), doing)?;
        if let Some(write_options) = (*compressor.as_ptr()).write_options {
            let written = write_options(compressor.as_ptr(), file.as_ptr());
            check(written, doing)?;
            if written > 0 {
                super_block.flags |= sys::SQFS_FLAG_COMPRESSOR_OPTIONS as u16;
            }
        }
        Ok(*super_block)
    }
}
