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

#[test]
fn the_tests_that_docs_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    let mut named = 0;
    for row in rows {
        let cell = row.split('|').nth(2).unwrap();
        let tests: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "a promise without a test: {row}");
        for test in tests {
            let (suite, name) = test.split_once(": ").unwrap_or_else(|| panic!("{test:?} is no SUITE: TEST"));
            let path = root.join(format!("tests/suites/{suite}.rs"));
            let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(source.contains(&format!("#[test]\nfn {name}() {{")), "{} has no test {name}", path.display());
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
}
