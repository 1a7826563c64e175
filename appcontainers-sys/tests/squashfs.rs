//! What the squashfs writer writes, as `unsquashfs` sees it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use appcontainers_sys::squashfs::{Device, Metadata, Options, Special, Writer, Xattr};
use proptest::prelude::*;

struct Image {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Image {
    fn write(fill: impl FnOnce(&mut Writer)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.sqfs");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let mut writer = Writer::create(file, &Options::default()).unwrap();
        fill(&mut writer);
        let (file, summary) = writer.finish().unwrap();
        assert_eq!(file.metadata().unwrap().len(), summary.size_bytes);
        assert_eq!(summary.size_bytes % 4096, 0);
        Self { _directory: directory, path }
    }

    /// `mode owner/group size-or-device name`, a line each, the date cut out.
    fn listing(&self) -> Vec<String> {
        let out = unsquashfs(&["-lln", "-d", ""], &self.path, &[]);
        let text = String::from_utf8_lossy(&out).into_owned();
        let words = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let date = words.iter().position(|word| word.starts_with("19") || word.starts_with("20")).unwrap();
            let name = line.split_once(words[date + 1]).map(|(_, name)| name).unwrap().trim_start().to_owned();
            format!("{} {}", words[..date].join(" "), name)
        };
        text.lines().filter(|line| !line.is_empty()).map(words).collect()
    }

    fn content(&self, path: &str) -> Vec<u8> {
        unsquashfs(&["-cat"], &self.path, &[path])
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        File::open(&self.path).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }
}

