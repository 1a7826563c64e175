use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::*;
use crate::{
    network::{IdPool, IdRange, MacAddress},
    setup::Change,
};

struct Place {
    paths: Paths,
    _directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path(), directory.path().join("run"));
        install_defaults(&paths).unwrap();
        Self { paths, _directory: directory }
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.paths.skeletons().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn render(&self, phase: Phase) -> Result<Vec<RenderedFile>, SkeletonError> {
        render(&self.paths, phase, &context())
    }

    fn error(&self, phase: Phase) -> String {
        self.render(phase).unwrap_err().to_string()
    }
}

fn settings() -> PoolSettings {
    let pool = IdPool { base: 1 << 30, count: 1 << 30 };
    PoolSettings { subnet6: "fd00:1::/64".parse().ok(), ..PoolSettings::new("10.213.0.0/16".parse().unwrap(), pool) }
}

fn context() -> SkeletonContext {
    context_in(&settings())
}

fn context_in(settings: &PoolSettings) -> SkeletonContext {
    let reservation = Reservation {
        name: "my_app".parse().unwrap(),
        ip: "10.213.0.2".parse().unwrap(),
        mac: MacAddress::new([2, 0, 0, 0, 0, 9]),
        id_range: IdRange::new(1 << 30),
        created: jiff::Timestamp::UNIX_EPOCH,
    };
    let hostname = Hostname::of(&reservation.name);
    SkeletonContext::new(&reservation, settings, &hostname)
}

fn text_of<'a>(files: &'a [RenderedFile], path: &str) -> &'a str {
    let file = files.iter().find(|file| file.path == std::path::Path::new(path)).unwrap();
    std::str::from_utf8(&file.bytes).unwrap()
}

#[test]
fn a_container_knows_itself_by_the_default_skeletons() {
    let place = Place::new();
    let files = place.render(Phase::Start).unwrap();
    assert_eq!(text_of(&files, "etc/hostname"), "my-app\n");
    let v4 = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.213.0.2\tmy-app my_app\n";
    // Where this host has IPv6, so has the container.
    let ip6 = settings().addresses("10.213.0.2".parse().unwrap()).v6;
    let v6 = ip6.map_or_else(String::new, |address| format!("{address}\tmy-app my_app\n"));
    assert_eq!(text_of(&files, "etc/hosts"), v4.to_owned() + &v6);
    let without = context_in(&PoolSettings { subnet6: None, ..settings() });
    assert_eq!(text_of(&render(&place.paths, Phase::Start, &without).unwrap(), "etc/hosts"), v4);
    assert!(files.iter().all(|file| file.mode == 0o644));
    assert_eq!(place.render(Phase::Provision).unwrap(), []);
}

#[test]
fn the_users_file_stands_in_for_ours_template_or_not() {
    let place = Place::new();
    place.put("user/start/etc/hosts", "mine {{ }}\n");
    place.put("user/start/etc/motd.tera", "{% for n in [1, 2] %}{{ n }} {{ reservation.mac }};{% endfor %}");
    let files = place.render(Phase::Start).unwrap();
    assert_eq!(text_of(&files, "etc/hosts"), "mine {{ }}\n");
    assert_eq!(text_of(&files, "etc/motd"), "1 02:00:00:00:00:09;2 02:00:00:00:00:09;");
    assert_eq!(files.len(), 3);
}

#[test]
fn setup_restores_ours_and_leaves_the_users_alone() {
    let place = Place::new();
    assert_eq!(install_defaults(&place.paths).unwrap(), []);
    place.put("default/start/etc/hosts.tera", "broken");
    place.put("user/start/etc/hosts", "mine");
    let path = place.paths.skeletons().join("default/start/etc/hosts.tera");
    assert_eq!(install_defaults(&place.paths).unwrap(), [Change::SkeletonInstalled { path }]);
    assert_eq!(text_of(&place.render(Phase::Start).unwrap(), "etc/hosts"), "mine");
}

#[test]
fn a_template_that_fails_is_named_with_its_line() {
    let place = Place::new();
    let path = place.paths.skeletons().join("user/load/etc/x.tera");
    for (template, line, message) in [
        ("a\nb {{ reservation.nonsense }}", 2, "nonsense"),
        ("a\n\n{{ reservation.ip", 3, ""),
        ("\n{{ reservation.ip | nofilter }}", 2, "nofilter"),
        ("{% include \"/etc/passwd\" %}", 1, "/etc/passwd"),
        ("\n\n\n{{ get_env(name=\"HOME\") }}", 4, "get_env"),
    ] {
        place.put("user/load/etc/x.tera", template);
        let error = place.error(Phase::Load);
        assert!(error.starts_with(&format!("template {}, line {line}: ", path.display())), "{template:?}: {error}");
        assert!(error.contains(message) && !error.contains('\n'), "{template:?}: {error}");
    }
}

#[test]
fn a_template_reaches_no_file() {
    let place = Place::new();
    for template in
        ["{% extends \"/etc/passwd\" %}", "{% import \"/etc/passwd\" as x %}", "{{ load(path=\"/etc/passwd\") }}"]
    {
        place.put("user/load/x.tera", template);
        assert!(place.render(Phase::Load).is_err(), "{template}");
    }
}

#[test]
fn a_template_without_an_end_does_not_fill_the_memory() {
    let place = Place::new();
    place.put("user/load/x.tera", "{% for a in range(end=100000) %}0123456789abcdef{% endfor %}");
    assert!(matches!(place.render(Phase::Load), Err(SkeletonError::TooLarge { .. })));
    place.put("user/load/x.tera", &"x".repeat(find::MAX_FILE_BYTES + 1));
    assert!(matches!(place.render(Phase::Load), Err(SkeletonError::TooLarge { .. })));
}

#[test]
fn links_pipes_and_doubles_are_refused_by_name() {
    let place = Place::new();
    place.put("user/load/etc/a", "");
    symlink("/etc/passwd", place.paths.skeletons().join("user/load/etc/link")).unwrap();
    let error = place.render(Phase::Load).unwrap_err();
    assert!(matches!(&error, SkeletonError::NotAFile { path } if path.ends_with("etc/link")), "{error}");
    fs::remove_file(place.paths.skeletons().join("user/load/etc/link")).unwrap();
    place.put("user/load/etc/a.tera", "");
    let error = place.render(Phase::Load).unwrap_err();
    assert!(matches!(&error, SkeletonError::Twice { path } if path.ends_with("etc/a")), "{error}");
}

#[test]
fn a_tar_has_the_files_with_their_modes_and_roots_as_owner() {
    let place = Place::new();
    let script = "user/provision/opt/run.sh";
    place.put(script, "#!/bin/sh\n");
    let mode = fs::Permissions::from_mode(0o4755);
    fs::set_permissions(place.paths.skeletons().join(script), mode).unwrap();
    let bytes = to_tar(&place.render(Phase::Provision).unwrap()).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.path().unwrap().to_str(), Some("opt/run.sh"));
    let header = entry.header();
    assert_eq!((header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0o755, 0, 0));
}
