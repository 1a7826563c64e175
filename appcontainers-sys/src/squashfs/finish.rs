//! Writes the tree behind the data: inodes, directories, tables, superblock.
#![allow(unsafe_code)]

use std::{collections::HashMap, ffi::CString, ptr};

use super::{
    error::WriteError,
    handle::{Handle, check},
    sys,
    tree::{Kind, NO_XATTRS, Node, NodeId, Plan, ROOT},
    writer::{Summary, Writer},
};

/// The length of a squashfs is a multiple of this.
const PADDING: u64 = 4096;

/// An inode that libsquashfs allocated or that lies in a buffer of ours.
enum Inode {
    /// Made by the directory writer; freed when dropped.
    Allocated(*mut sys::sqfs_inode_generic_t),
    /// Belongs to the block processor's slot.
    Borrowed(*mut sys::sqfs_inode_generic_t),
    Buffer(Vec<u64>),
}

impl Inode {
    /// Room for an inode and `extra` bytes behind it, all zero but the type.
    fn buffer(inode_type: sys::SQFS_INODE_TYPE, extra: usize) -> Self {
        let bytes = size_of::<sys::sqfs_inode_generic_t>() + extra;
        let mut inode = Self::Buffer(vec![0; bytes.div_ceil(size_of::<u64>())]);
        // SAFETY: the buffer is big enough, aligned to 8 as the structure asks, and zeros are a valid inode.
        unsafe { (*inode.as_ptr()).base.type_ = inode_type as u16 };
        inode
    }

    fn as_ptr(&mut self) -> *mut sys::sqfs_inode_generic_t {
        match self {
            Self::Allocated(inode) | Self::Borrowed(inode) => *inode,
            Self::Buffer(buffer) => buffer.as_mut_ptr().cast(),
        }
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        if let Self::Allocated(inode) = self {
            // SAFETY: libsquashfs allocated it for us, and nothing else refers to it.
            unsafe { sys::sqfs_free((*inode).cast()) };
        }
    }
}

/// Owners and groups by their place in the table. libsquashfs searches its table from the start each time.
struct Ids {
    table: Handle<sys::sqfs_id_table_t>,
    known: HashMap<u32, u16>,
}

impl Ids {
    fn index(&mut self, id: u32) -> Result<u16, WriteError> {
        if let Some(index) = self.known.get(&id) {
            return Ok(*index);
        }
        // The superblock counts ids in 16 bits.
        if self.known.len() >= usize::from(u16::MAX) {
            return Err(WriteError::TooManyIds);
        }
        let mut index = 0;
        // SAFETY: the table is alive.
        check(unsafe { sys::sqfs_id_table_id_to_index(self.table.as_ptr(), id, &mut index) }, "record an owner")?;
        self.known.insert(id, index);
        Ok(index)
    }
}

/// What is written to while the tree is walked.
struct Sink {
    directories: Handle<sys::sqfs_dir_writer_t>,
    inode_table: Handle<sys::sqfs_meta_writer_t>,
    directory_table: Handle<sys::sqfs_meta_writer_t>,
    ids: Ids,
}

impl Writer {
    /// Everything behind the data, and the superblock. The data must be complete.
    pub(super) fn write_metadata(&mut self) -> Result<Summary, WriteError> {
        let plan = self.tree.plan()?;
        self.super_block.inode_count = plan.count;
        let newest = self.tree.nodes.iter().map(|node| node.modified).max().unwrap_or(0);
        self.super_block.modification_time = self.made.unwrap_or(newest);
        self.super_block.inode_table_start = self.output.size();

        let mut sink = self.open_sink()?;
        let root = self.write_tree(&plan, &mut sink)?;
        self.super_block.root_inode_ref = root;
        self.write_tables(&mut sink, plan.numbers[ROOT])?;

        let size_bytes = self.output.size().next_multiple_of(PADDING);
        let doing = "pad it";
        self.output.file.set_len(size_bytes).map_err(|source| WriteError::Io { doing, source })?;
        Ok(Summary { size_bytes, inodes: plan.count })
    }

