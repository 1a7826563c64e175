//! When a container that has ended unasked is started again, and how long that waits. Pure.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Before the first restart; each pause after a failure in a row is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// No pause is longer.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A container that has run for so long did not fail at once: failures are counted from the start again.
pub(super) const CALM: Duration = Duration::from_secs(10);

/// What happens when a container ends and nobody asked for that.
///
/// A container runs on when its commands have ended. It ends unasked when its process 1, the agent or LXC's monitor is gone, and is
/// ended unasked when all its startup commands have failed (another code than 0, or a signal).
///
/// # Examples
///
/// ```
/// use appcontainers::life::Restart;
///
/// assert_eq!("on-failure:3".parse::<Restart>()?.to_string(), "on-failure:3");
/// assert_eq!("no".parse::<Restart>()?, Restart::No);
/// assert!("sometimes".parse::<Restart>().is_err());
/// # Ok::<(), appcontainers::life::InvalidRestart>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Restart {
    /// Nothing.
    #[default]
    No,
    /// It is started again, so many times in a row at the most.
    OnFailure {
        /// Without a limit if absent.
        most: Option<NonZeroU32>,
    },
    /// It is started again, and whenever the host boots, also if somebody stopped it.
    Always,
    /// It is started again, and when the host boots, unless somebody has stopped it.
    UnlessStopped,
}

/// No restart policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no restart policy: use no, on-failure, on-failure:N, always, or unless-stopped")]
pub struct InvalidRestart {
    text: String,
}

impl Restart {
    /// Whether there is no policy.
    pub fn is_no(&self) -> bool {
        *self == Restart::No
    }

    /// Whether a container that has failed so many times in a row before is started again.
    pub(super) fn allows(self, failures_before: u32) -> bool {
        match self {
            Restart::No => false,
            Restart::OnFailure { most: Some(most) } => failures_before < most.get(),
            Restart::OnFailure { most: None } | Restart::Always | Restart::UnlessStopped => true,
        }
    }

    /// Whether the host's boot starts the container.
    pub fn starts_at_boot(self, was_stopped: bool) -> bool {
        match self {
            Restart::No | Restart::OnFailure { .. } => false,
            Restart::Always => true,
            Restart::UnlessStopped => !was_stopped,
        }
    }
}

impl FromStr for Restart {
    type Err = InvalidRestart;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidRestart { text: text.to_owned() };
        match text.split_once(':') {
            Some(("on-failure", most)) => Ok(Restart::OnFailure { most: Some(most.parse().map_err(|_| invalid())?) }),
            Some(_) => Err(invalid()),
            None => match text {
                "no" => Ok(Restart::No),
                "on-failure" => Ok(Restart::OnFailure { most: None }),
                "always" => Ok(Restart::Always),
                "unless-stopped" => Ok(Restart::UnlessStopped),
                _ => Err(invalid()),
            },
        }
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Restart::No => f.write_str("no"),
            Restart::OnFailure { most: None } => f.write_str("on-failure"),
            Restart::OnFailure { most: Some(most) } => write!(f, "on-failure:{most}"),
            Restart::Always => f.write_str("always"),
            Restart::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

impl TryFrom<String> for Restart {
    type Error = InvalidRestart;

    fn try_from(text: String) -> Result<Self, InvalidRestart> {
        text.parse()
    }
}

impl From<Restart> for String {
    fn from(policy: Restart) -> Self {
        policy.to_string()
    }
}

/// The pause before the restart of a container that has failed so many times in a row before.
pub(super) fn pause(failures_before: u32) -> Duration {
    // Beyond 2^10 it is the longest anyway.
    (FIRST_PAUSE * (1 << failures_before.min(10))).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses: Vec<u128> = (0..12).map(|failures| pause(failures).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn a_policy_reads_what_it_writes_and_refuses_the_rest() {
        for text in ["no", "on-failure", "on-failure:3", "always", "unless-stopped"] {
            assert_eq!(text.parse::<Restart>().unwrap().to_string(), text);
        }
        for bad in ["", "on-failure:0", "on-failure:", "on-failure:-1", "always:3", "No"] {
            assert!(bad.parse::<Restart>().is_err(), "{bad}");
        }
    }

    #[test]
    fn so_many_times_in_a_row_and_no_more() {
        let policy: Restart = "on-failure:2".parse().unwrap();
        assert_eq!([0, 1, 2, 3].map(|failures| policy.allows(failures)), [true, true, false, false]);
        assert!(Restart::Always.allows(u32::MAX) && !Restart::No.allows(0));
    }

    #[test]
    fn the_boot_starts_what_its_policy_says() {
        let at_boot =
            |text: &str| [false, true].map(|stopped| text.parse::<Restart>().unwrap().starts_at_boot(stopped));
        assert_eq!(at_boot("no"), [false, false]);
        assert_eq!(at_boot("on-failure"), [false, false]);
        assert_eq!(at_boot("always"), [true, true]);
        assert_eq!(at_boot("unless-stopped"), [true, false]);
    }
}
