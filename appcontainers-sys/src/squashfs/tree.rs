//! The tree of a squashfs that is being written. Pure: it knows names, owners and links, not data.

use std::collections::BTreeMap;

use super::error::{WriteError, shown};

/// Longest name of a file (`NAME_MAX`).
const MAX_NAME: usize = 255;
/// Longest path or link target (`PATH_MAX` without its NUL).
const MAX_PATH: usize = 4095;
/// `parent` of the root, and the number of an xattr set that is not there (as squashfs has it).
pub(super) const NO_XATTRS: u32 = u32::MAX;

/// What a file has besides its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits with set-id and sticky: `0o7777` at most, other bits are ignored.
    pub permissions: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970. squashfs holds 0 to 2^32-1; what is outside is moved to the nearer end.
    pub modified: i64,
    /// Extended attributes; of two with one name the later counts.
    pub xattrs: Vec<Xattr>,
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Its whole name, as `user.mime_type`.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// A device's numbers, as `major(3)` and `minor(3)` give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Below 4096.
    pub major: u32,
    /// Below 1048576.
    pub minor: u32,
}

impl Device {
    /// The kernel's `new_encode_dev`, which squashfs stores; `None` if it does not fit.
    fn encode(self) -> Option<u32> {
        (self.major < 1 << 12 && self.minor < 1 << 20)
            .then_some((self.minor & 0xff) | self.major << 8 | (self.minor & !0xff) << 12)
    }
}

/// A file that has no content.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Special {
    /// A symbolic link and where it points.
    Symlink(Vec<u8>),
    /// A character device.
    Character(Device),
    /// A block device.
    Block(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

pub(super) type NodeId = usize;
pub(super) const ROOT: NodeId = 0;

#[derive(Debug)]
pub(super) enum Kind {
    Directory(BTreeMap<Box<[u8]>, NodeId>),
    /// Which of the writer's inodes it has.
    File(usize),
    Symlink(Box<[u8]>),
    /// The device number as squashfs stores it.
    Character(u32),
    Block(u32),
    Fifo,
    Socket,
}

/// Everything about a node but its name: hard links share it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) permissions: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: u32,
    pub(super) xattrs: u32,
}

impl Node {
    /// `xattrs` is the number of the recorded set.
    pub(super) fn new(kind: Kind, metadata: &Metadata, xattrs: u32) -> Self {
        Self {
            kind,
            permissions: (metadata.permissions & 0o7777) as u16,
            uid: metadata.uid,
            gid: metadata.gid,
            modified: u32::try_from(metadata.modified.max(0)).unwrap_or(u32::MAX),
            xattrs,
        }
    }
}

pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { nodes: vec![implied_directory()] }
    }

    pub(super) fn directory(&mut self, path: &[u8], metadata: &Metadata, xattrs: u32) -> Result<(), WriteError> {
        let names = split(path)?;
        let mut node = Node::new(Kind::Directory(BTreeMap::new()), metadata, xattrs);
        if let Some(old) = self.find(&names)
            && let Kind::Directory(children) = &mut self.nodes[old].kind
        {
            // The entries stay: an archive may name a directory after what is in it.
            node.kind = Kind::Directory(std::mem::take(children));
            self.nodes[old] = node;
            return Ok(());
        }
        self.insert(path, &names, node)
    }

    pub(super) fn add(&mut self, path: &[u8], node: Node) -> Result<(), WriteError> {
        let names = split(path)?;
        self.insert(path, &names, node)
    }

    pub(super) fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), WriteError> {
        let (names, target_names) = (split(path)?, split(target)?);
        let missing = || WriteError::NoLinkTarget { path: shown(path), target: shown(target) };
        let node = self.find(&target_names).ok_or_else(missing)?;
        if matches!(self.nodes[node].kind, Kind::Directory(_)) {
            return Err(WriteError::LinkToDirectory { path: shown(path), target: shown(target) });
        }
        self.link(path, &names, node)
    }

    pub(super) fn remove(&mut self, path: &[u8]) -> Result<bool, WriteError> {
        let names = split(path)?;
        let Some((name, parents)) = names.split_last() else { return Err(WriteError::invalid(path)) };
        Ok(self.find(parents).is_some_and(|parent| match &mut self.nodes[parent].kind {
            Kind::Directory(children) => children.remove(*name).is_some(),
            _ => false,
        }))
    }

    pub(super) fn contains(&self, path: &[u8]) -> Result<Option<&Kind>, WriteError> {
        Ok(self.find(&split(path)?).map(|id| &self.nodes[id].kind))
    }

    fn find(&self, names: &[&[u8]]) -> Option<NodeId> {
        names.iter().try_fold(ROOT, |at, name| match &self.nodes[at].kind {
            Kind::Directory(children) => children.get(*name).copied(),
            _ => None,
        })
    }

    fn insert(&mut self, path: &[u8], names: &[&[u8]], node: Node) -> Result<(), WriteError> {
        let id = self.nodes.len();
        self.nodes.push(node);
        self.link(path, names, id)
    }

    /// Enters `id` under a path; what was there goes, directories on the way are made.
    fn link(&mut self, path: &[u8], names: &[&[u8]], id: NodeId) -> Result<(), WriteError> {
        let Some((name, parents)) = names.split_last() else { return Err(WriteError::invalid(path)) };
        let mut at = ROOT;
        for parent in parents {
            let next = self.nodes.len();
            let Kind::Directory(children) = &mut self.nodes[at].kind else {
                return Err(WriteError::NotADirectory { path: shown(path) });
            };
            at = *children.entry((*parent).into()).or_insert(next);
            if at == next {
                self.nodes.push(implied_directory());
            }
        }
        let Kind::Directory(children) = &mut self.nodes[at].kind else {
            return Err(WriteError::NotADirectory { path: shown(path) });
        };
        children.insert((*name).into(), id);
        Ok(())
    }

    /// The order in which directories are written (each after those in it) and every node's number.
    pub(super) fn plan(&self) -> Result<Plan, WriteError> {
        let mut directories = Vec::new();
        let mut parents = vec![ROOT; self.nodes.len()];
        let mut pending = vec![ROOT];
        while let Some(id) = pending.pop() {
            if let Kind::Directory(children) = &self.nodes[id].kind {
                directories.push(id);
                for child in children.values() {
                    parents[*child] = id;
                    pending.push(*child);
                }
            }
        }
        directories.reverse();

        let mut plan = Plan {
            directories,
            parents,
            numbers: vec![0; self.nodes.len()],
            links: vec![0; self.nodes.len()],
            count: 0,
        };
        for index in 0..plan.directories.len() {
            if let Kind::Directory(children) = &self.nodes[plan.directories[index]].kind {
                for child in children.values() {
                    plan.count_link(*child)?;
                }
            }
        }
        plan.count_link(ROOT)?;
        Ok(plan)
    }

    /// How many directories lie directly in this one.
    pub(super) fn subdirectories(&self, children: &BTreeMap<Box<[u8]>, NodeId>) -> u32 {
        let is_directory = |id: &&NodeId| matches!(self.nodes[**id].kind, Kind::Directory(_));
        children.values().filter(is_directory).count() as u32
    }
}

/// See [`Tree::plan`].
pub(super) struct Plan {
    pub(super) directories: Vec<NodeId>,
    pub(super) parents: Vec<NodeId>,
    /// Inode numbers by node, from 1; 0 if nothing leads to the node any more.
    pub(super) numbers: Vec<u32>,
    /// Names by node.
    pub(super) links: Vec<u32>,
    /// How many inodes there are.
    pub(super) count: u32,
}

impl Plan {
    fn count_link(&mut self, id: NodeId) -> Result<(), WriteError> {
        if self.numbers[id] == 0 {
            self.count = self.count.checked_add(1).filter(|n| *n < u32::MAX).ok_or(WriteError::TooManyNodes)?;
            self.numbers[id] = self.count;
        }
        self.links[id] += 1;
        Ok(())
    }
}

/// A directory that an archive leaves out: root's, 0755.
fn implied_directory() -> Node {
    let metadata = Metadata { permissions: 0o755, ..Metadata::default() };
    Node::new(Kind::Directory(BTreeMap::new()), &metadata, NO_XATTRS)
}

/// What `special` is in the tree.
pub(super) fn special_kind(path: &[u8], special: &Special) -> Result<Kind, WriteError> {
    let encode = |device: &Device| {
        let Device { major, minor } = *device;
        device.encode().ok_or_else(|| WriteError::DeviceNumber { path: shown(path), major, minor })
    };
    Ok(match special {
        Special::Symlink(target) if target.is_empty() || target.contains(&0) => {
            return Err(WriteError::invalid(target));
        }
        Special::Symlink(target) if target.len() > MAX_PATH => {
            return Err(WriteError::TooLong { path: shown(target) });
        }
        Special::Symlink(target) => Kind::Symlink(target.as_slice().into()),
        Special::Character(device) => Kind::Character(encode(device)?),
        Special::Block(device) => Kind::Block(encode(device)?),
        Special::Fifo => Kind::Fifo,
        Special::Socket => Kind::Socket,
    })
}

