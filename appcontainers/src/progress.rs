//! How a long operation says how far it is.

use std::io::{self, Read};

/// Hears how far a long operation is. Steps follow one another; they don't nest.
///
/// # Examples
///
/// ```
/// use appcontainers::Progress;
///
/// /// Says what begins, and no more.
/// struct Steps;
///
/// impl Progress for Steps {
///     fn begin(&self, what: &str, total_bytes: Option<u64>) {
///         println!("{what} {total_bytes:?}");
///     }
///     fn advance(&self, _bytes: u64) {}
///     fn end(&self) {}
/// }
///
/// Steps.begin("copying layers", Some(4096));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Progress {
    /// A step begins; `what` is a phrase like `copying layers`. The total may be unknown.
    fn begin(&self, what: &str, total_bytes: Option<u64>);
    /// So many bytes more are done.
    fn advance(&self, bytes: u64);
    /// The step is over, successfully or not.
    fn end(&self);
    /// Says what was found or is done next, in a line for people. Nothing unless it is asked for.
    fn say(&self, line: &str) {
        let _ = line;
    }
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _what: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
}

/// One step: begun when made, ended when dropped.
pub(crate) struct Step<'p>(&'p dyn Progress);

impl<'p> Step<'p> {
    pub(crate) fn begin(progress: &'p dyn Progress, what: &str, total_bytes: Option<u64>) -> Self {
        progress.begin(what, total_bytes);
        Self(progress)
    }

    pub(crate) fn advance(&self, bytes: u64) {
        self.0.advance(bytes);
    }

    /// A reader that advances the step by what is read through it.
    pub(crate) fn reading<'s, R: Read>(&'s self, inner: R) -> Reading<'s, 'p, R> {
        Reading { step: self, inner }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// See [`Step::reading`].
pub(crate) struct Reading<'s, 'p, R> {
    step: &'s Step<'p>,
    inner: R,
}

impl<R: Read> Read for Reading<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.step.advance(count as u64);
        Ok(count)
    }
}
