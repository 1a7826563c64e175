//! Progress on standard error: only on a terminal, and only for what takes over half a second.

use std::{
    borrow::Cow,
    fmt,
    io::{IsTerminal, stderr},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use appcontainers::Progress;
use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::{render, stdio};

/// How long work goes on before it is worth a bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often a bar moves when nothing else moves it.
const TICK: Duration = Duration::from_millis(100);

/// Shows one bar at a time.
#[derive(Default)]
pub(crate) struct Bars {
    current: Mutex<Option<Bar>>,
}

/// A bar that becomes visible when [`PATIENCE`] has run out, unless it has ended by then.
struct Bar {
    bar: ProgressBar,
    waiter: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Bar {
    fn begin(what: &str, total_bytes: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(total_bytes, ProgressDrawTarget::hidden());
        bar.set_style(style(total_bytes.is_some()));
        bar.set_message(Cow::Owned(what.to_owned()));
        let waiter = stderr().is_terminal().then(|| {
            let (ended, end) = mpsc::channel();
            let shown = bar.clone();
            let thread = thread::spawn(move || {
                if end.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                    shown.set_draw_target(ProgressDrawTarget::stderr());
                    shown.enable_steady_tick(TICK);
                }
            });
            (ended, thread)
        });
        Self { bar, waiter }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some((ended, thread)) = self.waiter.take() {
            drop(ended);
            // The thread only waits for the sender to go; it can't have panicked with anything to tell.
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

impl Bars {
    fn current(&self) -> MutexGuard<'_, Option<Bar>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Bars {
    fn begin(&self, what: &str, total_bytes: Option<u64>) {
        let mut current = self.current();
        *current = None;
        *current = Some(Bar::begin(what, total_bytes));
    }

    fn advance(&self, bytes: u64) {
        if let Some(current) = &*self.current() {
            current.bar.inc(bytes);
        }
    }

    fn end(&self) {
        *self.current() = None;
    }

    fn say(&self, line: &str) {
        *self.current() = None;
        stdio::note(&render::plain(line));
    }
}

fn style(has_total: bool) -> ProgressStyle {
    let template = if has_total {
        "appc: {msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}"
    } else {
        "appc: {msg} {spinner} {done}{elapsed}"
    };
    let plain = if has_total { ProgressStyle::default_bar() } else { ProgressStyle::default_spinner() };
    // What is not counted is not told as nothing.
    let done = |state: &ProgressState, text: &mut dyn fmt::Write| {
        let _ = match state.pos() {
            0 => Ok(()),
            bytes => write!(text, "{} ", DecimalBytes(bytes)),
        };
    };
    plain.clone().with_key("done", done).template(template).unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_understood() {
        for template_of in [true, false] {
            let bar = ProgressBar::hidden();
            bar.set_style(style(template_of));
        }
    }

    #[test]
    fn progress_without_a_beginning_is_harmless() {
        let bars = Bars::default();
        bars.advance(1);
        bars.end();
        bars.begin("packing", Some(2));
        bars.begin("copying", None);
        bars.advance(1);
        bars.end();
        bars.end();
    }
}
