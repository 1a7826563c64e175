//! Why a base could not be built or imported.

use std::{io, path::PathBuf, process::ExitStatus};

use crate::{
    archive::ArchiveError,
    image::{InvalidConfig, InvalidSuperblock, StoreError, pack::PackError},
};

/// Why a base could not be built or imported. Nothing was registered then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// There is no such recipe.
    #[error("there is no recipe {recipe:?}; there are {}; or give the path of a .toml file", known.join(", "))]
    UnknownRecipe {
        /// What was asked for.
        recipe: String,
        /// The recipes that are built in.
        known: Vec<String>,
    },
    /// A recipe file can't be read.
    #[error("cannot read recipe {}", path.display())]
    ReadRecipe {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A recipe is malformed.
    #[error("recipe {name} is malformed")]
    Recipe {
        /// The recipe.
        name: String,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A recipe's configuration is refused.
    #[error("the configuration in recipe {name} is refused")]
    RecipeConfig {
        /// The recipe.
        name: String,
        /// Why.
        #[source]
        source: InvalidConfig,
    },
    /// A program or file that the recipe needs is not on this host.
    #[error("{} is missing: install the package {package}", path.display())]
    Missing {
        /// The program or file.
        path: PathBuf,
        /// The package that has it.
        package: String,
    },
    /// busybox needs libraries, which a base does not have.
    #[error("{} is dynamically linked, so it can't run in a base of its own: install the package {package}", path.display())]
    NotStatic {
        /// The program.
        path: PathBuf,
        /// The package that has a static one.
        package: String,
    },
    /// A program could not be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed ({status}): {said}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last of what it said on stderr.
        said: String,
    },
    /// What shall be imported can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What shall be imported is neither a file nor a directory.
    #[error("{} is neither a file nor a directory", path.display())]
    NotImportable {
        /// What it is.
        path: PathBuf,
    },
    /// An `.aimg` is loaded, not imported.
    #[error("{} is an .aimg: load it with load-image", path.display())]
    IsAnImage {
        /// The file.
        path: PathBuf,
    },
    /// No name was given, and the file's name makes none.
    #[error("{} makes no name for a base; give one", path.display())]
    NoName {
        /// The file.
        path: PathBuf,
    },
    /// The archive is refused.
    #[error("cannot import {}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ArchiveError,
    },
    /// The squashfs is refused.
    #[error("cannot import {}", path.display())]
    Squashfs {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: InvalidSuperblock,
    },
    /// The base could not be packed.
    #[error("cannot pack {what}")]
    Pack {
        /// The recipe's program or the imported file.
        what: String,
        /// Why.
        #[source]
        source: PackError,
    },
    /// The new layer's descriptor could not be duplicated.
    #[error("cannot duplicate a file descriptor")]
    Duplicate(#[source] io::Error),
    /// The store refused.
    #[error("cannot store the base")]
    Store(#[source] StoreError),
}
