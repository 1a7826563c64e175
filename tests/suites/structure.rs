//! What the project says of its own structure is true.

use std::{fs, path::Path};

#[test]
fn the_architecture_names_every_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let list = |name: &str| manifest.split_once(&format!("{name} = [")).unwrap().1.split_once(']').unwrap().0;
    let names = [list("members"), list("exclude")].map(|names| names.split('"').skip(1).step_by(2));
    let names: Vec<_> = names.into_iter().flatten().collect();
    assert!(names.len() >= 10, "{names:?}");
    for member in names {
        assert!(architecture.contains(&format!("`{member}")), "ARCHITECTURE.md does not name {member}");
    }
}

#[test]
fn the_architecture_names_every_module_of_the_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let library = fs::read_to_string(root.join("appcontainers/src/lib.rs")).unwrap();
    let modules =
        library.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    let table: Vec<_> = architecture.lines().filter(|line| line.starts_with("| `")).collect();
    let names: Vec<_> = modules.collect();
    assert!(names.len() > 20, "{names:?}");
    for module in names {
        let named =
            table.iter().any(|row| row.split('|').nth(1).is_some_and(|cell| cell.contains(&format!("`{module}`"))));
        assert!(named, "no table of ARCHITECTURE.md names the module {module}");
    }
}

#[test]
fn unsafe_code_is_in_one_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut looked_at = 0;
    for member in [
        "appcontainers",
        "appcontainers-cli",
        "appcontainers-monitor",
        "appcontainers-tools",
        "appcontainers-wire",
        "appcontainers-zmq-proxy",
    ] {
        let mut directories = vec![root.join(member).join("src")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    looked_at += 1;
                    let text = fs::read_to_string(&path).unwrap();
                    assert!(!text.contains("unsafe {") && !text.contains("unsafe fn"), "unsafe in {}", path.display());
                }
            }
        }
    }
    assert!(looked_at > 100, "{looked_at}");
}
