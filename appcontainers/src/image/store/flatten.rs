//! Makes one layer of many: for an image that would have more than overlayfs should look through.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
};

use appcontainers_sys::{
    mount::{self, Overlay},
    squashfs::Options,
};

use super::{Store, StoreError};
use crate::{
    Progress,
    image::{Layer, pack},
};

impl Store {
    /// Packs what `layers`, the lowest first, show together into one layer that stands on nothing. Needs root: they are
    /// mounted, in a mount namespace of a thread's own, which takes the mounts with it.
    pub fn flatten(&self, layers: &[Layer], options: &Options, progress: &dyn Progress) -> Result<Layer, StoreError> {
        let count = layers.len();
        let failed = |doing| move |source| StoreError::Flatten { count, doing, source };
        let new = self.new_layer()?;
        let into = new.file().try_clone().map_err(failed("duplicate a file descriptor"))?;
        let run = self.paths.run();
        let place = fs::create_dir_all(run).and_then(|()| tempfile::Builder::new().prefix("flatten-").tempdir_in(run));
        let place = place.map_err(failed("make a directory for its mounts"))?;
        let merged = thread::scope(|scope| scope.spawn(|| self.mount_merged(layers, place.path())).join());
        let merged = merged.unwrap_or_else(|_| Err(io::ErrorKind::Other.into())).map_err(failed("mount them"))?;
        // The thread's namespace is gone; the descriptor alone keeps what was mounted in it.
        pack::directory(&merged, into, options, |_| Ok(()), progress)
            .map_err(|source| StoreError::PackMerged { count, source })?;
        new.finish(progress)
    }

    /// Mounts the layers and an overlay of them in a new mount namespace of this thread, which ends with it.
    fn mount_merged(&self, layers: &[Layer], place: &Path) -> io::Result<File> {
        mount::enter_slave_namespace()?;
        // Its working directory is the thread's own now, too (unshare(2)): names of a few bytes keep many layers within
        // the page of options that mount(2) takes.
        std::env::set_current_dir(place)?;
        let mut lowers: Vec<PathBuf> = Vec::with_capacity(layers.len());
        for (index, layer) in layers.iter().enumerate() {
            let target = PathBuf::from(index.to_string());
            fs::create_dir(&target)?;
            mount::squashfs(&self.open_layer(&layer.digest)?, &target)?;
            lowers.push(target);
        }
        // An overlay needs two lower directories, or one and an upper.
        fs::create_dir("empty")?;
        lowers.insert(0, PathBuf::from("empty"));
        lowers.reverse();
        let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
        fs::create_dir("merged")?;
        mount::overlay(&Overlay { lowers: &lowers, upper_and_work: None, volatile: false }, Path::new("merged"))?;
        File::open("merged")
    }
}
