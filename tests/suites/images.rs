//! Images: what the kernel sees of the layers that are written, and what a real overlay's layer holds.
//!
//! Needs root: mounts, in a mount namespace of each test's own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    fs::{self, File, FileTimes},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

use appcontainers::{
    NoProgress, Paths,
    image::{
        AimgError, ImageConfig, Kind, Manifest, SCHEMA_VERSION, Store, StoreError,
        aimg::{self, Carry},
        base,
        pack::{self, IdShift, PackError, Packed},
    },
    overlay,
};
use appcontainers_sys::{
    mount,
    squashfs::{Device, Metadata, Options, Special, Writer, Xattr},
};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lgetxattr, llistxattr, lsetxattr, makedev, mknodat};

/// Runs `test` in a mount namespace of its own, in a directory whose mounts go with it.
fn with_mounts(test: impl FnOnce(&Path) + Send + 'static) {
    assert!(rustix::process::geteuid().is_root(), "this test mounts file systems: run it as root");
    let place = tempfile::tempdir().unwrap();
    let path = place.path().to_owned();
    // The namespace is the thread's, and ends with it.
    let outcome = thread::spawn(move || {
        mount::enter_slave_namespace().expect("cannot make a mount namespace: is CAP_SYS_ADMIN there?");
        test(&path);
    });
    if let Err(panic) = outcome.join() {
        std::panic::resume_unwind(panic);
    }
}

fn directory(path: PathBuf) -> PathBuf {
    fs::create_dir_all(&path).unwrap();
    path
}

fn mounted(squashfs: &Path, at: PathBuf) -> PathBuf {
    let at = directory(at);
    mount::squashfs(&File::open(squashfs).unwrap(), &at).unwrap();
    at
}

fn new_file(path: &Path) -> File {
    File::options().read(true).write(true).create_new(true).open(path).unwrap()
}

fn write(path: &Path, fill: impl FnOnce(&mut Writer)) {
    let mut writer = Writer::create(new_file(path), &Options::default()).unwrap();
    fill(&mut writer);
    writer.finish().unwrap();
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = llistxattr(path, names.as_mut_slice()).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 65536];
        let length = lgetxattr(path, name, value.as_mut_slice()).unwrap();
        value[..length].to_owned()
    };
    names.map(|name| (String::from_utf8(name.to_owned()).unwrap(), value(name))).collect()
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap_or_else(|errno| panic!("{name}: {errno}"));
}

/// Everything that a user of a directory could notice, by path.
fn look(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut all = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    let mut first_names: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    while let Some(path) = pending.pop() {
        let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_owned();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = match metadata.file_type() {
            kind if kind.is_dir() => {
                let mut children: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
                children.sort_by(|a, b| b.cmp(a));
                pending.extend(children);
                String::new()
            }
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
            kind if kind.is_file() => appcontainers::image::Digest::of(&fs::read(&path).unwrap()).short(),
            _ => format!("{:x}", metadata.rdev()),
        };
        let linked = match metadata.nlink() > 1 && !metadata.is_dir() {
            true => first_names.entry(metadata.ino()).or_insert_with(|| relative.clone()).clone(),
            false => Vec::new(),
        };
        let mut xattrs = xattrs(&path);
        xattrs.retain(|name, _| !name.starts_with("trusted.overlay."));
        let size = if metadata.is_dir() { 0 } else { metadata.len() };
        all.insert(
            relative,
            format!(
                "{:o} {}/{} {size} {} {content} {linked:?} {xattrs:?}",
                metadata.mode(),
                metadata.uid(),
                metadata.gid(),
                metadata.mtime()
            ),
        );
    }
    all
}

fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (look(a), look(b));
    for path in a.keys().chain(b.keys()) {
        assert_eq!(a.get(path), b.get(path), "{}", String::from_utf8_lossy(path));
    }
}