/// The names in a path; a leading `/`, `.` and empty names are dropped.
fn split(path: &[u8]) -> Result<Vec<&[u8]>, WriteError> {
    if path.len() > MAX_PATH {
        return Err(WriteError::TooLong { path: shown(path) });
    }
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
    if path.contains(&0) || names.contains(&b"..".as_slice()) {
        return Err(WriteError::invalid(path));
    }
    match names.iter().any(|name| name.len() > MAX_NAME) {
        true => Err(WriteError::TooLong { path: shown(path) }),
        false => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Node {
        Node::new(Kind::File(0), &Metadata::default(), NO_XATTRS)
    }

    #[test]
    fn minors_over_255_keep_their_high_bits_beside_the_major() {
        assert_eq!(Device { major: 8, minor: 1 }.encode(), Some(0x801));
        assert_eq!(Device { major: 0xfff, minor: 0xfffff }.encode(), Some(0xffff_ffff));
        assert_eq!(Device { major: 7, minor: 256 }.encode(), Some(0x10_0700));
        assert_eq!(Device { major: 4096, minor: 0 }.encode(), None);
        assert_eq!(Device { major: 0, minor: 1 << 20 }.encode(), None);
    }

    #[test]
    fn a_path_cannot_leave_the_tree() {
        for bad in [b"..".as_slice(), b"a/../b", b"a\0b"] {
            assert!(matches!(Tree::new().add(bad, file()), Err(WriteError::InvalidPath { .. })), "{bad:?}");
        }
        assert!(matches!(Tree::new().add(b"/", file()), Err(WriteError::InvalidPath { .. })));
        assert!(matches!(Tree::new().add(&[b'a'; 256], file()), Err(WriteError::TooLong { .. })));
    }

    #[test]
    fn a_directory_named_again_keeps_what_is_in_it() {
        let mut tree = Tree::new();
        tree.add(b"d/f", file()).unwrap();
        tree.directory(b"./d/", &Metadata { permissions: 0o40700, ..Metadata::default() }, 7).unwrap();
        assert!(tree.contains(b"/d/f").unwrap().is_some());
        let d = tree.find(&[b"d"]).unwrap();
        assert_eq!((tree.nodes[d].permissions, tree.nodes[d].xattrs), (0o700, 7));
    }

    #[test]
    fn a_file_replaces_what_had_its_name_and_its_other_link_stays() {
        let mut tree = Tree::new();
        tree.add(b"a", file()).unwrap();
        tree.hard_link(b"b", b"a").unwrap();
        tree.add(b"a", file()).unwrap();
        assert_ne!(tree.find(&[b"a"]), tree.find(&[b"b"]));
        let plan = tree.plan().unwrap();
        assert_eq!(plan.count, 3);
        assert_eq!(plan.links[1..], [1, 1]);
    }

    #[test]
    fn a_link_to_itself_or_to_a_directory_or_to_nothing() {
        let mut tree = Tree::new();
        tree.add(b"d/f", file()).unwrap();
        tree.hard_link(b"d/f", b"d/f").unwrap();
        assert!(matches!(tree.hard_link(b"e", b"d"), Err(WriteError::LinkToDirectory { .. })));
        assert!(matches!(tree.hard_link(b"e", b"g"), Err(WriteError::NoLinkTarget { .. })));
        assert!(matches!(tree.add(b"d/f/g", file()), Err(WriteError::NotADirectory { .. })));
    }

    #[test]
    fn directories_come_after_those_in_them_and_numbers_have_no_hole() {
        let mut tree = Tree::new();
        for path in [b"a/b/c/f".as_slice(), b"a/g", b"z/y/f", b"h"] {
            tree.add(path, file()).unwrap();
        }
        tree.remove(b"z/y").unwrap();
        let plan = tree.plan().unwrap();
        let place = |id| plan.directories.iter().position(|other| *other == id).unwrap();
        for &id in &plan.directories {
            assert!(id == ROOT || place(id) < place(plan.parents[id]));
        }
        let mut numbers: Vec<u32> = plan.numbers.iter().copied().filter(|n| *n != 0).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=plan.count).collect::<Vec<_>>());
    }
}
