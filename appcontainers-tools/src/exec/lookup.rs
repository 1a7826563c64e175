//! Which file a command is: the search in `PATH` that execvp(3) does, with a reason when it finds none.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use appcontainers_wire::SpawnFailure;
use rustix::fs::{Access, AtFlags, CWD};

/// The file of `program`: itself if it has a slash, else the first executable file of that name in `path`.
pub(super) fn find(program: &str, path: OsString) -> Result<PathBuf, SpawnFailure> {
    if program.contains('/') {
        return find_file(Path::new(program));
    }
    let mut refusal = io::Error::from(io::ErrorKind::NotFound);
    if !program.is_empty() {
        for directory in std::env::split_paths(&path) {
            let candidate =
                if directory.as_os_str().is_empty() { Path::new(".").join(program) } else { directory.join(program) };
            match check(&candidate) {
                Ok(()) => return Ok(candidate),
                Err(error) if is_absence(&error) => {}
                Err(error) => refusal = error,
            }
        }
    }
    Err(failure(program, &refusal))
}

/// The program at this very path.
pub(super) fn find_file(path: &Path) -> Result<PathBuf, SpawnFailure> {
    check(path).map(|()| path.to_owned()).map_err(|error| failure(&path.display().to_string(), &error))
}

fn check(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::empty())?)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn failure(program: &str, error: &io::Error) -> SpawnFailure {
    let program = program.to_owned();
    if is_absence(error) {
        SpawnFailure::NotFound { program }
    } else {
        SpawnFailure::NotExecutable { program, why: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(path: &Path, mode: u32) {
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_search_goes_on_behind_a_file_that_is_not_executable_and_says_so_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
        for path in [&first, &second] {
            fs::create_dir(path).unwrap();
        }
        let path = std::env::join_paths([&first, &second]).unwrap();
        assert!(matches!(find("tool", path.clone()), Err(SpawnFailure::NotFound { .. })));
        file(&first.join("tool"), 0o644);
        assert!(matches!(find("tool", path.clone()), Err(SpawnFailure::NotExecutable { .. })));
        file(&second.join("tool"), 0o755);
        assert_eq!(find("tool", path).unwrap(), second.join("tool"));
    }

    #[test]
    fn a_directory_is_no_command_and_a_missing_one_is_not_found() {
        assert!(matches!(find("/usr", OsString::new()), Err(SpawnFailure::NotExecutable { .. })));
        assert!(matches!(find("/no/such", OsString::new()), Err(SpawnFailure::NotFound { .. })));
        assert!(matches!(find("/dev/null/x", OsString::new()), Err(SpawnFailure::NotFound { .. })));
        assert!(matches!(find("", "/bin".into()), Err(SpawnFailure::NotFound { .. })));
        assert!(matches!(find("..", "/bin".into()), Err(SpawnFailure::NotExecutable { .. })));
    }
}
