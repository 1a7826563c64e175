//! Which files a new container has before it starts for the first time.

use appcontainers::BootFile;

/// Options for [`BootFile`]s.
#[derive(Debug, Default, clap::Args)]
pub(super) struct FileArgs {
    /// Put a file or directory of the host's into the container before its first start; a template if SRC ends with .tera
    #[arg(long = "file", value_name = "SRC:DEST[:MODE[:OWNER]]")]
    files: Vec<BootFile>,
}

impl FileArgs {
    pub(super) fn into_files(self) -> Vec<BootFile> {
        self.files
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}
