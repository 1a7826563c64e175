//! A tree of files of the user's own, rendered as those of the skeleton.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{SkeletonContext, SkeletonError, find, template::Renderer};

/// A file that a container may get.
#[derive(Debug)]
pub(crate) struct TreeFile {
    /// On the host.
    pub(crate) path: PathBuf,
    /// Its permissions.
    pub(crate) mode: u32,
    is_template: bool,
}

impl TreeFile {
    /// One file; a template if it is called so.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let mode = fs::metadata(path)?.permissions().mode() & 0o777;
        let is_template = path.extension().is_some_and(|ending| ending == "tera");
        Ok(Self { path: path.to_owned(), mode, is_template })
    }

    /// What a template gives; nothing for any other file, which is to be taken as it is.
    pub(crate) fn render(&self, context: &SkeletonContext) -> Result<Option<Vec<u8>>, SkeletonError> {
        if !self.is_template {
            return Ok(None);
        }
        Renderer::new(context).render(&self.path, find::read(&self.path)?).map(Some)
    }
}

/// All files below a directory, by their paths in it, those of templates without their ending. Symbolic links are refused.
pub(crate) fn tree(top: &Path) -> Result<BTreeMap<PathBuf, TreeFile>, SkeletonError> {
    let file =
        |source: find::Source| TreeFile { path: source.path, mode: source.mode, is_template: source.is_template };
    Ok(find::walk(top)?.into_iter().map(|(inside, source)| (inside, file(source))).collect())
}
