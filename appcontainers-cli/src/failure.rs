//! An error and all its causes as one line: doing what, to what: why; what to do.

use std::{io, path::Path};

use appcontainers::Error;

use crate::render::plain;

/// What is told of `error`: its line, and what a first-time user may have meant.
pub(crate) fn with_hint(error: &anyhow::Error) -> String {
    let is_root = rustix::process::geteuid().is_root();
    one_line(error) + &hint(error, is_root, |name| Path::new(name).is_file()).unwrap_or_default()
}

/// What this side of the library knows of an error's cause: who calls, and from which directory.
fn hint(error: &anyhow::Error, is_root: bool, is_file: impl Fn(&str) -> bool) -> Option<String> {
    for cause in error.chain() {
        if let Some(Error::UnknownImage { name }) = cause.downcast_ref()
            && is_file(name.as_str())
        {
            return Some(format!("; for the file of that name type ./{name}"));
        }
        if let Some(cause) = cause.downcast_ref::<io::Error>()
            && cause.kind() == io::ErrorKind::PermissionDenied
            && !is_root
        {
            return Some("; appc needs root: try again with sudo".to_owned());
        }
    }
    None
}

/// The chain of `error`, outermost first, joined by `: `. What a message advises (behind `; `)
/// comes last, and what was said once is not said again: many errors repeat their source.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut advice: Vec<String> = Vec::new();
    let messages: Vec<String> = error.chain().map(|cause| without_os_number(&plain(&cause.to_string()))).collect();
    for (i, message) in messages.iter().enumerate() {
        let is_last = i + 1 == messages.len();
        let (what, hint) = match message.split_once("; ") {
            Some((what, hint)) if !is_last => (what, Some(hint)),
            _ => (message.as_str(), None),
        };
        if let Some(hint) = hint.filter(|hint| !advice.iter().any(|known| known == hint)) {
            advice.push(hint.to_owned());
        }
        let known = said.join(": ");
        if repeats(&known, what) {
            continue;
        }
        // A cause that says its parent's words again and more takes its place.
        if said.last().is_some_and(|last| repeats(what, last)) {
            said.pop();
        }
        said.push(what.to_owned());
    }
    said.join(": ") + &advice.iter().map(|hint| format!("; {hint}")).collect::<String>()
}

/// Whether `text` has `sentence` in it, as a whole part between colons.
fn repeats(text: &str, sentence: &str) -> bool {
    let parts: Vec<&str> = text.split(": ").collect();
    let wanted: Vec<&str> = sentence.split(": ").collect();
    parts.windows(wanted.len()).any(|window| window == wanted)
}

/// `Permission denied (os error 13)` without the number, which helps nobody who reads the words.
fn without_os_number(message: &str) -> String {
    let mut rest = message;
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once(" (os error ") {
        let Some((_, after)) = after.split_once(')') else { break };
        out.push_str(before);
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::{Context as _, anyhow};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read /etc/subuid: {source}")]
    struct SaysItsSource {
        source: io::Error,
    }

    #[test]
    fn a_chain_becomes_one_line_without_repetition() {
        let source = io::Error::from_raw_os_error(13);
        let error = anyhow::Error::new(SaysItsSource { source }).context("cannot set up the host");
        assert_eq!(one_line(&error), "cannot set up the host: cannot read /etc/subuid: Permission denied");
    }

    #[test]
    fn advice_comes_after_the_reason() {
        let error = anyhow!("file not found").context("cannot load app.aimg; check the name");
        assert_eq!(one_line(&error), "cannot load app.aimg: file not found; check the name");
    }

    #[test]
    fn advice_of_the_innermost_cause_stays_where_it_is() {
        let error = anyhow!("no base debian-12; build it: appc base build debian-12").context("cannot provision web");
        let line = "cannot provision web: no base debian-12; build it: appc base build debian-12";
        assert_eq!(one_line(&error), line);
    }

    #[test]
    fn a_cause_that_says_more_than_its_parent_takes_its_place() {
        let error = anyhow!("cannot open a: disk full").context("cannot open a").context("cannot save");
        assert_eq!(one_line(&error), "cannot save: cannot open a: disk full");
    }

    #[test]
    fn a_short_cause_inside_a_longer_word_is_no_repetition() {
        let error = anyhow!("not").context("cannot do");
        assert_eq!(one_line(&error), "cannot do: not");
    }

    #[test]
    fn who_may_not_and_is_not_root_is_told_to_be() {
        let error = anyhow::Error::new(SaysItsSource { source: io::Error::from_raw_os_error(13) });
        assert_eq!(hint(&error, false, |_| false).unwrap(), "; appc needs root: try again with sudo");
        assert_eq!(hint(&error, true, |_| false), None);
    }

    #[test]
    fn a_file_without_the_ending_is_not_passed_over_in_silence() {
        let error = anyhow::Error::new(Error::UnknownImage { name: "app".parse().unwrap() });
        assert_eq!(hint(&error, true, |name| name == "app").unwrap(), "; for the file of that name type ./app");
        assert_eq!(hint(&error, true, |_| false), None);
    }

    #[test]
    fn a_hostile_message_stays_on_one_line() {
        let error = Err::<(), _>(anyhow!("bad name \x1b[2Ja\nb")).context("cannot load").unwrap_err();
        assert_eq!(one_line(&error), "cannot load: bad name \\u{1b}[2Ja\\nb");
    }
}
