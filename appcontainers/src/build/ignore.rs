//! What copies leave out: patterns as `.gitignore` has them. Pure.

/// Patterns; the last one that fits decides.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    pattern: Vec<u8>,
    takes_back: bool,
    only_directories: bool,
    /// It is for the whole path, not for the last name in it.
    is_path: bool,
}

impl Ignore {
    pub(super) fn new<'a>(patterns: impl IntoIterator<Item = &'a String>) -> Self {
        let rule = |text: &String| {
            let (takes_back, text) = text.strip_prefix('!').map_or((false, text.as_str()), |rest| (true, rest));
            let (only_directories, text) = text.strip_suffix('/').map_or((false, text), |rest| (true, rest));
            let text = text.strip_prefix("./").unwrap_or(text);
            let pattern = text.strip_prefix('/').unwrap_or(text).as_bytes().to_vec();
            Rule { pattern, takes_back, only_directories, is_path: text.contains('/') }
        };
        Self { rules: patterns.into_iter().map(rule).collect() }
    }

    /// Whether a path, relative to the directory of the app file, is left out. What is below a directory that is left out is
    /// not asked for.
    pub(super) fn leaves_out(&self, path: &[u8], is_directory: bool) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let fits = |rule: &&Rule| {
            (is_directory || !rule.only_directories) && fits(&rule.pattern, if rule.is_path { path } else { name })
        };
        self.rules.iter().rev().find(fits).is_some_and(|rule| !rule.takes_back)
    }
}

/// `*` is any part of a name, `?` a byte of it, `**` anything; `**/` also nothing.
fn fits(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', b'/', rest @ ..] => {
            let starts = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
            fits(rest, path) || starts.into_iter().any(|at| fits(rest, &path[at..]))
        }
        [b'*', b'*', rest @ ..] => (0..=path.len()).any(|at| fits(rest, &path[at..])),
        [b'*', rest @ ..] => {
            let end = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=end).any(|at| fits(rest, &path[at..]))
        }
        [b'?', rest @ ..] => path.split_first().is_some_and(|(first, path)| *first != b'/' && fits(rest, path)),
        [byte, rest @ ..] => path.split_first().is_some_and(|(first, path)| first == byte && fits(rest, path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(patterns: &[&str], path: &str) -> bool {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let (path, is_directory) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        Ignore::new(&patterns).leaves_out(path.as_bytes(), is_directory)
    }

    #[test]
    fn a_name_fits_everywhere_and_a_path_from_the_top() {
        assert!(left_out(&["target"], "target/"));
        assert!(left_out(&["target"], "a/b/target"));
        assert!(!left_out(&["target"], "targets"));
        assert!(left_out(&["/target"], "target"));
        assert!(!left_out(&["/target"], "a/target"));
        assert!(left_out(&["a/*.log"], "a/x.log"));
        assert!(left_out(&["./a/*.log"], "a/x.log"));
        assert!(!left_out(&["a/*.log"], "b/a/x.log"));
        assert!(!left_out(&["a/*.log"], "a/b/x.log"));
    }

    #[test]
    fn two_stars_cross_directories() {
        assert!(left_out(&["**/x"], "x"));
        assert!(left_out(&["**/x"], "a/b/x"));
        assert!(left_out(&["a/**/x"], "a/x"));
        assert!(left_out(&["a/**"], "a/b/c"));
        assert!(!left_out(&["**/x"], "a/bx"));
    }

    #[test]
    fn the_last_that_fits_decides_and_directories_can_be_meant_alone() {
        assert!(left_out(&["*.log", "!keep.log"], "a.log"));
        assert!(!left_out(&["*.log", "!keep.log"], "keep.log"));
        assert!(left_out(&["!keep.log", "*.log"], "keep.log"));
        assert!(left_out(&["build/"], "build/"));
        assert!(!left_out(&["build/"], "build"));
        assert!(left_out(&["?"], "x"));
        assert!(!left_out(&["?"], "xy"));
    }
}
