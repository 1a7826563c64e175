//! Taking times: each side in turn, medians in the end.

use std::{
    cmp::Ordering,
    fs::File,
    io::{Read as _, Seek as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// Does one thing once and says how long the part of it took that counts.
pub(crate) type Contender<'a> = Box<dyn FnMut() -> anyhow::Result<Duration> + 'a>;

/// The contenders' medians over `rounds` rounds in which each has one turn; a round before them is not counted.
pub(crate) fn in_turns(rounds: usize, contenders: &mut [Contender<'_>]) -> anyhow::Result<Vec<Duration>> {
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..=rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let time = contender()?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    Ok(times.into_iter().map(median).collect())
}

/// The one in the middle.
pub(crate) fn median<T: PartialOrd + Copy + Default>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// From fork to exit, as the user's shell sees it.
pub(crate) fn timed(command: &mut Command) -> anyhow::Result<Duration> {
    let mut said = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
    let begin = Instant::now();
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    let time = begin.elapsed();
    if !status.success() {
        bail!("{command:?} failed, {status}: {}", read_all(&mut said));
    }
    Ok(time)
}

/// From the first fork to the last exit of two programs, the second of which reads what the first one prints.
pub(crate) fn timed_into(first: &mut Command, second: &mut Command) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let mut writer = first.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let pipe = writer.stdout.take().context("a child has no standard output")?;
    let read = second.stdin(pipe).stdout(Stdio::null()).status()?;
    let written = writer.wait()?;
    let time = begin.elapsed();
    if !written.success() || !read.success() {
        bail!("{first:?} into {second:?} failed: {written}, {read}");
    }
    Ok(time)
}

/// Runs a program to its end and gives what it printed.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    // Not a pipe for standard error: what a program leaves running in the background may hold it open.
    let mut said = tempfile::tempfile()?;
    let mut printed = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(printed.try_clone()?).stderr(said.try_clone()?);
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed, {status}: {}", read_all(&mut said));
    }
    Ok(read_all(&mut printed))
}

fn read_all(file: &mut File) -> String {
    let mut text = Vec::new();
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut text));
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_is_not_counted() -> anyhow::Result<()> {
        let mut turn = 0;
        let medians = in_turns(
            3,
            &mut [Box::new(|| {
                turn += 1;
                Ok(Duration::from_secs([1000, 3, 1, 2][turn - 1]))
            })],
        )?;
        assert_eq!(medians, [Duration::from_secs(2)]);
        Ok(())
    }

    #[test]
    fn a_command_that_fails_is_no_measurement() {
        let error = timed(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).err().map(|e| e.to_string());
        assert!(error.is_some_and(|said| said.contains("broken")));
    }
}
