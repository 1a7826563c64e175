//! The container's end: TERM to every process, KILL after the grace, then wait until the monitor has the output.
//!
//! ```text
//! Ending --(no process left)--> Flushing --(all acknowledged, or no progress for too long)--> done
//!    '-- KILL when the grace is over, again and again
//! ```

use std::time::{Duration, Instant};

/// How long to wait for a monitor to connect before output is given up.
const PATIENCE_ALONE: Duration = Duration::from_secs(2);

/// How long to wait for a connected monitor that acknowledges nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause between two KILLs: a process that forks may escape one.
const KILL_PAUSE: Duration = Duration::from_millis(50);

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Wait no longer than this.
    Wait(Duration),
    /// Kill all processes and ask again.
    Kill,
    /// The agent may end.
    Done,
}

/// A shutdown under way.
#[derive(Debug)]
pub(crate) struct Shutdown {
    kill_at: Instant,
    /// How much was left to send, and since when it has not become less.
    stalled: Option<(usize, bool, Instant)>,
}

impl Shutdown {
    /// Begins one; processes have until the grace is over.
    pub(crate) fn begin(now: Instant, grace: Duration) -> Self {
        // A grace that no clock can hold is as good as a year.
        let kill_at = now.checked_add(grace).unwrap_or(now + Duration::from_secs(31_536_000));
        Self { kill_at, stalled: None }
    }

    /// Another request: the earlier end counts.
    pub(crate) fn hasten(&mut self, now: Instant, grace: Duration) {
        self.kill_at = self.kill_at.min(Self::begin(now, grace).kill_at);
    }

    /// What to do at `now`, with processes `alive` or not, `left` to be acknowledged (0: nothing) and the monitor there
    /// or not.
    pub(crate) fn step(&mut self, now: Instant, alive: bool, left: usize, connected: bool) -> Step {
        if alive {
            if now < self.kill_at {
                return Step::Wait(self.kill_at - now);
            }
            self.kill_at = now + KILL_PAUSE;
            return Step::Kill;
        }
        if left == 0 {
            return Step::Done;
        }
        let since = match self.stalled {
            Some((before, was_connected, since)) if before <= left && was_connected == connected => since,
            _ => now,
        };
        self.stalled = Some((left, connected, since));
        let patience = if connected { PATIENCE } else { PATIENCE_ALONE };
        match patience.checked_sub(now - since) {
            Some(rest) if !rest.is_zero() => Step::Wait(rest),
            _ => Step::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn processes_have_the_grace_and_the_shorter_one_of_two() {
        let start = Instant::now();
        let mut shutdown = Shutdown::begin(start, 10 * SECOND);
        assert_eq!(shutdown.step(start, true, 0, true), Step::Wait(10 * SECOND));
        shutdown.hasten(start, 20 * SECOND);
        shutdown.hasten(start, SECOND);
        assert_eq!(shutdown.step(start, true, 0, true), Step::Wait(SECOND));
        assert_eq!(shutdown.step(start + SECOND, true, 0, true), Step::Kill);
        assert_eq!(shutdown.step(start + SECOND, true, 0, true), Step::Wait(KILL_PAUSE));
        assert_eq!(shutdown.step(start + SECOND + KILL_PAUSE, true, 0, true), Step::Kill);
        assert_eq!(shutdown.step(start + 2 * SECOND, false, 0, true), Step::Done);
        assert!(matches!(Shutdown::begin(start, Duration::MAX).step(start, true, 0, true), Step::Wait(_)));
    }

    #[test]
    fn output_is_waited_for_while_it_gets_less_and_not_for_ever() {
        let start = Instant::now();
        let mut shutdown = Shutdown::begin(start, SECOND);
        for second in 0..60 {
            let left = 100 - second as usize;
            assert!(matches!(shutdown.step(start + second * SECOND, false, left, true), Step::Wait(_)), "{second}");
        }
        assert!(matches!(shutdown.step(start + 65 * SECOND, false, 41, true), Step::Wait(_)));
        assert_eq!(shutdown.step(start + 69 * SECOND, false, 41, true), Step::Done);
    }

    #[test]
    fn without_a_monitor_output_is_given_up_soon() {
        let start = Instant::now();
        let mut shutdown = Shutdown::begin(start, SECOND);
        assert_eq!(shutdown.step(start, false, 5, false), Step::Wait(PATIENCE_ALONE));
        assert_eq!(shutdown.step(start + PATIENCE_ALONE, false, 5, false), Step::Done);
    }
}
