//! Reads an app file, and says at which line and column it is wrong.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::IgnoredAny};
use toml::Spanned;

use super::{AppFile, Copy};
use crate::image::{ImageConfig, InvalidConfig};

/// The largest app file that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why an app file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppFileError {
    /// It can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It is not what an app file is.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong, and what could be meant.
        message: String,
    },
}

/// Where things are in the text.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Positions {
    image: Option<Spanned<IgnoredAny>>,
    env: Option<Spanned<IgnoredAny>>,
    user: Option<Spanned<IgnoredAny>>,
    working_dir: Option<Spanned<IgnoredAny>>,
    startup: Option<Spanned<IgnoredAny>>,
    labels: Option<Spanned<IgnoredAny>>,
    provides: Option<Spanned<IgnoredAny>>,
    consumes: Option<Spanned<IgnoredAny>>,
    steps: Vec<Spanned<IgnoredAny>>,
    files: Vec<Spanned<IgnoredAny>>,
    container: Option<Spanned<IgnoredAny>>,
}

/// A text, and what it is called.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl AppFile {
    /// Reads an app file.
    pub fn read(path: &Path) -> Result<Self, AppFileError> {
        let failed = |source| AppFileError::Read { path: path.to_owned(), source };
        let length = fs::metadata(path).map_err(failed)?.len();
        if length > MAX_BYTES {
            return Err(failed(io::Error::other(format!("it has {length} bytes; {MAX_BYTES} are the limit"))));
        }
        Self::parse(&fs::read_to_string(path).map_err(failed)?, path)
    }

    /// Understands the text of the app file at `path`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use appcontainers::AppFile;
    ///
    /// let file = AppFile::parse("base = 'busybox'\n[[steps]]\nrun = 'echo hello > /greeting'\n", Path::new("appc.toml"))?;
    /// assert_eq!(file.steps[0].line, 2);
    /// let error = AppFile::parse("\nbsae = 'busybox'\n", Path::new("appc.toml")).unwrap_err();
    /// assert!(error.to_string().starts_with("appc.toml:2:1: unknown key `bsae`, did you mean `base`?"));
    /// # Ok::<(), appcontainers::build::AppFileError>(())
    /// ```
    pub fn parse(text: &str, path: &Path) -> Result<Self, AppFileError> {
        let source = Source { text, path };
        let mut file: Self = toml::from_str(text).map_err(|error| source.refused(&error))?;
        let positions: Positions = toml::from_str(text).map_err(|error| source.refused(&error))?;
        path.clone_into(&mut file.path);
        for (step, position) in file.steps.iter_mut().zip(&positions.steps) {
            step.line = source.position(position.span().start).0;
            if let Some(copy) = &mut step.copy {
                copy.line = step.line;
            }
        }
        for (copy, position) in file.files.iter_mut().zip(&positions.files) {
            copy.line = source.position(position.span().start).0;
        }
        source.check(&file, &positions)?;
        Ok(file)
    }
}

impl Source<'_> {
    /// What the types don't say.
    fn check(&self, file: &AppFile, positions: &Positions) -> Result<(), AppFileError> {
        if file.base.is_some() && file.image.is_some() {
            return Err(self.wrong(positions.image.as_ref(), "an image starts from `base` or from `image`, not both"));
        }
        file.config(&ImageConfig::default()).validate().map_err(|error| {
            let place = match &error {
                InvalidConfig::VariableName { .. } => &positions.env,
                InvalidConfig::RelativeWorkingDir { .. } => &positions.working_dir,
                InvalidConfig::Port { .. } => &positions.provides,
                InvalidConfig::Text { field, .. } => match *field {
                    "an environment variable's name" | "an environment variable's value" => &positions.env,
                    "the working directory" => &positions.working_dir,
                    "the user" => &positions.user,
                    "a startup command" => &positions.startup,
                    "a label's name" | "a label's value" => &positions.labels,
                    "a provided service" => &positions.provides,
                    _ => &positions.consumes,
                },
            };
            self.wrong(place.as_ref(), &error.to_string())
        })?;
        for (step, position) in file.steps.iter().zip(&positions.steps) {
            let wrong = |message: &str| self.wrong(Some(position), message);
            match (&step.run, &step.copy) {
                (Some(run), None) if run.trim().is_empty() => return Err(wrong("`run` is empty")),
                (Some(run), None) if run.contains('\0') => return Err(wrong("`run` has a NUL character")),
                (Some(_), None) => {
                    let config = ImageConfig {
                        env: step.env.clone(),
                        user: step.user.clone(),
                        working_dir: step.working_dir.clone(),
                        ..ImageConfig::default()
                    };
                    config.validate().map_err(|error| wrong(&error.to_string()))?;
                }
                (None, Some(copy)) => {
                    check_copy(copy).map_err(|message| wrong(&message))?;
                    let is_plain = step.env.is_empty() && step.user.is_none() && step.working_dir.is_none();
                    if !is_plain || step.network != Default::default() {
                        return Err(wrong("`env`, `user`, `working_dir` and `network` are for `run`, not for `copy`"));
                    }
                }
                _ => return Err(wrong("a step has either `run` or `copy`")),
            }
        }
        for (copy, position) in file.files.iter().zip(&positions.files) {
            check_copy(copy).map_err(|message| self.wrong(Some(position), &message))?;
        }
        let of_container = |message: &str| self.wrong(positions.container.as_ref(), message);
        let env = ImageConfig { env: file.container.env.clone(), ..ImageConfig::default() };
        env.validate().map_err(|error| of_container(&error.to_string()))?;
        file.container.check().map_err(|message| of_container(&message))
    }

    fn wrong(&self, at: Option<&Spanned<IgnoredAny>>, message: &str) -> AppFileError {
        self.error(at.map_or(0..0, Spanned::span), message.to_owned())
    }

    fn refused(&self, error: &toml::de::Error) -> AppFileError {
        self.error(error.span().unwrap_or(0..0), with_nearest(error.message()))
    }

    fn error(&self, span: Range<usize>, message: String) -> AppFileError {
        let (line, column) = self.position(span.start);
        AppFileError::Invalid { path: self.path.to_owned(), line, column, message }
    }

    /// Line and column, from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let last = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[last..].chars().count() + 1)
    }
}