fn unsquashfs(before: &[&str], image: &Path, after: &[&str]) -> Vec<u8> {
    let out = Command::new("unsquashfs").args(before).arg(image).args(after).output();
    let out = out.expect("unsquashfs is needed (Debian: squashfs-tools)");
    assert!(out.status.success(), "unsquashfs {before:?} {after:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

fn owned(permissions: u32, uid: u32, gid: u32) -> Metadata {
    Metadata { permissions, uid, gid, modified: 1_700_000_000, xattrs: Vec::new() }
}

fn add(writer: &mut Writer, path: &[u8], metadata: &Metadata, data: &[u8]) {
    let mut file = writer.file(path, metadata).unwrap();
    file.write(data).unwrap();
    file.finish().unwrap();
}

#[test]
fn every_kind_of_file_keeps_owner_mode_and_numbers() {
    let image = Image::write(|w| {
        w.directory(b"/", &owned(0o755, 0, 0)).unwrap();
        w.directory(b"d", &owned(0o1777, 1, 2)).unwrap();
        add(w, b"d/f", &owned(0o6755, 1000, 65535), b"hello");
        w.hard_link(b"d/g", b"d/f").unwrap();
        w.special(b"d/l", &Special::Symlink(b"../x".to_vec()), &owned(0o777, 0, 0)).unwrap();
        w.special(b"c", &Special::Character(Device { major: 1, minor: 3 }), &owned(0o666, 0, 0)).unwrap();
        w.special(b"b", &Special::Block(Device { major: 259, minor: 7 }), &owned(0o660, 0, 6)).unwrap();
        w.special(b"p", &Special::Fifo, &owned(0o600, 70_000, 0)).unwrap();
        w.special(b"s", &Special::Socket, &owned(0o755, 0, 0)).unwrap();
    });
    assert_eq!(
        image.listing(),
        [
            "drwxr-xr-x 0/0 60 ",
            "brw-rw---- 0/6 259, 7 /b",
            "crw-rw-rw- 0/0 1, 3 /c",
            "drwxrwxrwt 1/2 42 /d",
            "-rwsr-sr-x 1000/65535 5 /d/f",
            "-rwsr-sr-x 1000/65535 5 /d/g",
            "lrwxrwxrwx 0/0 4 /d/l -> ../x",
            "prw------- 70000/0 0 /p",
            "srwxr-xr-x 0/0 0 /s",
        ]
    );
    assert_eq!(image.content("d/g"), b"hello");
}

#[test]
fn a_name_that_is_not_utf_8_survives() {
    let image = Image::write(|w| add(w, b"caf\xe9", &owned(0o644, 0, 0), b"latin-1"));
    let out = unsquashfs(&["-l", "-d", ""], &image.path, &[]);
    assert!(out.windows(5).any(|window| window == b"/caf\xe9"), "{}", String::from_utf8_lossy(&out));
}

#[test]
fn a_later_file_replaces_an_earlier_one() {
    let image = Image::write(|w| {
        add(w, b"f", &owned(0o644, 0, 0), b"old");
        add(w, b"f", &owned(0o600, 0, 0), b"newer");
        add(w, b"x/y", &owned(0o600, 0, 0), b"gone");
        add(w, b"x", &owned(0o600, 0, 0), b"file");
    });
    assert_eq!(image.listing().len(), 3);
    assert_eq!(image.content("f"), b"newer");
    assert_eq!(image.content("x"), b"file");
}

#[test]
fn equal_input_gives_equal_bytes() {
    let fill = |w: &mut Writer| {
        let mut noise = 1u32;
        for number in 0..200u32 {
            let data: Vec<u8> = (0..number * 3000).map(|_| step(&mut noise)).collect();
            add(w, format!("d{}/f{number}", number % 7).as_bytes(), &owned(0o644, number, 0), &data);
        }
    };
    let first = Image::write(fill).bytes();
    for _ in 0..5 {
        assert!(Image::write(fill).bytes() == first);
    }
}

fn step(noise: &mut u32) -> u8 {
    *noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*noise >> 29) as u8
}

#[test]
fn holes_take_no_room_and_read_as_zeros() {
    let image = Image::write(|w| {
        let mut file = w.file(b"sparse", &owned(0o644, 0, 0)).unwrap();
        file.hole(200_000_001).unwrap();
        file.write(b"end").unwrap();
        file.finish().unwrap();
        let mut file = w.file(b"zeros", &owned(0o644, 0, 0)).unwrap();
        file.hole(1000).unwrap();
        file.finish().unwrap();
        let mut file = w.file(b"tail", &owned(0o644, 0, 0)).unwrap();
        file.write(&[7; 131_072]).unwrap();
        file.hole(300_000).unwrap();
        file.finish().unwrap();
        add(w, b"empty", &owned(0o644, 0, 0), b"");
    });
    assert!(image.bytes().len() <= 8192);
    let sparse = image.content("sparse");
    assert_eq!(sparse.len(), 200_000_004);
    assert!(sparse[..200_000_001].iter().all(|byte| *byte == 0) && sparse.ends_with(b"end"));
    assert_eq!(image.content("zeros"), [0; 1000]);
    assert_eq!(image.content("tail"), [vec![7; 131_072], vec![0; 300_000]].concat());
    assert_eq!(image.content("empty"), b"");
}

#[test]
fn a_directory_whose_listing_is_about_64_kib_is_whole() {
    // The listing's size is stored in 16 bits and off by three.
    for last in 130..220 {
        let image = Image::write(|w| {
            for number in 0..248 {
                w.special(format!("{number:0250}").as_bytes(), &Special::Fifo, &owned(0o644, 0, 0)).unwrap();
            }
            for number in 0..6 {
                w.special(format!("y{number:0199}").as_bytes(), &Special::Fifo, &owned(0o644, 0, 0)).unwrap();
            }
            w.special("z".repeat(last).as_bytes(), &Special::Fifo, &owned(0o644, 0, 0)).unwrap();
        });
        assert_eq!(image.listing().len(), 1 + 248 + 6 + 1, "{last}");
    }
}

#[test]
fn a_big_directory_is_whole() {
    let image = Image::write(|w| {
        for number in 0..20_000 {
            w.special(format!("d/{number:0}").as_bytes(), &Special::Socket, &owned(0o644, number % 300, 0)).unwrap();
        }
    });
    assert_eq!(image.listing().len(), 20_002);
}

#[test]
fn a_deep_tree_is_whole() {
    let path = vec!["d"; 2000].join("/");
    let image = Image::write(|w| w.directory(path.as_bytes(), &owned(0o755, 0, 0)).unwrap());
    assert!(image.bytes().len() >= 4096);
}

#[test]
fn an_unfinished_file_leaves_the_squashfs_unfinishable() {
    let mut writer = Writer::create(tempfile::tempfile().unwrap(), &Options::default()).unwrap();
    writer.file(b"f", &owned(0o644, 0, 0)).unwrap().write(b"half").unwrap();
    assert!(writer.file(b"g", &owned(0o644, 0, 0)).is_err());
    assert!(writer.finish().is_err());
}

#[test]
fn a_full_disk_is_said_with_the_systems_own_error() {
    let file = File::options().read(true).write(true).open("/dev/full").unwrap();
    // set_len fails on a device, so the message is about that; what counts is that it is no bare code.
    let error = Writer::create(file, &Options::default()).err().unwrap();
    assert!(std::error::Error::source(&error).unwrap().is::<std::io::Error>());
}

#[test]
fn an_attribute_that_squashfs_cannot_hold_is_refused() {
    let mut writer = Writer::create(tempfile::tempfile().unwrap(), &Options::default()).unwrap();
    for name in ["system.posix_acl_access", "user.", "user", "", "user.a\0b"] {
        let xattrs = vec![Xattr { name: name.into(), value: vec![1] }];
        let metadata = Metadata { xattrs, ..owned(0o644, 0, 0) };
        assert!(writer.directory(b"d", &metadata).is_err(), "{name:?}");
    }
}

#[derive(Debug, Clone)]
enum Content {
    Bytes(Vec<u8>),
    Repeat(u8, usize),
    Hole(u64, Vec<u8>),
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Repeat(byte, count) => vec![*byte; *count],
            Self::Hole(length, after) => [vec![0; *length as usize], after.clone()].concat(),
        }
    }
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Content::Bytes),
        (any::<u8>(), 0usize..400_000).prop_map(|(byte, count)| Content::Repeat(byte, count)),
        (0u64..400_000, prop::collection::vec(any::<u8>(), 0..3)).prop_map(|(n, after)| Content::Hole(n, after)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn unsquashfs_reads_every_byte_that_was_written(
        files in prop::collection::btree_map("[a-d]{1,2}/[a-z]{1,3}", content(), 1..12)
    ) {
        let image = Image::write(|w| {
            for (path, content) in &files {
                let mut file = w.file(path.as_bytes(), &owned(0o644, 0, 0)).unwrap();
                match content {
                    Content::Bytes(bytes) => file.write(bytes).unwrap(),
                    Content::Repeat(byte, count) => file.write(&vec![*byte; *count]).unwrap(),
                    Content::Hole(length, after) => {
                        file.hole(*length).unwrap();
                        file.write(after).unwrap();
                    }
                }
                file.finish().unwrap();
            }
        });
        for (path, content) in &files {
            prop_assert!(image.content(path) == content.bytes(), "{path}");
        }
    }
}
