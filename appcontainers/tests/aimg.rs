//! `.aimg` files and the store: what is written is loaded, and nothing else is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use appcontainers::{
    NoProgress, Paths,
    image::{
        Aimg, AimgError, BaseReference, Digest, ImageConfig, Kind, Layer, Manifest, Registered, SCHEMA_VERSION, Store,
        StoreError,
        aimg::{self, Carry},
    },
};
use appcontainers_sys::squashfs::{Metadata, Options, Writer};

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

    fn file(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn layer(&self, content: &str) -> Layer {
        let new = self.store.new_layer().unwrap();
        let mut writer = Writer::create(new.file().try_clone().unwrap(), &Options::default()).unwrap();
        let mut file = writer.file(b"content", &Metadata::default()).unwrap();
        file.write(content.as_bytes()).unwrap();
        file.finish().unwrap();
        writer.finish().unwrap();
        new.finish(&NoProgress).unwrap()
    }

    /// An image of two layers, the lower a base's.
    fn image(&self, name: &str) -> Manifest {
        let base = manifest("base", vec![self.layer("base")], None);
        let reference = BaseReference { name: base.name.clone(), digest: base.digest().unwrap() };
        self.store.register(Kind::Base, &base).unwrap();
        manifest(name, vec![base.layers[0].clone(), self.layer(name)], Some(reference))
    }

    fn write(&self, manifest: &Manifest, carry: Carry) -> PathBuf {
        let dest = self.file("app.aimg");
        aimg::write(&dest, manifest, carry, |digest| self.store.open_layer(digest), &NoProgress).unwrap();
        dest
    }

    fn is_empty(&self) -> bool {
        self.store.layers().unwrap().is_empty() && self.store.names(Kind::Image).unwrap().is_empty()
    }
}

fn manifest(name: &str, layers: Vec<Layer>, base: Option<BaseReference>) -> Manifest {
    Manifest {
        schema_version: SCHEMA_VERSION,
        name: name.parse().unwrap(),
        created: "2024-05-06T07:08:09Z".parse().unwrap(),
        architecture: "x86_64".to_owned(),
        layers,
        base,
        config: ImageConfig::default(),
    }
}

#[test]
fn a_full_image_is_all_that_another_host_needs() {
    let (here, there) = (Host::new(), Host::new());
    let image = here.image("app");
    let path = here.write(&image, Carry::All);
    let loaded = there.store.load(&path, &NoProgress).unwrap();
    assert_eq!(loaded.manifest, image);
    assert_eq!(loaded.digest, image.digest().unwrap());
    assert_eq!(there.store.manifest(Kind::Image, &image.name).unwrap(), image);
    for layer in &image.layers {
        let copy = fs::read(there.store.layer_path(&layer.digest)).unwrap();
        assert_eq!(Digest::of(&copy), layer.digest);
        assert_eq!(copy, fs::read(here.store.layer_path(&layer.digest)).unwrap());
    }
    let again = there.store.load(&path, &NoProgress).unwrap();
    assert_eq!((loaded.registered, again.registered), (Registered::New, Registered::Already));
}

#[test]
fn programs_that_are_not_ours_know_the_first_layer() {
    let here = Host::new();
    let path = here.write(&here.image("app"), Carry::All);
    let out = Command::new("unsquashfs").args(["-cat"]).arg(&path).arg("content").output().unwrap();
    assert_eq!(out.stdout, b"base");
}

#[test]
fn a_thin_image_needs_its_base_and_says_which() {
    let (here, there) = (Host::new(), Host::new());
    let image = here.image("app");
    let path = here.write(&image, Carry::AllButLowest(1));
    assert!(Aimg::open(&path).unwrap().is_thin());
    let error = there.store.load(&path, &NoProgress).unwrap_err();
    assert!(matches!(&error, StoreError::BaseMissing { missing, .. } if *missing == [image.layers[0].digest]));
    assert!(error.to_string().contains(&image.layers[0].digest.to_string()), "{error}");
    assert!(error.to_string().contains("base base"), "{error}");
    assert!(there.is_empty());

    assert_eq!(there.layer("base").digest, image.layers[0].digest);
    assert_eq!(there.store.load(&path, &NoProgress).unwrap().digest, image.digest().unwrap());
}

#[test]
fn a_name_keeps_its_image() {
    let (here, there) = (Host::new(), Host::new());
    there.store.register(Kind::Image, &manifest("app", vec![there.layer("other")], None)).unwrap();
    let before = there.store.layers().unwrap();
    let path = here.write(&here.image("app"), Carry::All);
    let error = there.store.load(&path, &NoProgress).unwrap_err();
    assert!(matches!(error, StoreError::NameTaken { .. }), "{error}");
    assert_eq!(there.store.layers().unwrap(), before);
}