fn check_copy(copy: &Copy) -> Result<(), String> {
    let Copy { from, to, owner, .. } = copy;
    let leads_out = |path: &str| path.split('/').any(|part| part == "..") || path.contains('\0');
    if from.is_empty() || from.starts_with('/') || leads_out(from) {
        return Err(format!("`from` is {from:?}: name what is below the directory of this file, without `..`"));
    }
    if !to.starts_with('/') || leads_out(to) {
        return Err(format!("`to` is {to:?}: write an absolute path, without `..`"));
    }
    match owner {
        Some(owner) if owner.is_empty() || owner.contains(char::is_control) => {
            Err(format!("`owner` is {owner:?}: write USER, USER:GROUP, or numbers"))
        }
        _ => Ok(()),
    }
}

/// What serde says of an unknown key, with the nearest that there is instead of all of them.
fn with_nearest(message: &str) -> String {
    let Some((kind, rest)) = ["field", "variant"].iter().find_map(|kind| {
        let rest = message.strip_prefix("unknown ")?.strip_prefix(kind)?;
        Some((*kind, rest))
    }) else {
        return message.trim_end().replace('\n', "; ");
    };
    let mut words = rest.split('`').skip(1).step_by(2);
    let unknown = words.next().unwrap_or_default();
    let known: Vec<&str> = words.collect();
    let what = if kind == "field" { "key" } else { "word" };
    let nearest = known.iter().map(|word| (distance(unknown, word), word)).min();
    match nearest {
        Some((distance, word)) if distance <= 1 + unknown.chars().count() / 3 => {
            format!("unknown {what} `{unknown}`, did you mean `{word}`?")
        }
        _ => format!("unknown {what} `{unknown}`; there are: {}", known.join(", ")),
    }
}