    fn open_sink(&self) -> Result<Sink, WriteError> {
        let (file, compressor) = (self.file.as_ptr(), self.compressor.as_ptr());
        let doing = "create its tables";
        let in_memory = sys::SQFS_META_WRITER_KEEP_IN_MEMORY;
        let export = sys::SQFS_DIR_WRITER_CREATE_EXPORT_TABLE;
        // SAFETY: file and compressor outlive the sink, which `write_metadata` drops; the directory writer is
        // declared before the table that it uses.
        unsafe {
            let inode_table = Handle::new(sys::sqfs_meta_writer_create(file, compressor, 0), doing)?;
            let directory_table = Handle::new(sys::sqfs_meta_writer_create(file, compressor, in_memory), doing)?;
            let directories = Handle::new(sys::sqfs_dir_writer_create(directory_table.as_ptr(), export), doing)?;
            let table = Handle::new(sys::sqfs_id_table_create(0), doing)?;
            Ok(Sink { directories, inode_table, directory_table, ids: Ids { table, known: HashMap::new() } })
        }
    }

    /// Writes all inodes and listings; returns where the root's inode is.
    fn write_tree(&self, plan: &Plan, sink: &mut Sink) -> Result<u64, WriteError> {
        let mut references: Vec<Option<u64>> = vec![None; self.tree.nodes.len()];
        let mut finished: HashMap<NodeId, Inode> = HashMap::new();
        for &directory in &plan.directories {
            let node = &self.tree.nodes[directory];
            let Kind::Directory(children) = &node.kind else { continue };
            for &child in children.values() {
                if references[child].is_none() {
                    let mut inode = match finished.remove(&child) {
                        Some(inode) => inode,
                        None => self.leaf(&self.tree.nodes[child], plan.links[child])?,
                    };
                    references[child] = Some(self.write_inode(child, &mut inode, plan, sink)?);
                }
            }

            let writer = sink.directories.as_ptr();
            let doing = "write a directory";
            // SAFETY: the directory writer is alive, names end with NUL and are copied.
            let inode = unsafe {
                check(sys::sqfs_dir_writer_begin(writer, 0), doing)?;
                for (name, &child) in children {
                    let name = CString::new(&name[..]).map_err(|_| WriteError::invalid(name))?;
                    let (number, reference) = (plan.numbers[child], references[child].unwrap_or_default());
                    let mode = type_bits(&self.tree.nodes[child].kind);
                    check(sys::sqfs_dir_writer_add_entry(writer, name.as_ptr(), number, reference, mode), doing)?;
                }
                check(sys::sqfs_dir_writer_end(writer), doing)?;
                let parent = match directory {
                    // The kernel, too, takes a number past the last for the root's parent.
                    ROOT => plan.count + 1,
                    directory => plan.numbers[plan.parents[directory]],
                };
                sys::sqfs_dir_writer_create_inode(writer, 0, node.xattrs, parent)
            };
            if inode.is_null() {
                return Err(WriteError::Library { doing, source: super::LibraryError(sys::SQFS_ERROR_ALLOC) });
            }
            set_directory_links(inode, 2 + self.tree.subdirectories(children));
            finished.insert(directory, Inode::Allocated(inode));
        }
        match finished.remove(&ROOT) {
            Some(mut root) => self.write_inode(ROOT, &mut root, plan, sink),
            None => Err(WriteError::Incomplete),
        }
    }

    /// The inode of what is no directory, without what all inodes have.
    fn leaf(&self, node: &Node, links: u32) -> Result<Inode, WriteError> {
        let device = |inode_type, number| {
            let mut inode = Inode::buffer(inode_type, 0);
            // SAFETY: `dev` is this type's part of the union.
            unsafe { (*inode.as_ptr()).data.dev = sys::sqfs_inode_dev_t { nlink: links, devno: number } };
            inode
        };
        let ipc = |inode_type| {
            let mut inode = Inode::buffer(inode_type, 0);
            // SAFETY: `ipc` is this type's part of the union.
            unsafe { (*inode.as_ptr()).data.ipc = sys::sqfs_inode_ipc_t { nlink: links } };
            inode
        };
        Ok(match &node.kind {
            Kind::Directory(_) => return Err(WriteError::Incomplete),
            Kind::File(slot) => {
                let inode = self.inodes[*slot].inode();
                if links > 1 {
                    // SAFETY: the block processor is done with this inode, and it is a file's.
                    unsafe {
                        check(sys::sqfs_inode_make_extended(inode), "write an inode")?;
                        (*inode).data.file_ext.nlink = links;
                    }
                }
                Inode::Borrowed(inode)
            }
            Kind::Symlink(target) => {
                let mut inode = Inode::buffer(sys::SQFS_INODE_SLINK, target.len());
                let length = target.len() as u32;
                // SAFETY: `slink` is this type's part of the union, and the buffer has room for the target.
                unsafe {
                    let inode = inode.as_ptr();
                    (*inode).payload_bytes_available = length;
                    (*inode).payload_bytes_used = length;
                    (*inode).data.slink = sys::sqfs_inode_slink_t { nlink: links, target_size: length };
                    let extra = (&raw mut (*inode).extra).cast::<u8>();
                    ptr::copy_nonoverlapping(target.as_ptr(), extra, target.len());
                }
                inode
            }
            Kind::Character(number) => device(sys::SQFS_INODE_CDEV, *number),
            Kind::Block(number) => device(sys::SQFS_INODE_BDEV, *number),
            Kind::Fifo => ipc(sys::SQFS_INODE_FIFO),
            Kind::Socket => ipc(sys::SQFS_INODE_SOCKET),
        })
    }

