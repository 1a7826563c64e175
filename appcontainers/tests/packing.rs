//! Archives, directories and bases as squashfs, and archives that are refused. Looked at with `unsquashfs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::{self, File},
    io::{Cursor, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use appcontainers::{
    NoProgress, Paths,
    archive::{self, ArchiveError, ArchiveSummary},
    image::{
        Kind, Manifest, Store,
        base::{self, BaseError, Recipe},
    },
};
use tar::{Builder, EntryType, Header};

struct Host {
    place: tempfile::TempDir,
    store: Store,
}

impl Host {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let store = Store::new(Paths::new(place.path().join("root"), place.path().join("run")));
        Self { place, store }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.place.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn import(&self, source: &Path) -> Result<Manifest, BaseError> {
        base::import(&self.store, source, Some("imported".parse().unwrap()), &NoProgress)
    }

    fn lowest(&self, manifest: &Manifest) -> PathBuf {
        self.store.layer_path(&manifest.layers[0].digest)
    }
}

/// `mode owner/group size name`, a line each, the date cut out.
fn listing(squashfs: &Path) -> Vec<String> {
    let out = run("unsquashfs", &["-lln", "-d", "", squashfs.to_str().unwrap()]);
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let date = words.iter().position(|word| word.len() == 10 && word.as_bytes()[4] == b'-').unwrap();
        format!("{} {}", words[..date].join(" "), words[date + 2..].join(" "))
    };
    String::from_utf8_lossy(&out).lines().filter(|line| !line.is_empty()).map(line).collect()
}

