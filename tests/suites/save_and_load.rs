//! `appc save-image`, `load-image` and `image`: a container becomes one file, and the file the same container again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    time::Duration,
};

use appcontainers_tests::{Archive, Host, LIMIT, eventually, in_sandbox, in_sandbox_for};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lgetxattr, lsetxattr, makedev, mknodat};
use serde_json::Value;

/// Provisions `web` with a small program in it.
fn shop(host: &Host) {
    host.provision("web");
    Archive::new().program("shop", "#!/bin/sh\necho open $*\n").file("menu", b"tea\n").write(host.file("shop.tar"));
    host.appc(["-c", "web", "load-archive", "shop.tar"]).succeeds();
}

/// As [`shop`], saved as `shop.aimg`.
fn saved_shop(host: &Host) {
    shop(host);
    host.appc(["-c", "web", "save-image", "shop.aimg"]).succeeds();
}

fn names(listing: &Value) -> Vec<&str> {
    listing.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

/// Loads a file and gives the new container's name.
fn load(host: &Host, file: &str) -> String {
    host.appc(["load-image", file]).succeeds()
}

#[test]
fn a_saved_program_runs_from_its_file_on_another_host() {
    in_sandbox(|host| {
        shop(host);
        host.appc(["-c", "web", "startup-command", "add", "./shop at start > started"]).succeeds();
        host.appc(["-c", "web", "save-image", "shop.aimg"]).succeeds();
        let other = host.elsewhere();
        // Other ids than where it was made.
        other.provision("filler");
        let name = load(&other, "shop.aimg");
        assert_ne!(other.inspect(&name)["id_range"], host.inspect("web")["id_range"]);
        assert_eq!(other.in_container(&name, ["./shop", "late"]).succeeds(), "open late");
        other.appc(["start", &name]).succeeds();
        eventually("the startup command", || {
            (other.in_container(&name, ["cat", "started"]).text() == "open at start").then_some(())
        });
        assert_eq!(other.in_container(&name, ["stat", "-c", "%u:%g", "menu"]).succeeds(), "0:0");
    });
}

#[test]
fn a_file_is_inspected_without_being_loaded() {
    in_sandbox(|host| {
        saved_shop(host);
        let other = host.elsewhere();
        let manifest = other.json(["image", "inspect", "shop.aimg"]);
        assert_eq!(manifest["name"], "shop");
        assert_eq!(manifest["base"]["name"], "busybox");
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
        assert!(!other.paths().root().exists(), "inspecting a file set the host up");
        host.appc(["load-image", "shop.aimg"]).succeeds();
        assert_eq!(host.json(["image", "inspect", "shop"])["layers"][1]["digest"], manifest["layers"][1]["digest"]);
        assert_eq!(names(&host.json(["image", "ls"])), ["shop"]);
        assert_eq!(names(&host.json(["base", "ls"])), ["busybox"]);
        host.appc(["image", "inspect", "nosuch"]).refuses(1, &["nosuch"]);
    });
}

#[test]
fn other_programs_know_the_file_as_the_squashfs_of_its_lowest_layer() {
    in_sandbox(|host| {
        saved_shop(host);
        let listed = host.run("unsquashfs", ["-l", "shop.aimg"]).succeeds();
        assert!(listed.lines().any(|line| line == "squashfs-root/bin/sh"), "{listed}");
        host.sh("mkdir mnt && mount -o loop,ro shop.aimg mnt && ls mnt > listed; umount mnt").succeeds();
        assert!(fs::read_to_string(host.file("listed")).unwrap().contains("etc\n"));
        // The upper layer, where the manifest says it is.
        let layer = &host.json(["image", "inspect", "shop.aimg"])["layers"][1];
        host.run("unsquashfs", ["-o", &layer["offset"].to_string(), "-d", "upper", "shop.aimg"]).succeeds();
        assert_eq!(fs::read(host.file("upper/root/menu")).unwrap(), b"tea\n");
        let bytes = fs::read(host.file("shop.aimg")).unwrap();
        let (offset, size) =
            (layer["offset"].as_u64().unwrap() as usize, layer["size_bytes"].as_u64().unwrap() as usize);
        fs::write(host.file("layer"), &bytes[offset..offset + size]).unwrap();
        let hash = host.sh("sha256sum < layer").succeeds();
        assert_eq!(format!("sha256:{}", &hash[..64]), layer["digest"].as_str().unwrap());
    });
}

#[test]
fn nothing_is_saved_twice_and_the_base_never_packed_again() {
    in_sandbox(|host| {
        saved_shop(host);
        let base = host.json(["base", "ls"])[0].clone();
        let manifest = host.json(["image", "inspect", "shop.aimg"]);
        let base_layers = host.json(["image", "inspect", "busybox"])["layers"].clone();
        assert_eq!(base["name"], "busybox");
        assert_eq!(manifest["layers"][0]["digest"], base_layers[0]["digest"]);
        // A container that changed nothing is saved without a layer of its own.
        host.provision("same");
        host.appc(["-c", "same", "save-image", "same.aimg"]).succeeds();
        assert_eq!(host.json(["image", "inspect", "same.aimg"])["layers"].as_array().unwrap().len(), 1);
        // The same changes are the same layer.
        let before = layers(host);
        host.appc(["-c", "web", "save-image", "again.aimg"]).succeeds();
        assert_eq!(layers(host), before);
    });
}

fn layers(host: &Host) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(host.paths().layers())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_thin_image_leaves_the_base_out_and_names_it_where_it_is_missing() {
    in_sandbox(|host| {
        // A base that no other host has by itself.
        host.sh("mkdir -p tree/bin tree/etc && cp $(which busybox) tree/bin/busybox && ln -s busybox tree/bin/sh && echo mine > tree/etc/own").succeeds();
        host.appc(["base", "import", "tree", "--name", "own"]).succeeds();
        host.appc(["provision", "--base", "own", "--name", "web"]).succeeds();
        host.sh_in("web", "echo changed > /etc/new").succeeds();
        host.appc(["-c", "web", "save-image", "full.aimg", "--name", "app"]).succeeds();
        host.appc(["-c", "web", "save-image", "thin.aimg", "--name", "thin", "--thin"]).succeeds();
        let size = |name: &str| fs::metadata(host.file(name)).unwrap().len();
        assert!(
            size("thin.aimg") < 50_000 && size("full.aimg") > 300_000,
            "{} {}",
            size("thin.aimg"),
            size("full.aimg")
        );
        let digest = host.json(["image", "inspect", "thin.aimg"])["layers"][0]["digest"].as_str().unwrap().to_owned();

        let other = host.elsewhere();
        other.appc(["load-image", "thin.aimg"]).refuses(1, &["thin.aimg", &digest, "own"]);
        assert!(names(&other.json(["image", "ls"])).is_empty());
        assert!(other.containers().is_empty());
        // With the full one comes what the thin one lacks.
        load(&other, "full.aimg");
        let name = load(&other, "thin.aimg");
        assert_eq!(
            other.in_container(&name, ["sh", "-c", "read a < /etc/own; read b < /etc/new; echo $a $b"]).succeeds(),
            "mine changed"
        );
    });
}

/// What a user of a directory in the container could notice.
const LOOK: &str = "cd /data && find . -exec stat -c '%n|%F|%a|%u:%g|%h|%t:%T' {} + | sort; find . -type f -exec sha256sum {} + | sort; find . -type l -exec readlink {} + | sort";

#[test]
fn what_a_container_did_to_its_files_is_what_the_image_shows() {
    in_sandbox(|host| {
        host.sh(
            "mkdir -p tree/bin tree/data/full tree/data/gone/deep tree/data/opaque tree/etc tree/dev tree/proc tree/sys tree/tmp tree/root
             cp $(which busybox) tree/bin/; for a in $(busybox --list); do [ $a = busybox ] || ln -s busybox tree/bin/$a; done
             echo root:x:0:0::/root:/bin/sh > tree/etc/passwd
             cd tree/data; echo a > full/a; echo b > full/b; echo deep > gone/deep/file; echo old > opaque/old; echo keep > keep
             ln keep hard1; ln keep hard2; ln -s keep soft; echo owned > owned; chown 1234:4321 owned; chmod 6751 owned
             mknod char c 10 300; mknod pipe p; truncate -s 20M sparse; echo end >> sparse; printf x > \"$(printf 'not\\377utf8')\"
             echo mode > mode; echo replaced > replaced; mkdir dir-to-file; echo x > file-to-dir",
        )
        .succeeds();
        lsetxattr(host.file("tree/data/keep"), "user.note", b"from the base", XattrFlags::empty()).unwrap();
        host.appc(["base", "import", "tree", "--name", "full"]).succeeds();
        host.appc(["provision", "--base", "full", "--name", "web"]).succeeds();
        host.sh_in(
            "web",
            "cd /data && rm full/a && rm -r gone && rm -r opaque && mkdir opaque && echo new > opaque/new && echo more >> hard1 &&
             ln full/b full/c && mkfifo own-pipe && truncate -s 30M own-sparse && echo end >> own-sparse && chmod 1777 full &&
             chown 77:88 mode && printf y > \"$(printf 'own\\376')\" && mv replaced moved && ln -s /nowhere dangling &&
             rmdir dir-to-file && echo file > dir-to-file && rm file-to-dir && mkdir file-to-dir && mkdir -p new/dirs && echo z > new/dirs/z",
        )
        .succeeds();
        let seen = host.sh_in("web", LOOK).succeeds();
        assert!(seen.contains("./char|character special file|644|0:0|1|a:12c"), "{seen}");
        host.appc(["-c", "web", "save-image", "full.aimg"]).succeeds();

        let other = host.elsewhere();
        other.provision("filler");
        let name = load(&other, "full.aimg");
        assert_eq!(other.sh_in(&name, LOOK).succeeds(), seen);
        // And once more: from the loaded one.
        other.sh_in(&name, "rm -r /data/new; echo again > /data/again").succeeds();
        let seen = other.sh_in(&name, LOOK).succeeds();
        other.appc(["-c", &name, "save-image", "third.aimg"]).succeeds();
        let third = load(host, "third.aimg");
        assert_eq!(host.sh_in(&third, LOOK).succeeds(), seen);
        let sparse = host.sh_in(&third, "du -k /data/sparse /data/own-sparse | cut -f1").succeeds();
        assert!(sparse.lines().all(|size| size.parse::<u32>().unwrap() < 500), "holes were filled: {sparse}");
    });
}

/// A tree with the host's `setcap` and `getcap`, and what they need.
fn tree_with_setcap(host: &Host) {
    host.sh(
        "mkdir -p tree/bin tree/usr tree/root tree/etc; cp $(which busybox) tree/bin/; for a in sh cp cat ls; do ln -s busybox tree/bin/$a; done
         for p in setcap getcap; do f=$(PATH=$PATH:/usr/sbin:/sbin command -v $p); cp $f tree/bin/$p
         for l in $(ldd $f | grep -o '/[^ ]*'); do mkdir -p tree$(dirname $l); cp -L $l tree$l; done; done",
    )
    .succeeds();
}

#[test]
fn file_capabilities_survive_under_other_ids() {
    in_sandbox(|host| {
        tree_with_setcap(host);
        host.sh("cp tree/bin/busybox tree/bin/from-base; setcap cap_net_raw+ep tree/bin/from-base").succeeds();
        host.appc(["base", "import", "tree", "--name", "caps"]).succeeds();
        host.appc(["provision", "--base", "caps", "--name", "web"]).succeeds();
        host.sh_in("web", "cp /bin/busybox /bin/own; setcap cap_net_bind_service+ep /bin/own").succeeds();
        let look = "getcap /bin/own /bin/from-base";
        let seen = host.sh_in("web", look).succeeds();
        assert!(
            seen.contains("/bin/own cap_net_bind_service=ep") && seen.contains("/bin/from-base cap_net_raw=ep"),
            "{seen}"
        );
        host.appc(["-c", "web", "save-image", "caps.aimg"]).succeeds();
        let other = host.elsewhere();
        other.provision("filler");
        let name = load(&other, "caps.aimg");
        assert_eq!(other.sh_in(&name, look).succeeds(), seen);
    });
}

#[test]
fn attributes_survive_and_acls_are_named() {
    in_sandbox(|host| {
        host.start("web");
        host.sh_in("web", "echo x > /root/noted; echo x > /root/listed").succeeds();
        host.appc(["stop", "web"]).succeeds();
        let upper = host.paths().raw_overlays().join("web/upper/root");
        lsetxattr(upper.join("noted"), "user.note", b"kept", XattrFlags::empty()).unwrap();
        let owner = fs::metadata(upper.join("listed")).unwrap().uid();
        lsetxattr(upper.join("listed"), "system.posix_acl_access", &acl(owner + 5), XattrFlags::empty()).unwrap();
        let done = host.appc(["-c", "web", "save-image", "a.aimg"]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        done.succeeds();
        let warnings: Vec<_> = said.lines().filter(|line| line.contains("warning")).collect();
        assert_eq!(warnings.len(), 1, "{said}");
        assert!(warnings[0].contains("root/listed") && warnings[0].contains("posix_acl_access"), "{said}");
        let offset = host.json(["image", "inspect", "a.aimg"])["layers"][1]["offset"].to_string();
        host.sh(&format!("mkdir mnt && mount -o loop,ro,offset={offset} a.aimg mnt")).succeeds();
        let mut value = [0; 16];
        let length = lgetxattr(host.file("mnt/root/noted"), "user.note", &mut value[..]).unwrap();
        host.sh("umount mnt").succeeds();
        assert_eq!(&value[..length], b"kept");
    });
}

/// `user:ID:rw` beside the usual three and a mask, as the kernel takes it (`linux/posix_acl_xattr.h`).
fn acl(id: u32) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    let any = u32::MAX;
    for (tag, permissions, id) in [(1u16, 6u16, any), (2, 6, id), (4, 4, any), (0x10, 6, any), (0x20, 4, any)] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[test]
fn sockets_in_an_image_are_no_trouble() {
    in_sandbox(|host| {
        host.start("web");
        host.sh_in("web", "nc -l -U /root/socket 2>/dev/null & nc -lk -s local:/root/socket 2>/dev/null & mkfifo /root/pipe; sleep 0.2; ls /root").succeeds();
        let upper = host.paths().raw_overlays().join("web/upper/root");
        host.appc(["stop", "web", "--timeout", "0"]).succeeds();
        mknodat(CWD, upper.join("own-socket"), FileType::Socket, Mode::from_bits_retain(0o600), 0).unwrap();
        let owner = fs::metadata(&upper).unwrap().uid();
        std::os::unix::fs::chown(upper.join("own-socket"), Some(owner), Some(owner)).unwrap();
        host.appc(["-c", "web", "save-image", "a.aimg"]).succeeds();
        let name = load(host, "a.aimg");
        assert_eq!(host.sh_in(&name, "stat -c %F /root/own-socket /root/pipe").succeeds(), "socket\nfifo");
    });
}

#[test]
fn the_same_image_again_is_fine_and_another_under_its_name_is_not() {
    in_sandbox(|host| {
        saved_shop(host);
        let first = load(host, "shop.aimg");
        let second = load(host, "shop.aimg");
        assert_ne!(first, second);
        host.sh_in("web", "echo coffee >> menu").succeeds();
        host.appc(["-c", "web", "save-image", "other.aimg", "--name", "shop"]).succeeds();
        host.appc(["load-image", "other.aimg"]).refuses(1, &["shop", "taken"]);
        assert_eq!(names(&host.json(["image", "ls"])), ["shop"]);
        assert_eq!(host.in_container(&first, ["cat", "menu"]).succeeds(), "tea");
        // A container's name is another matter.
        host.appc(["load-image", "shop.aimg", "--name", "web"]).refuses(1, &["web"]);
        assert_eq!(host.appc(["load-image", "shop.aimg", "--name", "third"]).succeeds(), "third");
    });
}

#[test]
fn an_image_that_is_used_is_not_removed() {
    in_sandbox(|host| {
        saved_shop(host);
        let name = load(host, "shop.aimg");
        host.appc(["image", "rm", "shop"]).refuses(1, &["shop", &name]);
        host.appc(["base", "rm", "busybox"]).refuses(1, &["busybox"]);
        assert_eq!(host.in_container(&name, ["./shop", "still"]).succeeds(), "open still");
        host.appc(["rm", &name]).succeeds();
        host.appc(["image", "rm", "shop"]).succeeds();
        host.appc(["image", "rm", "shop"]).refuses(1, &["shop"]);
        host.appc(["rm", "web"]).succeeds();
        host.appc(["gc"]).succeeds();
        assert_eq!(layers(host).len(), 1, "the base's layer alone stays");
        // The file is enough.
        let name = load(host, "shop.aimg");
        assert_eq!(host.in_container(&name, ["./shop", "again"]).succeeds(), "open again");
    });
}

#[test]
fn saving_over_a_file_replaces_it_whole() {
    in_sandbox(|host| {
        saved_shop(host);
        let before = fs::read(host.file("shop.aimg")).unwrap();
        host.sh_in("web", "echo coffee >> menu").succeeds();
        host.appc(["-c", "web", "save-image", "shop.aimg"]).succeeds();
        assert_ne!(fs::read(host.file("shop.aimg")).unwrap(), before);
        let name = load(host, "shop.aimg");
        assert_eq!(host.in_container(&name, ["cat", "menu"]).succeeds(), "tea\ncoffee");
        host.appc(["-c", "web", "save-image", "/nosuch/dir/a.aimg"]).refuses(1, &["/nosuch/dir/a.aimg"]);
        fs::create_dir(host.file("dir.aimg")).unwrap();
        host.appc(["-c", "web", "save-image", "dir.aimg"]).refuses(1, &["dir.aimg"]);
        host.appc(["-c", "web", "save-image", "Not A Name.aimg"]).refuses(1, &["--name"]);
        host.appc(["-c", "nosuch", "save-image", "a.aimg"]).refuses(1, &["nosuch"]);
    });
}

#[test]
fn a_full_disk_leaves_the_file_that_was_there_or_none() {
    in_sandbox(|host| {
        saved_shop(host);
        host.sh_in("web", "head -c 5000000 /dev/urandom > noise").succeeds();
        let disk = host.small_disk(&host.file("small"), "3m");
        host.appc(["-c", "web", "save-image", "small/shop.aimg"]).refuses(1, &["small/shop.aimg", "No space left"]);
        assert_eq!(fs::read_dir(host.file("small")).unwrap().count(), 0);
        fs::copy(host.file("shop.aimg"), host.file("small/shop.aimg")).unwrap();
        host.appc(["-c", "web", "save-image", "small/shop.aimg"]).refuses(1, &["small/shop.aimg", "No space left"]);
        assert_eq!(fs::read(host.file("small/shop.aimg")).unwrap(), fs::read(host.file("shop.aimg")).unwrap());
        assert_eq!(fs::read_dir(host.file("small")).unwrap().count(), 1);
        drop(disk);
        host.appc(["-c", "web", "save-image", "good.aimg"]).succeeds();
        host.appc(["doctor"]).succeeds();
    });
}

#[test]
fn a_full_store_loads_nothing_and_keeps_what_it_has() {
    in_sandbox(|host| {
        saved_shop(host);
        host.sh_in("web", "head -c 6000000 /dev/urandom > noise").succeeds();
        host.appc(["-c", "web", "save-image", "big.aimg"]).succeeds();
        let other = host.elsewhere();
        other.appc(["setup"]).succeeds();
        let disk = host.small_disk(&other.paths().layers(), "4m");
        load(&other, "shop.aimg");
        let before = layers(&other);
        other.appc(["load-image", "big.aimg"]).refuses(1, &["No space left"]);
        assert_eq!(names(&other.json(["image", "ls"])), ["shop"]);
        assert_eq!(layers(&other), before);
        let name = other.containers()[0].clone();
        assert_eq!(other.in_container(&name, ["./shop", "x"]).succeeds(), "open x");
        other.appc(["rm", &name]).succeeds();
        other.appc(["image", "rm", "shop"]).succeeds();
        other.appc(["gc"]).succeeds();
        drop(disk);
    });
}

/// The bytes that stand for each part of a file: of the layers, what is between, the manifest, the footer.
fn telling_positions(manifest: &Value, length: u64) -> Vec<u64> {
    let mut positions = Vec::new();
    let mut end = 0;
    for layer in manifest["layers"].as_array().unwrap() {
        let (offset, size) = (layer["offset"].as_u64().unwrap(), layer["size_bytes"].as_u64().unwrap());
        positions.extend([0, 1, 28, 40, 96, 97, size / 3, size / 2, size - 200, size - 1].map(|at| offset + at));
        end = offset + size;
    }
    let footer = length - 4096;
    // Manifest, its padding, the footer with its fields, what it reserves, the room for a signature.
    positions.extend([end, end + 1, end + 30, (end + footer) / 2, footer - 1]);
    positions.extend([0, 7, 8, 11, 12, 16, 20, 24, 30, 32, 63, 64, 100, 2047, 2048, 4095].map(|at| footer + at));
    positions
}

#[test]
fn a_bit_that_flipped_anywhere_is_found_and_nothing_is_named() {
    in_sandbox(|host| {
        saved_shop(host);
        let manifest = host.json(["image", "inspect", "shop.aimg"]);
        let whole = fs::read(host.file("shop.aimg")).unwrap();
        let other = host.elsewhere();
        other.appc(["setup"]).succeeds();
        fs::write(host.file("bad.aimg"), &whole).unwrap();
        let bad = File::options().write(true).open(host.file("bad.aimg")).unwrap();
        for (n, at) in telling_positions(&manifest, whole.len() as u64).into_iter().enumerate() {
            bad.write_all_at(&[whole[at as usize] ^ (1 << (n % 8))], at).unwrap();
            other.appc(["load-image", "bad.aimg"]).refuses(1, &["bad.aimg"]);
            bad.write_all_at(&whole[at as usize..=at as usize], at).unwrap();
        }
        assert!(names(&other.json(["image", "ls"])).is_empty() && other.containers().is_empty());
        // A layer that was right was kept for another try, and goes as garbage.
        other.appc(["gc"]).succeeds();
        assert_eq!(layers(&other), Vec::<String>::new());
        // Also where all layers are there already.
        load(host, "shop.aimg");
        let at = manifest["layers"][0]["size_bytes"].as_u64().unwrap() / 2;
        bad.write_all_at(&[whole[at as usize] ^ 1], at).unwrap();
        host.appc(["load-image", "bad.aimg"]).refuses(1, &["bad.aimg", "corrupt"]);
        // The file as it was is still good.
        bad.write_all_at(&whole[at as usize..=at as usize], at).unwrap();
        load(&other, "bad.aimg");
    });
}

#[test]
fn a_file_cut_off_anywhere_or_with_more_behind_it_is_refused() {
    in_sandbox(|host| {
        saved_shop(host);
        let whole = fs::read(host.file("shop.aimg")).unwrap();
        let other = host.elsewhere();
        other.appc(["setup"]).succeeds();
        let length = whole.len();
        for part in
            [0, 1, 4095, 4096, 4097, length / 3, length / 2, length - 8192, length - 4096, length - 512, length - 1]
        {
            fs::write(host.file("bad.aimg"), &whole[..part]).unwrap();
            other.appc(["load-image", "bad.aimg"]).refuses(1, &["bad.aimg"]);
            other.appc(["image", "inspect", "bad.aimg"]).refuses(1, &["bad.aimg"]);
        }
        for more in [1, 4096] {
            fs::write(host.file("bad.aimg"), [&whole[..], &vec![0; more]].concat()).unwrap();
            other.appc(["load-image", "bad.aimg"]).refuses(1, &["bad.aimg"]);
        }
        for (name, content) in [("text.aimg", &b"no image at all"[..]), ("zeros.aimg", &[0; 20000])] {
            fs::write(host.file(name), content).unwrap();
            other.appc(["load-image", name]).refuses(1, &[name, "not an .aimg file"]);
        }
        other.appc(["load-image", "/dev/zero"]).fails(1);
        other.appc(["load-image", "."]).fails(1);
        assert_eq!(layers(&other), Vec::<String>::new());
    });
}

#[test]
fn a_version_that_is_not_known_is_said() {
    in_sandbox(|host| {
        saved_shop(host);
        let whole = fs::read(host.file("shop.aimg")).unwrap();
        let mut newer = whole.clone();
        newer[whole.len() - 4096 + 8] = 2;
        fs::write(host.file("newer.aimg"), newer).unwrap();
        host.appc(["load-image", "newer.aimg"]).refuses(1, &["newer.aimg", "version 2"]);
        host.appc(["run", "--rm", "--image", "newer.aimg", "--", "true"]).refuses(125, &["newer.aimg", "version 2"]);
    });
}

#[test]
fn the_word_load_image_takes_files_and_names() {
    in_sandbox(|host| {
        saved_shop(host);
        host.appc(["load-image", "shop"]).refuses(1, &["shop", "appc image ls"]);
        load(host, "shop.aimg");
        let name = load(host, "shop");
        assert_eq!(host.in_container(&name, ["./shop", "x"]).succeeds(), "open x");
        host.appc(["load-image", "nosuch.aimg"]).refuses(1, &["nosuch.aimg", "No such file"]);
        // A base is an image.
        host.in_container(&load(host, "busybox"), ["true"]).succeeds();
    });
}

#[test]
fn a_block_device_in_an_image_opens_for_nobody() {
    in_sandbox(|host| {
        // A disk of the host's with a secret on it.
        host.sh(
            "truncate -s 1M disk; printf secret | dd of=disk conv=notrunc 2>/dev/null; losetup -f --show disk > device",
        )
        .succeeds();
        let device = fs::read_to_string(host.file("device")).unwrap().trim().to_owned();
        let number = fs::metadata(&device).unwrap().rdev();
        host.sh("mkdir -p tree/bin tree/data tree/etc tree/root && cp $(which busybox) tree/bin/ && for a in sh cat dd; do ln -s busybox tree/bin/$a; done").succeeds();
        let node = host.file("tree/data/disk");
        mknodat(
            CWD,
            &node,
            FileType::BlockDevice,
            Mode::from_bits_retain(0o666),
            makedev(rustix::fs::major(number), rustix::fs::minor(number)),
        )
        .unwrap();
        assert_eq!(host.sh("head -c 6 tree/data/disk").succeeds(), "secret");
        host.appc(["base", "import", "tree", "--name", "devices"]).succeeds();
        for (name, options) in [("web", &[][..]), ("trusted", &["--privileged"])] {
            host.appc([&["provision", "--base", "devices", "--name", name], options].concat()).succeeds();
            let tried = host
                .sh_in(name, "dd if=/data/disk bs=6 count=1; dd if=/dev/zero of=/data/disk bs=1 count=1 conv=notrunc");
            assert!(!tried.text().contains("secret"), "{}", tried.transcript());
            assert_ne!(tried.code, 0);
            let copied = host.sh_in(name, "cat /data/disk > /root/copy; busybox wc -c < /root/copy");
            assert_eq!(copied.text(), "0", "{}", copied.transcript());
        }
        host.sh(&format!("head -c 6 {device}; losetup -d {device}")).succeeds();
        assert_eq!(host.sh("head -c 6 disk").succeeds(), "secret");
    });
}

#[test]
fn a_running_container_stands_still_while_it_is_saved_and_goes_on() {
    in_sandbox(|host| {
        host.start("web");
        // The big file lies between the two others in the order of packing, whichever that is.
        host.sh_in("web", "head -c 30000000 /dev/urandom > m; echo 0 > a; echo 0 > z").succeeds();
        let line = "n=0; while :; do n=$((n+1)); echo $n > a; echo $n > z; done";
        let mut counting = host.command("appc");
        counting.args(["-c", "web", "run", "--", "sh", "-c", line]);
        let counting = host.start_command(counting, LIMIT);
        // The shell empties a file before it writes it.
        let read = || host.in_container("web", ["cat", "z"]).text().parse::<u64>().ok();
        let count = || eventually("a number", read);
        eventually("it counts", || (count() > 100).then_some(()));
        host.appc(["-c", "web", "save-image", "a.aimg"]).succeeds();
        let after = count();
        eventually("it counts on", || (count() > after).then_some(()));
        drop(counting);
        let saved = load(host, "a.aimg");
        let number = |file: &str| host.in_container(&saved, ["cat", file]).text().parse::<u64>().unwrap_or(0);
        let (a, z) = (number("a"), number("z"));
        // An empty one counts as 0.
        assert!(a == z || a == z + 1 || a == 0 || z == 0, "{a} and {z} were never there together");
        assert!(a.max(z) <= after);
    });
}

#[test]
fn an_image_of_an_image_of_an_image_goes_on_for_ever() {
    in_sandbox_for(Duration::from_secs(240), |host| {
        host.provision("c0");
        for n in 1..=66 {
            let (before, file) = (format!("c{}", n - 1), format!("i{n}.aimg"));
            host.sh_in(&before, &format!("echo {n} >> /root/all; echo {n} > /root/file{n}; rm -f /root/file{}", n - 3))
                .succeeds();
            host.appc(["-c", &before, "save-image", &file]).succeeds();
            host.appc(["load-image", &file, "--name", &format!("c{n}")]).succeeds();
            fs::remove_file(host.file(&file)).unwrap();
        }
        let layers = host.inspect("c66")["layers"].as_array().unwrap().len();
        assert!(layers <= 64, "{layers} layers");
        assert_eq!(host.sh_in("c66", "wc -l < /root/all; cd /root; ls").succeeds(), "66\nall\nfile64\nfile65\nfile66");
    });
}

#[test]
fn saving_with_more_effort_makes_the_same_files() {
    in_sandbox(|host| {
        shop(host);
        host.sh_in("web", "seq 1 200000 > numbers").succeeds();
        for level in ["1", "19"] {
            let file = format!("level{level}.aimg");
            host.appc(["-c", "web", "save-image", &file, "--compression-level", level]).succeeds();
            let name = load(host, &file);
            assert_eq!(host.sh_in(&name, "wc -l < numbers").succeeds(), "200000");
        }
        let size = |level: u32| fs::metadata(host.file(format!("level{level}.aimg"))).unwrap().len();
        assert!(size(19) < size(1));
    });
}

#[test]
fn a_name_with_control_characters_never_reaches_the_terminal() {
    in_sandbox(|host| {
        host.start("web");
        host.sh_in("web", "touch \"$(printf 'a\\033[2Jb')\"").succeeds();
        let said = host.appc(["diff", "web"]).succeeds();
        assert!(!said.contains('\u{1b}') && said.contains("\\u{1b}[2Jb"), "{said}");
        assert!(Path::new(&host.paths().raw_overlays()).exists());
    });
}
