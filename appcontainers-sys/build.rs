//! Generates the bindings to libsquashfs from its installed headers.

use std::{env, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=src/squashfs/libsquashfs.h");
    let library = pkg_config::Config::new()
        .atleast_version("1.2")
        .probe("libsquashfs1")
        .map_err(|error| format!("libsquashfs 1.2 or newer is needed (Debian: libsquashfs-dev): {error}"))?;
    let include = library.include_paths.iter().map(|path| format!("-I{}", path.display()));
    bindgen::Builder::default()
        .header("src/squashfs/libsquashfs.h")
        .clang_args(include)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .allowlist_function("sqfs_.*")
        .allowlist_type("SQFS_.*")
        .allowlist_var("SQFS_.*")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .generate_comments(false)
        .layout_tests(false)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
        .generate()?
        .write_to_file(PathBuf::from(env::var("OUT_DIR")?).join("libsquashfs.rs"))?;
    Ok(())
}