#[test]
fn the_kernel_reads_what_was_written() {
    with_mounts(|place| {
        let image = place.join("image");
        let owned =
            |permissions| Metadata { permissions, uid: 70_000, gid: 5, modified: 1_700_000_000, xattrs: vec![] };
        let attribute = |name: &str, value: &[u8]| Xattr { name: name.into(), value: value.to_owned() };
        let marked = vec![
            attribute("trusted.overlay.opaque", b"y"),
            attribute("user.big", &[7; 40_000]),
            attribute("user.empty", b""),
        ];
        write(&image, |w| {
            for (path, minor) in [("low", 3), ("high", 1_048_575), ("middle", 256)] {
                let device = Special::Character(Device { major: 4095, minor });
                w.special(path.as_bytes(), &device, &owned(0o666)).unwrap();
            }
            w.special(b"disk", &Special::Block(Device { major: 259, minor: 70_000 }), &owned(0o660)).unwrap();
            w.special(b"sock\xff", &Special::Socket, &owned(0o755)).unwrap();
            w.special(b"pipe", &Special::Fifo, &Metadata { xattrs: marked[..1].to_vec(), ..owned(0o600) }).unwrap();
            w.special(b"link", &Special::Symlink(b"x".repeat(4000)), &owned(0o777)).unwrap();
            w.directory(b"d/sub", &Metadata { xattrs: marked.clone(), ..owned(0o1777) }).unwrap();
            let mut file = w.file(b"d/file", &Metadata { xattrs: marked.clone(), ..owned(0o4755) }).unwrap();
            file.write(b"start").unwrap();
            file.hole(5 << 30).unwrap();
            file.write(b"end").unwrap();
            file.finish().unwrap();
            w.hard_link(b"again", b"d/file").unwrap();
            w.hard_link(b"pipe-again", b"pipe").unwrap();
        });
        assert!(fs::metadata(&image).unwrap().len() < 256 * 1024);
        let root = mounted(&image, place.join("mnt"));
        for (path, major, minor) in
            [("low", 4095, 3), ("high", 4095, 1_048_575), ("middle", 4095, 256), ("disk", 259, 70_000)]
        {
            assert_eq!(fs::symlink_metadata(root.join(path)).unwrap().rdev(), makedev(major, minor), "{path}");
        }
        let socket = fs::symlink_metadata(root.join(std::ffi::OsStr::from_bytes(b"sock\xff"))).unwrap();
        assert!(socket.file_type().is_socket());
        assert_eq!(fs::read_link(root.join("link")).unwrap().as_os_str().len(), 4000);
        let (file, again) = (fs::metadata(root.join("d/file")).unwrap(), fs::metadata(root.join("again")).unwrap());
        assert_eq!((file.ino(), file.nlink(), file.mode() & 0o7777), (again.ino(), 2, 0o4755));
        assert_eq!((file.uid(), file.gid(), file.mtime()), (70_000, 5, 1_700_000_000));
        assert_eq!(file.len(), (5 << 30) + 8);
        assert_eq!(fs::metadata(root.join("pipe")).unwrap().nlink(), 2);
        let expected: BTreeMap<_, _> =
            marked.iter().map(|x| (String::from_utf8(x.name.clone()).unwrap(), x.value.clone())).collect();
        assert_eq!(xattrs(&root.join("d/file")), expected);
        assert_eq!(xattrs(&root.join("d/sub")), expected);
        assert_eq!(xattrs(&root.join("pipe")).len(), 1);
        // POSIX counts a directory's subdirectories, as `find` relies on.
        assert_eq!(fs::metadata(&root).unwrap().nlink(), 3);
        assert_eq!(fs::metadata(root.join("d/sub")).unwrap().nlink(), 2);
    });
}

#[test]
fn a_directory_imported_is_the_directory() {
    with_mounts(|place| {
        let source = directory(place.join("source"));
        make_tree(&source);
        let store = Store::new(Paths::new(place.join("root"), place.join("run")));
        let manifest = base::import(&store, &source, None, &NoProgress).unwrap();
        let root = mounted(&store.layer_path(&manifest.layers[0].digest), place.join("mnt"));
        for (path, seen) in look(&source) {
            // A file system's own size of a hole, and what a base must have, aside.
            if path.is_empty() || path == b"dev" {
                continue;
            }
            assert_eq!(look(&root).get(&path), Some(&seen), "{}", String::from_utf8_lossy(&path));
        }
    });
}

/// One of everything.
fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("d/e")).unwrap();
    fs::write(root.join("d/file"), "content").unwrap();
    fs::hard_link(root.join("d/file"), root.join("d/e/link")).unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "latin-1").unwrap();
    symlink("../nowhere", root.join("d/symlink")).unwrap();
    drop(UnixListener::bind(root.join("socket")).unwrap());
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    mknodat(CWD, root.join("tty"), FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(5, 300)).unwrap();
    let sparse = new_file(&root.join("sparse"));
    sparse.set_len(3_000_000).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 1_500_000).unwrap();
    fs::set_permissions(root.join("d/file"), fs::Permissions::from_mode(0o6711)).unwrap();
    set_xattr(&root.join("d/file"), "user.note", b"a\nb");
    chown(root.join("d/e"), Some(1000), Some(1001)).unwrap();
    lchown(root.join("d/symlink"), Some(1000), Some(1001)).unwrap();
}