    /// Fills in what all inodes have and writes; returns where it is.
    fn write_inode(&self, id: NodeId, inode: &mut Inode, plan: &Plan, sink: &mut Sink) -> Result<u64, WriteError> {
        let (node, inode, table) = (&self.tree.nodes[id], inode.as_ptr(), sink.inode_table.as_ptr());
        let (uid, gid) = (sink.ids.index(node.uid)?, sink.ids.index(node.gid)?);
        let doing = "write an inode";
        let (mut block, mut offset) = (0, 0);
        // SAFETY: `inode` points to a whole inode of its type, the table is alive.
        unsafe {
            (*inode).base.mode = node.permissions;
            (*inode).base.uid_idx = uid;
            (*inode).base.gid_idx = gid;
            (*inode).base.mod_time = node.modified;
            (*inode).base.inode_number = plan.numbers[id];
            if node.xattrs != NO_XATTRS {
                check(sys::sqfs_inode_set_xattr_index(inode, node.xattrs), doing)?;
            }
            sys::sqfs_meta_writer_get_position(table, &mut block, &mut offset);
            check(sys::sqfs_meta_writer_write_inode(table, inode), doing)?;
        }
        Ok(block << 16 | u64::from(offset))
    }

    fn write_tables(&mut self, sink: &mut Sink, root_number: u32) -> Result<(), WriteError> {
        let (file, compressor) = (self.file.as_ptr(), self.compressor.as_ptr());
        let (super_block, root) = (&raw mut self.super_block, self.super_block.root_inode_ref);
        // SAFETY: all objects are alive, and libsquashfs keeps no pointer to the superblock.
        unsafe {
            check(sys::sqfs_meta_writer_flush(sink.inode_table.as_ptr()), "write the inodes")?;
            (*super_block).directory_table_start = self.output.size();
            let directory_table = sink.directory_table.as_ptr();
            check(sys::sqfs_meta_writer_flush(directory_table), "write the directories")?;
            check(sys::sqfs_meta_write_write_to_file(directory_table), "write the directories")?;
            let fragments = self.fragments.as_ptr();
            check(sys::sqfs_frag_table_write(fragments, file, super_block, compressor), "write the fragment table")?;
            let export = sys::sqfs_dir_writer_write_export_table(
                sink.directories.as_ptr(),
                file,
                compressor,
                root_number,
                root,
                super_block,
            );
            check(export, "write the export table")?;
            let ids = sink.ids.table.as_ptr();
            check(sys::sqfs_id_table_write(ids, file, super_block, compressor), "write the owners")?;
            let xattrs = self.xattrs.as_ptr();
            check(sys::sqfs_xattr_writer_flush(xattrs, file, super_block, compressor), "write the attributes")?;
            (*super_block).bytes_used = self.output.size();
            check(sys::sqfs_super_write(super_block, file), "write the superblock")
        }
    }
}

/// libsquashfs counts all entries as links; POSIX wants those of subdirectories only.
fn set_directory_links(inode: *mut sys::sqfs_inode_generic_t, links: u32) {
    // SAFETY: the directory writer made this inode, and the type says which part of the union it filled.
    unsafe {
        if u32::from((*inode).base.type_) == sys::SQFS_INODE_EXT_DIR {
            (*inode).data.dir_ext.nlink = links;
        } else {
            (*inode).data.dir.nlink = links;
        }
    }
}

fn type_bits(kind: &Kind) -> u16 {
    let bits = match kind {
        Kind::Directory(_) => sys::SQFS_INODE_MODE_DIR,
        Kind::File(_) => sys::SQFS_INODE_MODE_REG,
        Kind::Symlink(_) => sys::SQFS_INODE_MODE_LNK,
        Kind::Character(_) => sys::SQFS_INODE_MODE_CHR,
        Kind::Block(_) => sys::SQFS_INODE_MODE_BLK,
        Kind::Fifo => sys::SQFS_INODE_MODE_FIFO,
        Kind::Socket => sys::SQFS_INODE_MODE_SOCK,
    };
    bits as u16
}