fn content(squashfs: &Path, path: &str) -> Vec<u8> {
    run("unsquashfs", &["-cat", squashfs.to_str().unwrap(), path])
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let out = Command::new(program).args(arguments).output().expect(program);
    assert!(out.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

fn header(entry_type: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(1000);
    header.set_gid(100);
    header.set_mtime(1_700_000_000);
    header
}

/// A name as it is, `..` and all, which the builder would refuse.
fn raw_name(header: &mut Header, name: &str) {
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
}

fn tar_with(fill: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    fill(&mut builder);
    builder.into_inner().unwrap()
}

fn small_tar() -> Vec<u8> {
    tar_with(|tar| {
        tar.append_data(&mut header(EntryType::Regular, 5), "bin/hello", &b"hello"[..]).unwrap();
    })
}

fn verify(bytes: &[u8]) -> Result<ArchiveSummary, ArchiveError> {
    archive::verify(archive::open(Cursor::new(bytes.to_owned()))?)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn compressed(plain: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("plain", plain.to_owned()),
        ("gzip", gzip(plain)),
        ("two gzip members", [gzip(&plain[..700]), gzip(&plain[700..])].concat()),
        ("zstd", zstd::encode_all(plain, 1).unwrap()),
        ("xz", xz(plain)),
    ]
}

#[test]
fn an_archive_keeps_owners_modes_links_devices_and_attributes() {
    let host = Host::new();
    let tar = tar_with(|tar| {
        tar.append_data(&mut header(EntryType::Directory, 0), "./", &b""[..]).unwrap();
        // A capability's bytes with a newline in them: 0x0a is CAP_NET_BIND_SERVICE.
        let capability = b"\x01\0\0\x02\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        tar.append_pax_extensions([("SCHILY.xattr.security.capability", capability.as_slice())]).unwrap();
        tar.append_data(&mut header(EntryType::Regular, 5), "bin/hello", &b"hello"[..]).unwrap();
        tar.append_link(&mut header(EntryType::Link, 0), "bin/again", "bin/hello").unwrap();
        tar.append_link(&mut header(EntryType::Symlink, 0), "bin/link", "../x").unwrap();
        let mut device = header(EntryType::Char, 0);
        device.set_device_major(1).unwrap();
        device.set_device_minor(3).unwrap();
        tar.append_data(&mut device, "null", &b""[..]).unwrap();
        let mut absolute = header(EntryType::Fifo, 0);
        raw_name(&mut absolute, "/absolute/pipe");
        tar.append(&absolute, &b""[..]).unwrap();
        let long = format!("long/{}", "n".repeat(200));
        tar.append_data(&mut header(EntryType::Regular, 1), long, &b"l"[..]).unwrap();
    });
    let manifest = host.import(&host.file("x", &tar)).unwrap();
    let layer = host.lowest(&manifest);
    let lines = listing(&layer);
    for expected in [
        "drw-r--r-- 1000/100 ",
        "-rw-r--r-- 1000/100 5 /bin/hello",
        "-rw-r--r-- 1000/100 5 /bin/again",
        "lrw-r--r-- 1000/100 4 /bin/link -> ../x",
        "crw-r--r-- 1000/100 1, 3 /null",
        "prw-r--r-- 1000/100 0 /absolute/pipe",
        &format!("-rw-r--r-- 1000/100 1 /long/{}", "n".repeat(200)),
    ] {
        assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected}: {lines:#?}");
    }
    assert_eq!(content(&layer, "bin/again"), b"hello");
}

#[test]
fn sparse_members_of_gnu_tar_stay_whole() {
    let place = tempfile::tempdir().unwrap();
    let file = File::create(place.path().join("sparse")).unwrap();
    file.set_len(10_000_000).unwrap();
    for (number, at) in [0u64, 1_000_000, 1_200_000, 3_000_000, 5_000_000, 7_000_000, 9_999_990].into_iter().enumerate()
    {
        std::os::unix::fs::FileExt::write_all_at(&file, &[number as u8 + 1; 10], at).unwrap();
    }
    let expected = fs::read(place.path().join("sparse")).unwrap();
    for format in ["gnu", "posix"] {
        let host = Host::new();
        let directory = place.path().to_str().unwrap();
        let tar = run("tar", &["-C", directory, "--sparse", &format!("--format={format}"), "-c", "sparse"]);
        assert!(tar.len() < 1_000_000);
        verify(&tar).unwrap();
        let manifest = host.import(&host.file("x", &tar)).unwrap();
        assert!(content(&host.lowest(&manifest), "sparse") == expected, "{format}");
    }
}

#[test]
fn every_compression_is_known_by_its_bytes() {
    for (what, bytes) in compressed(&small_tar()) {
        assert_eq!(verify(&bytes).unwrap(), ArchiveSummary { members: 1, bytes: 5 }, "{what}");
        let host = Host::new();
        let manifest = host.import(&host.file("no-ending", &bytes)).unwrap();
        assert_eq!(content(&host.lowest(&manifest), "bin/hello"), b"hello", "{what}");
    }
}

#[test]
fn a_truncated_archive_is_an_error_wherever_it_ends() {
    let plain = small_tar();
    // Header, data; then zeros that GNU tar does without.
    for length in 1..1024 {
        assert!(verify(&plain[..length]).is_err(), "{length}");
    }
    assert_eq!(verify(&plain[..1024]).unwrap().members, 1);
    for (what, bytes) in compressed(&plain).into_iter().filter(|(what, _)| *what != "plain") {
        for length in 0..bytes.len() {
            // The first of two members is a whole gzip file of a truncated tar, which is refused as that.
            assert!(verify(&bytes[..length]).is_err(), "{what} {length}");
        }
    }
}

#[test]
fn a_corrupt_archive_is_an_error() {
    for (what, bytes) in compressed(&small_tar()) {
        let middle = bytes.len().min(600) / 2;
        for at in [middle, middle + 1, middle - 1] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x55;
            assert!(verify(&bytes).is_err(), "{what} {at}");
        }
    }
}

#[test]
fn what_is_no_archive_is_said_to_be_none() {
    assert!(matches!(verify(b""), Err(ArchiveError::Empty)));
    assert!(matches!(verify(&[0; 10240]), Err(ArchiveError::Empty)));
    assert!(matches!(verify(&gzip(b"")), Err(ArchiveError::Empty)));
    assert!(matches!(verify(b"hello"), Err(ArchiveError::NotATar)));
    assert!(matches!(verify(&[b'x'; 4096]), Err(ArchiveError::NotATar)));
    assert!(matches!(verify(&gzip(&[b'x'; 4096])), Err(ArchiveError::NotATar)));
    assert!(matches!(verify(b"BZh91AY&SY"), Err(ArchiveError::Compression { format: "bzip2" })));
    assert!(matches!(verify(b"PK\x03\x04......"), Err(ArchiveError::Compression { format: "zip" })));
}

#[test]
fn members_that_leave_or_are_devices_are_refused_by_name() {
    for name in ["../evil", "a/../../evil", ".."] {
        let tar = tar_with(|tar| {
            let mut header = header(EntryType::Regular, 1);
            raw_name(&mut header, name);
            tar.append(&header, &b"x"[..]).unwrap();
        });
        let error = verify(&tar).unwrap_err();
        assert!(matches!(&error, ArchiveError::ParentInName { member } if member == name), "{error}");
        let host = Host::new();
        assert!(host.import(&host.file("x", &tar)).is_err());
    }
    for entry_type in [EntryType::Block, EntryType::Char] {
        let tar = tar_with(|tar| {
            tar.append_data(&mut header(entry_type, 0), "dev/sda", &b""[..]).unwrap();
        });
        let error = verify(&tar).unwrap_err();
        assert!(matches!(&error, ArchiveError::Device { member, .. } if member == "dev/sda"), "{error}");
    }
    let tar = tar_with(|tar| {
        tar.append_link(&mut header(EntryType::Link, 0), "passwd", "../../etc/passwd").unwrap();
    });
    assert!(matches!(verify(&tar), Err(ArchiveError::LinkLeaves { .. })));
}

#[test]
fn a_huge_extension_header_is_refused_before_it_is_read() {
    let mut bytes = tar_with(|tar| {
        let mut header = header(EntryType::XHeader, 5);
        raw_name(&mut header, "x");
        tar.append(&header, &b"1 a=b"[..]).unwrap();
    });
    let mut header = header(EntryType::XHeader, 1 << 33);
    raw_name(&mut header, "x");
    bytes[..512].copy_from_slice(header.as_bytes());
    assert!(matches!(verify(&bytes), Err(ArchiveError::Corrupt { .. })));
}

#[test]
fn an_import_is_made_fit_for_a_container() {
    let host = Host::new();
    let root = host.place.path().join("rootfs");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::create_dir_all(root.join("dev/shm")).unwrap();
    fs::write(root.join("dev/console"), "not a device").unwrap();
    fs::write(root.join("etc/hostname"), "kept\n").unwrap();
    symlink("/run/systemd/resolve/stub-resolv.conf", root.join("etc/resolv.conf")).unwrap();
    symlink("var/tmp", root.join("tmp")).unwrap();
    fs::set_permissions(root.join("etc"), fs::Permissions::from_mode(0o750)).unwrap();
    let manifest = host.import(&root).unwrap();
    let layer = host.lowest(&manifest);
    let lines = listing(&layer);
    let names: Vec<_> = lines.iter().map(|line| line.split(' ').collect::<Vec<_>>()).map(|w| (w[0], w[3])).collect();
    for expected in [
        ("drwxr-xr-x", "/dev"),
        ("drwxr-x---", "/etc"),
        ("-rw-r--r--", "/etc/hostname"),
        ("-rw-r--r--", "/etc/hosts"),
        ("-rw-r--r--", "/etc/resolv.conf"),
        ("dr-xr-xr-x", "/proc"),
        ("drwxr-xr-x", "/run"),
        ("dr-xr-xr-x", "/sys"),
        ("drwxrwxrwt", "/tmp"),
    ] {
        assert!(names.contains(&expected), "{expected:?} {names:#?}");
    }
    assert!(!names.iter().any(|(_, name)| name.starts_with("/dev/")), "{names:#?}");
    assert_eq!(content(&layer, "etc/hostname"), b"kept\n");
    // Again: the same layer, the same base.
    assert_eq!(host.import(&root).unwrap(), manifest);
}

#[test]
fn a_squashfs_is_imported_as_it_is_with_its_mount_points_above() {
    let (host, other) = (Host::new(), Host::new());
    let first = host.import(&host.file("x", &small_tar())).unwrap();
    let path = host.lowest(&first);
    let imported = other.import(&path).unwrap();
    assert_eq!(imported.layers[0], first.layers[0]);
    let above = listing(&other.store.layer_path(&imported.layers[1].digest));
    assert!(above.iter().any(|line| line.ends_with("/etc/resolv.conf")), "{above:#?}");
    let truncated = host.file("truncated", &fs::read(&path).unwrap()[..200]);
    assert!(matches!(other.import(&truncated), Err(BaseError::Squashfs { .. })));
}

#[test]
fn a_bad_archive_leaves_nothing_in_the_store() {
    let host = Host::new();
    for bytes in [b"".as_slice(), b"hello", &small_tar()[..700], &gzip(&small_tar())[..60]] {
        host.import(&host.file("x", bytes)).unwrap_err();
    }
    assert!(host.store.layers().unwrap().is_empty());
    assert!(host.store.names(Kind::Base).unwrap().is_empty());
    assert!(matches!(host.import(Path::new("/dev/null")), Err(BaseError::NotImportable { .. })));
    assert!(matches!(host.import(Path::new("/nowhere")), Err(BaseError::Read { .. })));
}

#[test]
fn the_busybox_base_is_built_offline_and_twice_the_same() {
    let host = Host::new();
    let recipe = Recipe::find("busybox").unwrap();
    let manifest = base::build(&host.store, &recipe, &NoProgress).unwrap();
    let layer = host.lowest(&manifest);
    let lines = listing(&layer);
    for expected in ["/bin/sh -> busybox", "/usr/bin/env -> ../../bin/busybox", "/etc/resolv.conf", "/home", "/tmp"] {
        assert!(lines.iter().any(|line| line.ends_with(expected)), "{expected}");
    }
    assert_eq!(content(&layer, "bin/busybox"), fs::read("/bin/busybox").unwrap());
    assert!(content(&layer, "etc/passwd").starts_with(b"root:x:0:0:root:/root:/bin/sh\n"));
    assert_eq!(base::build(&host.store, &recipe, &NoProgress).unwrap(), manifest);
    assert_eq!(host.store.layers().unwrap().len(), 1);
}
