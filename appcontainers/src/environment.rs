//! Variables for a container's commands, in the words of a command line and of files.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

/// The most bytes of a file of variables.
const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Why variables can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// A file can't be read.
    #[error("cannot read the variables in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file is too long.
    #[error("{} has more than {MAX_FILE_BYTES} bytes: that is no file of variables", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A line of a file.
    #[error("{}, line {line}: use KEY=VALUE, or KEY alone for its value here; a KEY has no blanks", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// A word of the command line.
    #[error("{text:?} is no variable: use KEY=VALUE, or KEY alone for its value here; a KEY has no blanks")]
    Word {
        /// What was said.
        text: String,
    },
}

/// The variables of some files, and over them those of `words`; of equal ones the last counts.
///
/// A word, and a line of a file, is `KEY=VALUE`, or `KEY` alone: then it has the value that it has in this process, and is left out
/// where it has none (or one that is no UTF-8). In files, empty lines and those that begin with `#` are left out, and blanks before a
/// key. All behind the first `=` is the value: quotes, `$`, `#` and blanks are nothing special. This is how podman and Docker read them.
///
/// # Examples
///
/// ```
/// let place = tempfile::tempdir()?;
/// let file = place.path().join("app.env");
/// std::fs::write(&file, "# of the app\nGREETING=\"hello\" # there\nLANG=C\n")?;
/// let variables = appcontainers::environment::collect(&[file], &["LANG=C.UTF-8".to_owned()])?;
/// assert_eq!(variables["GREETING"], "\"hello\" # there");
/// assert_eq!(variables["LANG"], "C.UTF-8");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn collect(files: &[PathBuf], words: &[String]) -> Result<BTreeMap<String, String>, EnvironmentError> {
    let mut variables = BTreeMap::new();
    for path in files {
        let bytes = fs::read(path).map_err(|source| EnvironmentError::Read { path: path.clone(), source })?;
        if bytes.len() > MAX_FILE_BYTES {
            return Err(EnvironmentError::TooLarge { path: path.clone() });
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let source = io::Error::new(io::ErrorKind::InvalidData, error.utf8_error());
            EnvironmentError::Read { path: path.clone(), source }
        })?;
        variables.extend(lines(path, &text, |key| env::var(key).ok())?);
    }
    for word in words {
        let variable = variable(word, |key| env::var(key).ok());
        variables.extend(variable.ok_or_else(|| EnvironmentError::Word { text: word.clone() })?);
    }
    Ok(variables)
}

fn lines(
    path: &Path,
    text: &str,
    here: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, EnvironmentError> {
    let mut variables = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let found = variable(line, &here);
        variables.extend(found.ok_or_else(|| EnvironmentError::Line { path: path.to_owned(), line: index + 1 })?);
    }
    Ok(variables)
}

/// None: it is no variable. `Some(None)`: it is one, and has no value here.
fn variable(text: &str, here: impl Fn(&str) -> Option<String>) -> Option<Option<(String, String)>> {
    let (key, value) = text.split_once('=').map_or((text.trim_end(), None), |(key, value)| (key, Some(value)));
    if key.is_empty() || key.contains(char::is_whitespace) || key.contains('\0') {
        return None;
    }
    let value = value.map(str::to_owned).or_else(|| here(key));
    Some(value.map(|value| (key.to_owned(), value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_podman_reads_it() {
        let text = "\u{feff}# comment\n\n  A=1\nB=\"x y\" # no comment\nC=\nHERE\nNOT_HERE\nD=a=b\r\n  # another\n";
        let here = |key: &str| (key == "HERE").then(|| "yes".to_owned());
        let found = lines(Path::new("f"), text, here).unwrap();
        let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, [("A", "1"), ("B", "\"x y\" # no comment"), ("C", ""), ("HERE", "yes"), ("D", "a=b")]);
    }

    #[test]
    fn what_is_no_variable_is_named_with_its_line() {
        for bad in ["A=1\n=x\n", "A=1\nexport B=2\n", "A=1\nB C\n"] {
            let error = lines(Path::new("app.env"), bad, |_| None).unwrap_err().to_string();
            assert!(error.starts_with("app.env, line 2:"), "{error}");
        }
        assert!(matches!(collect(&[], &["=b".to_owned()]), Err(EnvironmentError::Word { .. })));
    }
}
