//! `tail [--user USER] [--lines N] [--follow] PATH`: the end of a file to standard output, and what is appended, by name:
//! a file that is renamed is read to its end, then the one that takes its name is followed, from its beginning. One
//! that shrinks is read anew.
//!
//! Waits with inotify and never wakes up for nothing. Ends when nobody reads.

mod file;
mod watch;

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::ExitCode,
};

use rustix::io::Errno;

use self::{
    file::Tailed,
    watch::{News, Watch},
};
use crate::{
    archive::printable,
    report,
    user::{self, UserError},
};

/// The first argument of this operation.
pub(crate) const WORD: &str = "tail";

/// How many lines there are unless it is said.
const DEFAULT_LINES: u64 = 10;

/// Why a file is not shown.
#[derive(Debug, thiserror::Error)]
enum TailError {
    #[error("tail takes --user USER, --lines N, --follow and one PATH")]
    Usage,
    #[error(transparent)]
    User(#[from] UserError),
    #[error("{path}: it is not a regular file")]
    NotAFile { path: String },
    #[error("{path}: {source}")]
    Read { path: String, source: Errno },
    #[error("cannot watch {path}: {source}")]
    Watch { path: String, source: Errno },
    #[error("cannot write to standard output: {source}")]
    Output { source: io::Error },
}

/// What was asked for.
struct Options {
    user: Option<String>,
    lines: u64,
    follow: bool,
    path: OsString,
}

/// Shows; the arguments are those behind the operation's name.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    match Options::parse(arguments).and_then(|options| tail(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(TailError::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            report::error(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(arguments: &[OsString]) -> Result<Self, TailError> {
        let (path, options) = arguments.split_last().ok_or(TailError::Usage)?;
        let mut parsed = Self { user: None, lines: DEFAULT_LINES, follow: false, path: path.clone() };
        let mut rest = options.iter().map(|word| word.to_str());
        while let Some(word) = rest.next() {
            match word {
                Some("--follow") => parsed.follow = true,
                Some("--user") => parsed.user = Some(rest.next().flatten().ok_or(TailError::Usage)?.to_owned()),
                Some("--lines") => {
                    let number = rest.next().flatten().and_then(|number| number.parse().ok());
                    parsed.lines = number.ok_or(TailError::Usage)?;
                }
                _ => return Err(TailError::Usage),
            }
        }
        Ok(parsed)
    }
}

fn tail(options: &Options) -> Result<(), TailError> {
    // A relative path starts from the user's home.
    let path = Path::new("/").join(user::find(options.user.as_deref())?.home).join(&options.path);
    let asked = || printable(OsStr::as_bytes(&options.path));
    let unreadable = |source| TailError::Read { path: asked(), source };
    let unwatched = |source| TailError::Watch { path: asked(), source };
    // Watched before it is read: what comes in between is seen.
    let mut watch = if options.follow { Some(Watch::begin(&path).map_err(unwatched)?) } else { None };
    let mut file = open(&path, &asked)?;
    file.skip_to_last(options.lines).map_err(unreadable)?;
    let mut stdout = io::stdout().lock();
    loop {
        pass_on(&mut file, &mut stdout, &unreadable)?;
        let Some(watched) = &mut watch else { return Ok(()) };
        if watched.wait().map_err(unwatched)? == News::Names {
            *watched = Watch::begin(&path).map_err(unwatched)?;
            pass_on(&mut file, &mut stdout, &unreadable)?;
            // What is gone may come again; until then the old one is followed.
            if let Ok(successor) = open(&path, &asked)
                && !file.is_same(&successor).map_err(unreadable)?
            {
                file = successor;
            }
        }
    }
}

fn open(path: &Path, asked: &impl Fn() -> String) -> Result<Tailed, TailError> {
    match Tailed::open(path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(TailError::NotAFile { path: asked() }),
        Err(source) => Err(TailError::Read { path: asked(), source }),
    }
}

/// Writes what is new.
fn pass_on(
    file: &mut Tailed,
    output: &mut impl Write,
    unreadable: &impl Fn(Errno) -> TailError,
) -> Result<(), TailError> {
    loop {
        let bytes = file.read().map_err(unreadable)?;
        if bytes.is_empty() {
            return output.flush().map_err(|source| TailError::Output { source });
        }
        output.write_all(bytes).map_err(|source| TailError::Output { source })?;
    }
}