#[test]
fn a_delta_over_its_base_is_what_the_container_saw() {
    with_mounts(|place| {
        let lower = directory(place.join("lower"));
        make_tree(&lower);
        fs::create_dir_all(lower.join("gone/deep")).unwrap();
        fs::write(lower.join("gone/deep/file"), "x").unwrap();
        fs::create_dir_all(lower.join("emptied")).unwrap();
        fs::write(lower.join("emptied/old"), "x").unwrap();
        let (upper, work) = (directory(place.join("upper")), directory(place.join("work")));
        let merged = directory(place.join("merged"));
        let overlay = mount::Overlay { lowers: &[&lower], upper_and_work: Some((&upper, &work)), volatile: false };
        mount::overlay(&overlay, &merged).unwrap();

        fs::write(merged.join("d/file"), "changed").unwrap();
        fs::write(merged.join("new"), "new").unwrap();
        fs::hard_link(merged.join("new"), merged.join("new-again")).unwrap();
        fs::remove_dir_all(merged.join("gone")).unwrap();
        fs::remove_dir_all(merged.join("emptied")).unwrap();
        fs::create_dir(merged.join("emptied")).unwrap();
        fs::write(merged.join("emptied/new"), "y").unwrap();
        fs::remove_file(merged.join("socket")).unwrap();
        mknodat(CWD, merged.join("pipe2"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        fs::rename(merged.join("sparse"), merged.join("moved")).unwrap();
        rustix::fs::sync();

        let delta = place.join("delta");
        let packed = pack_upper(&upper, IdShift::NONE, &delta).unwrap();
        assert_eq!(packed.left_out, []);
        let layer = mounted(&delta, place.join("layer"));
        let names: Vec<_> = xattrs_below(&layer).into_iter().filter(|name| name.contains("overlay")).collect();
        assert_eq!(names, ["emptied trusted.overlay.opaque"]);
        let again = directory(place.join("again"));
        mount::overlay(&mount::Overlay { lowers: &[&layer, &lower], upper_and_work: None, volatile: false }, &again)
            .unwrap();
        assert_same(&merged, &again);

        let lowers = [File::open(&lower).unwrap()];
        let changes = overlay::changes(File::open(&upper).unwrap(), &lowers, IdShift::NONE).unwrap();
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            changes,
            [
                "M /d/file",
                "A /emptied/new",
                "D /emptied/old",
                "D /gone",
                "D /gone/deep",
                "D /gone/deep/file",
                "A /moved",
                "A /new",
                "A /new-again",
                "A /pipe2",
                "D /socket",
                "D /sparse",
            ]
        );
    });
}

fn pack_upper(upper: &Path, ids: IdShift, into: &Path) -> Result<Packed, PackError> {
    pack::delta(File::open(upper).unwrap(), ids, new_file(into), &Options::default(), &NoProgress)
}

fn xattrs_below(root: &Path) -> Vec<String> {
    let paths: Vec<_> = look(root).into_keys().collect();
    let mut names = Vec::new();
    for path in paths {
        let shown = String::from_utf8_lossy(&path).into_owned();
        let full = root.join(std::ffi::OsStr::from_bytes(&path));
        names.extend(xattrs(&full).into_keys().map(|name| format!("{shown} {name}")));
    }
    names
}

#[test]
fn an_upper_is_stored_with_the_containers_own_ids() {
    with_mounts(|place| {
        let upper = directory(place.join("upper"));
        chown(&upper, Some(100_000), Some(100_000)).unwrap();
        fs::write(upper.join("file"), "x").unwrap();
        chown(upper.join("file"), Some(101_000), Some(165_535)).unwrap();
        mknodat(CWD, upper.join("whiteout"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        // CAP_NET_RAW for a namespace whose root is 100000, as `setcap` in the container leaves it.
        let v3 = b"\x01\0\0\x03\x00\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xa0\x86\x01\0";
        set_xattr(&upper.join("file"), "security.capability", v3);
        for name in ["origin", "impure", "uuid", "nlink"] {
            set_xattr(&upper.join("file"), &format!("trusted.overlay.{name}"), b"x");
        }
        // u::rw-, u:1000:r--, g::r--, m::r--, o::r--
        let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\
                    \x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
        set_xattr(&upper.join("file"), "system.posix_acl_access", acl);

        let ids = IdShift { first: 100_000, count: 65_536 };
        let packed = pack_upper(&upper, ids, &place.join("delta")).unwrap();
        assert_eq!(packed.left_out.len(), 1);
        assert_eq!(packed.left_out[0].path, b"file");
        assert_eq!(packed.left_out[0].attribute, "system.posix_acl_access");
        let layer = mounted(&place.join("delta"), place.join("layer"));
        let file = fs::metadata(layer.join("file")).unwrap();
        assert_eq!((file.uid(), file.gid()), (1000, 65_535));
        let root = fs::metadata(&layer).unwrap();
        assert_eq!((root.uid(), root.gid()), (0, 0));
        let whiteout = fs::symlink_metadata(layer.join("whiteout")).unwrap();
        assert_eq!((whiteout.rdev(), whiteout.uid(), whiteout.gid()), (0, 0, 0));
        let v2 = b"\x01\0\0\x02\x00\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        assert_eq!(xattrs(&layer.join("file")), BTreeMap::from([("security.capability".to_owned(), v2)]));

        chown(upper.join("file"), Some(165_536), Some(100_000)).unwrap();
        let error = pack_upper(&upper, ids, &place.join("foreign")).unwrap_err();
        assert!(matches!(&error, PackError::ForeignId { path, id: 165_536, .. } if path == "file"), "{error}");
        chown(upper.join("file"), Some(100_000), Some(100_000)).unwrap();
        set_xattr(&upper.join("file"), "trusted.overlay.redirect", b"/elsewhere");
        let error = pack_upper(&upper, ids, &place.join("redirected")).unwrap_err();
        assert!(matches!(error, PackError::Redirected { .. }), "{error}");
    });
}

#[test]
fn what_is_mounted_in_a_directory_is_not_imported() {
    with_mounts(|place| {
        let source = directory(place.join("source"));
        directory(source.join("inner"));
        rustix::mount::mount("none", source.join("inner"), "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        fs::write(source.join("inner/secret"), "x").unwrap();
        fs::write(source.join("file"), "x").unwrap();
        let store = Store::new(Paths::new(place.join("root"), place.join("run")));
        let manifest = base::import(&store, &source, None, &NoProgress).unwrap();
        let root = mounted(&store.layer_path(&manifest.layers[0].digest), place.join("mnt"));
        assert!(root.join("file").exists() && root.join("inner").is_dir());
        assert!(!root.join("inner/secret").exists());
    });
}

#[test]
fn a_link_in_a_directory_leads_nowhere() {
    with_mounts(|place| {
        let source = directory(place.join("source"));
        symlink("/etc", source.join("etc-link")).unwrap();
        symlink("/etc/passwd", source.join("file-link")).unwrap();
        pack_upper(&source, IdShift::NONE, &place.join("delta")).unwrap();
        let root = mounted(&place.join("delta"), place.join("mnt"));
        assert_eq!(fs::read_link(root.join("etc-link")).unwrap(), Path::new("/etc"));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
    });
}

#[test]
fn seventy_layers_become_one_that_shows_the_same() {
    with_mounts(|place| {
        let store = Store::new(Paths::new(place.join("root"), place.join("run")));
        let layers: Vec<_> = (0..70)
            .map(|number| {
                let new = store.new_layer().unwrap();
                let mut w = Writer::create(new.file().try_clone().unwrap(), &Options::default()).unwrap();
                let owned = Metadata { permissions: 0o755, uid: number, ..Metadata::default() };
                w.directory(b"/", &owned).unwrap();
                for path in [format!("own/{number}"), "last".to_owned()] {
                    let mut file = w.file(path.as_bytes(), &owned).unwrap();
                    file.write(format!("{number}").as_bytes()).unwrap();
                    file.finish().unwrap();
                }
                if number == 50 {
                    let whiteout = Special::Character(Device { major: 0, minor: 0 });
                    w.special(b"own/49", &whiteout, &Metadata::default()).unwrap();
                }
                w.finish().unwrap();
                new.finish(&NoProgress).unwrap()
            })
            .collect();
        let flat = store.flatten(&layers, &Options::default(), &NoProgress).unwrap();
        let root = mounted(&store.layer_path(&flat.digest), place.join("mnt"));
        assert_eq!(fs::read(root.join("last")).unwrap(), b"69");
        assert_eq!(fs::read_dir(root.join("own")).unwrap().count(), 69);
        assert!(!root.join("own/49").exists());
        assert_eq!(fs::metadata(&root).unwrap().uid(), 69);
        assert_eq!(fs::read_dir(place.join("run")).unwrap().count(), 0);
    });
}

#[test]
fn a_full_disk_leaves_the_destination_as_it_was() {
    with_mounts(|place| {
        let store = Store::new(Paths::new(place.join("root"), place.join("run")));
        let layer = |seed: u32| {
            let new = store.new_layer().unwrap();
            let mut writer = Writer::create(new.file().try_clone().unwrap(), &Options::default()).unwrap();
            let mut noise = seed;
            let mut step = || {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            };
            let data: Vec<u8> = (0..150_000).map(|_| step()).collect();
            let mut file = writer.file(b"noise", &Metadata::default()).unwrap();
            file.write(&data).unwrap();
            file.finish().unwrap();
            writer.finish().unwrap();
            new.finish(&NoProgress).unwrap()
        };
        let manifest = |layers| Manifest {
            schema_version: SCHEMA_VERSION,
            name: "app".parse().unwrap(),
            created: "2024-05-06T07:08:09Z".parse().unwrap(),
            architecture: "x86_64".to_owned(),
            layers,
            base: None,
            config: ImageConfig::default(),
        };
        let (one, two) = (layer(1), layer(2));
        let small = directory(place.join("small"));
        rustix::mount::mount("none", &small, "tmpfs", rustix::mount::MountFlags::empty(), c"size=400k").unwrap();
        let dest = small.join("app.aimg");
        let save = |layers| aimg::write(&dest, &manifest(layers), Carry::All, |d| store.open_layer(d), &NoProgress);
        save(vec![one.clone()]).unwrap();
        let before = fs::read(&dest).unwrap();
        let error = save(vec![one, two]).unwrap_err();
        let AimgError::Write(source) = &error else { panic!("{error}") };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&dest).unwrap(), before);
        assert_eq!(fs::read_dir(&small).unwrap().count(), 1);

        // The same for a store that fills: no layer, no name.
        let full = directory(place.join("full"));
        rustix::mount::mount("none", &full, "tmpfs", rustix::mount::MountFlags::empty(), c"size=100k").unwrap();
        let other = Store::new(Paths::new(&full, place.join("run")));
        let error = other.load(&dest, &NoProgress).unwrap_err();
        assert!(matches!(error, StoreError::WriteLayer { .. }), "{error}");
        assert!(other.layers().unwrap().is_empty() && other.names(Kind::Image).unwrap().is_empty());
    });
}

#[test]
fn ten_megabytes_are_packed_in_no_time() {
    with_mounts(|place| {
        let upper = directory(place.join("upper"));
        let program = fs::read(std::env::current_exe().unwrap()).unwrap();
        for number in 0..100 {
            let at = number * 100_000 % (program.len() - 100_000);
            let path = upper.join(format!("file-{number}"));
            fs::write(&path, &program[at..at + 100_000]).unwrap();
            let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64));
            File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        }
        let begun = Instant::now();
        pack_upper(&upper, IdShift::NONE, &place.join("delta")).unwrap();
        let taken = begun.elapsed();
        println!("10 MB packed in {taken:?}");
        assert!(taken < appcontainers_tests::allowed(Duration::from_millis(500)), "{taken:?}");
    });
}

#[test]
fn mksquashfs_would_have_made_the_same_tree() {
    with_mounts(|place| {
        let source = directory(place.join("source"));
        make_tree(&source);
        pack_upper(&source, IdShift::NONE, &place.join("ours")).unwrap();
        let theirs = place.join("theirs");
        let out = Command::new("mksquashfs").arg(&source).arg(&theirs).args(["-quiet", "-no-progress"]).output();
        let out = out.expect("mksquashfs is needed (Debian: squashfs-tools)");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert_same(&mounted(&place.join("ours"), place.join("a")), &mounted(&theirs, place.join("b")));
    });
}