#[test]
fn any_flipped_byte_is_an_error_and_leaves_nothing() {
    let (here, there) = (Host::new(), Host::new());
    let path = here.write(&manifest("app", vec![here.layer("base")], None), Carry::All);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 3 * 4096);
    let file = File::options().write(true).open(&path).unwrap();
    for (at, byte) in bytes.iter().enumerate() {
        file.write_all_at(&[byte ^ 1 << (at % 8)], at as u64).unwrap();
        assert!(there.store.load(&path, &NoProgress).is_err(), "byte {at}");
        file.write_all_at(&[*byte], at as u64).unwrap();
    }
    assert!(there.is_empty());
    there.store.load(&path, &NoProgress).unwrap();
    // The layer is in the store now; a bad copy of it is an error all the same.
    file.write_all_at(&[bytes[2000] ^ 1], 2000).unwrap();
    let error = there.store.load(&path, &NoProgress).unwrap_err();
    assert!(matches!(error, StoreError::Aimg { source: AimgError::LayerDigest { .. }, .. }), "{error}");
}

#[test]
fn any_truncation_and_any_addition_is_an_error() {
    let (here, there) = (Host::new(), Host::new());
    let path = here.write(&manifest("app", vec![here.layer("base")], None), Carry::All);
    let bytes = fs::read(&path).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    for length in (0..bytes.len() as u64).rev() {
        file.set_len(length).unwrap();
        assert!(there.store.load(&path, &NoProgress).is_err(), "{length} bytes");
    }
    for more in [vec![0], vec![0; 4096], bytes[bytes.len() - 4096..].to_vec(), bytes.clone()] {
        fs::write(&path, [bytes.clone(), more].concat()).unwrap();
        assert!(there.store.load(&path, &NoProgress).is_err());
    }
    assert!(there.is_empty());
}

#[test]
fn dest_is_whole_or_what_it_was() {
    let here = Host::new();
    let image = here.image("app");
    let dest = here.write(&image, Carry::All);
    let before = fs::read(&dest).unwrap();
    let failing = |digest: &Digest| match *digest == image.layers[1].digest {
        true => Err(std::io::ErrorKind::PermissionDenied.into()),
        false => here.store.open_layer(digest),
    };
    aimg::write(&dest, &image, Carry::All, failing, &NoProgress).unwrap_err();
    assert_eq!(fs::read(&dest).unwrap(), before);
    let other = manifest("other", vec![here.layer("other")], None);
    aimg::write(&dest, &other, Carry::All, |digest| here.store.open_layer(digest), &NoProgress).unwrap();
    assert_eq!(Aimg::open(&dest).unwrap().manifest().name.as_str(), "other");
    let names: Vec<_> = fs::read_dir(here.place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let here = Host::new();
    let image = here.image("app");
    for dest in ["/dev/null", "/"] {
        let error = aimg::write(dest.as_ref(), &image, Carry::All, |d| here.store.open_layer(d), &NoProgress);
        assert!(matches!(error, Err(AimgError::NotAFile)), "{dest}");
        assert!(matches!(Aimg::open(dest.as_ref()), Err(AimgError::NotAFile)), "{dest}");
    }
}

#[test]
fn what_is_no_squashfs_does_not_become_a_layer() {
    let here = Host::new();
    for bytes in [b"".as_slice(), b"hsqs", &[b'x'; 4096]] {
        let error = here.store.add_layer(&mut &bytes[..], &NoProgress).unwrap_err();
        assert!(matches!(error, StoreError::NotALayer(_)), "{error}");
    }
    assert!(here.is_empty());
}

#[test]
fn a_name_without_its_layers_is_not_given() {
    let here = Host::new();
    let missing = Layer { digest: Digest::of(b"missing"), size_bytes: 4096, offset: None };
    let error = here.store.register(Kind::Base, &manifest("base", vec![missing], None)).unwrap_err();
    assert!(matches!(error, StoreError::LayerMissing { .. }), "{error}");
}

#[test]
fn a_file_that_another_program_wrote_by_the_specification_is_read() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let full = Aimg::open(&seeds.join("aimg/full.aimg")).unwrap();
    full.verify_layers(&NoProgress).unwrap();
    assert!(!full.is_thin());

    // Its manifest has no offsets, so it is in the form that names an image.
    let thin = Aimg::open(&seeds.join("aimg/thin.aimg")).unwrap();
    let json = fs::read(seeds.join("manifest/all.json")).unwrap();
    assert_eq!(thin.manifest().digest().unwrap(), Digest::of(&json));
    assert_eq!(thin.manifest().config.provides["dns"], "53/udp");
}
