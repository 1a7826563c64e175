//! Directories with the mode that was meant, whatever the umask says.

use std::{
    fs::{DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

/// Creates one directory with exactly this mode; its parent must exist. `false` if it was there
/// already: then it is left as it is.
pub fn create_directory(path: &Path, mode: u32) -> io::Result<bool> {
    // With its mode from the start: whoever is killed before a second step would leave it closed for good.
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            // A umask takes bits from mkdir's mode, not from chmod's.
            if path.metadata()?.permissions().mode() & 0o7777 != mode {
                std::fs::set_permissions(path, Permissions::from_mode(mode))?;
            }
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_directory_has_its_mode_and_is_left_alone_the_second_time() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("d");
        assert!(create_directory(&path, 0o711).unwrap());
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o711);
        std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        assert!(!create_directory(&path, 0o711).unwrap());
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_file_in_a_directorys_place_is_an_error() {
        let place = tempfile::NamedTempFile::new().unwrap();
        assert!(create_directory(place.path(), 0o711).is_err());
    }
}