/// How many letters must be added, taken away, exchanged for another, or for their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for at in 0..=one.len() {
        for to in 0..=other.len() {
            rows[at][to] = match (at, to) {
                (0, length) | (length, 0) => length,
                _ => {
                    let differs = usize::from(one[at - 1] != other[to - 1]);
                    let mut least =
                        (rows[at - 1][to] + 1).min(rows[at][to - 1] + 1).min(rows[at - 1][to - 1] + differs);
                    if at > 1 && to > 1 && one[at - 1] == other[to - 2] && one[at - 2] == other[to - 1] {
                        least = least.min(rows[at - 2][to - 2] + 1);
                    }
                    least
                }
            };
        }
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<AppFile, String> {
        AppFile::parse(text, Path::new("appc.toml")).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(text: &str, beginning: &str) {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(beginning), "{error}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest() {
        refused("\n\nbsae = 'x'", "appc.toml:3:1: unknown key `bsae`, did you mean `base`?");
        refused("[[steps]]\n  rnu = 'x'", "appc.toml:2:3: unknown key `rnu`, did you mean `run`?");
        refused("[container]\npublsh = []", "appc.toml:2:1: unknown key `publsh`, did you mean `publish`?");
        refused("files = [{ form = 'a', to = '/b' }]", "appc.toml:1:12: unknown key `form`, did you mean `from`?");
        refused("entirely_other = 1", "appc.toml:1:1: unknown key `entirely_other`; there are: name, base, ");
        refused("[[steps]]\nrun = 'x'\nnetwork = 'nnoe'", "appc.toml:3:11: unknown word `nnoe`, did you mean `none`?");
    }

    #[test]
    fn what_is_of_the_wrong_type_or_value_is_named_with_its_place() {
        refused("base = 1", "appc.toml:1:8: invalid type: integer `1`, expected a string");
        refused("base = 'A b'", "appc.toml:1:8: \"A b\" is not a name");
        refused("steps = 'x'", "appc.toml:1:9: invalid type: string \"x\", expected a sequence");
        refused("[container]\n\npublish = ['80', '8080']", "appc.toml:3:");
        refused("[[files]]\nfrom = 'a'\nto = '/b'\nmode = 'rwx'", "appc.toml:4:8: \"rwx\" is no mode");
        refused("[[files]]\nfrom = 'a'", "appc.toml:1:1: missing field `to`");
        refused("base = 'a'\nbase = 'b'", "appc.toml:2:1: duplicate key");
        refused("= 1", "appc.toml:1:1: ");
        refused("base = 'ä\n", "appc.toml:1:");
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_place() {
        refused("base = 'a'\nimage = 'b'", "appc.toml:2:9: an image starts from `base` or from `image`, not both");
        refused("\n[[steps]]\n", "appc.toml:2:1: a step has either `run` or `copy`");
        refused("[[steps]]\nrun = ' '", "appc.toml:1:1: `run` is empty");
        refused("[[steps]]\ncopy = { from = '../a', to = '/a' }", "appc.toml:1:1: `from` is \"../a\"");
        refused("[[steps]]\ncopy = { from = '/a', to = '/a' }", "appc.toml:1:1: `from` is \"/a\"");
        refused("[[steps]]\ncopy = { from = 'a', to = 'a' }", "appc.toml:1:1: `to` is \"a\"");
        refused("[[steps]]\ncopy = { from = 'a', to = '/a' }\nuser = 'x'", "appc.toml:1:1: `env`, `user`");
        refused("user = 'x'\nworking_dir = 'y'", "appc.toml:2:15: working directory \"y\" is not absolute");
        refused("[provides]\nweb = '0'", "appc.toml:1:1: service \"web\" has port \"0\"");
    }

    #[test]
    fn steps_know_their_lines() {
        let file = parse("\n[[steps]]\nrun = 'a'\n\n[[steps]]\ncopy = { from = 'a', to = '/b' }\n").unwrap();
        assert_eq!(file.steps.iter().map(|step| step.line).collect::<Vec<_>>(), [2, 5]);
        let file = parse("steps = [\n  { run = 'a' },\n  { run = 'b' },\n]\n").unwrap();
        assert_eq!(file.steps.iter().map(|step| step.line).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(file.ignore, [".git", "*.aimg"]);
    }

    #[test]
    fn what_a_container_can_t_be_given_is_said() {
        for (lines, wrong) in [
            ("health = {}", "`health` has either"),
            ("health = { command = 'x', port = 1 }", "`health` has either"),
            ("health = { port = 1, retries = 0 }", "a health check fails after one try"),
            ("wait = { timeout = 1 }", "there is nothing to wait for"),
            ("wait = { http = '/' }", "`wait` has `http`, and no `port`"),
            ("volumes = ['a:/x']\nbinds = ['/b:/x']", "`volumes` and `binds` have two things at /x"),
            ("volume_sizes = { a = '1G' }", "`volume_sizes` has a, which is not in `volumes`"),
            ("after = ['db', 'db:healthy']", "it is to be started after db twice"),
            ("on_start = ''", "on-start is empty"),
        ] {
            refused(&format!("[container]\n{lines}"), &format!("appc.toml:1:1: {wrong}"));
        }
        refused("[container]\nenv = { 'A=B' = '1' }", "appc.toml:1:1: ");
        refused("[container]\nvolumes = ['data']", "appc.toml:2:11: \"data\" is no mount");
        let error = parse("[container]\nhealth = { port = 1, interval = '3' }").unwrap_err();
        assert!(error.starts_with("appc.toml:2:") && error.contains("\"3\" is no time"), "{error}");
        parse("[container]\nhealth = { port = 1 }\nwait = { timeout = 1 }").unwrap();
    }

    #[test]
    fn words_are_as_far_apart_as_they_are_mistyped() {
        for (one, other, far) in [("", "", 0), ("a", "", 1), ("base", "bsae", 1), ("run", "ran", 1), ("env", "user", 4)]
        {
            assert_eq!(distance(one, other), far, "{one} {other}");
            assert_eq!(distance(other, one), far, "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in "[a-z\\[\\]{}=\"'\n .0-9ä]{0,200}") {
            let _ = parse(&text);
        }
    }
}
