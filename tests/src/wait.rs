//! Waiting, always with an end.

use std::{
    env,
    process::{Child, ExitStatus},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use rand::Rng as _;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::chance;

/// How long one command of a test may take before it counts as hanging.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How many times slower than an ordinary host this one is, as `APPC_TEST_SLOWNESS` says: a machine without hardware of
/// its own, for example. Every limit of a test is that many times longer; what a test asks for stays the same. What is
/// done at each of many steps or moments, or with many bytes, is done at some ([`sampled`], [`tries`], [`amount`]).
static SLOWNESS: LazyLock<u32> = LazyLock::new(|| {
    let given = env::var("APPC_TEST_SLOWNESS").ok();
    given.map_or(1, |given| given.parse().expect("APPC_TEST_SLOWNESS is a whole number"))
});

/// How long something may take here that may take this long on an ordinary host.
pub fn allowed(time: Duration) -> Duration {
    time * *SLOWNESS
}

/// How often that is tried here what is tried `times` times on an ordinary host, each at another moment; on a slow one a sixth.
pub fn tries(times: u32) -> u32 {
    if *SLOWNESS == 1 { times } else { times.div_ceil(6) }
}

/// How much goes through here of what goes through on an ordinary host, or how many seconds it goes on; on a slow one a tenth.
pub fn amount(much: u32) -> u32 {
    if *SLOWNESS == 1 { much } else { much.div_ceil(10) }
}

/// Every step of an ordinary host's; on a slow one every twelfth, beginning with one that chance chooses.
pub fn sampled<T>(steps: Vec<T>) -> Vec<T> {
    const STRIDE: usize = 12;
    if *SLOWNESS == 1 || steps.is_empty() {
        return steps;
    }
    let first = chance::random().random_range(0..STRIDE.min(steps.len()));
    steps.into_iter().skip(first).step_by(STRIDE).collect()
}

/// How often a state is looked at that nothing announces.
const INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `look` gives a value, at most 20 seconds ([`allowed`]): then the test fails with `what` it waited for.
///
/// For what gives no event to wait for: files of /proc and /sys that change.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + allowed(Duration::from_secs(20));
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long in vain: {what}");
        thread::sleep(INTERVAL);
    }
}

/// Waits for a child's end, at most until `deadline`.
pub(crate) fn wait_until(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    if let Some(status) = child.try_wait().expect("wait for a child") {
        return Some(status);
    }
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("open a pidfd of a child");
    let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).expect("a short time");
    // A signal in between is as good as a time-out: the caller looks at the clock again.
    let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left));
    let ended = child.try_wait().expect("wait for a child");
    if ended.is_none() && Instant::now() < deadline { wait_until(child, deadline) } else { ended }
}

/// What `look` finds once it finds nothing more, at most 10 seconds later ([`allowed`]): the kernel and LXC's monitor end in their
/// own time.
pub(crate) fn settle(look: impl Fn() -> Vec<String>) -> Vec<String> {
    let deadline = Instant::now() + allowed(Duration::from_secs(10));
    loop {
        let found = look();
        if found.is_empty() || Instant::now() >= deadline {
            return found;
        }
        thread::sleep(INTERVAL);
    }
}

/// A line of shell that tries these lines at once, for each may take its time to fail: it succeeds if any of them does.
pub fn any_of(lines: &[String]) -> String {
    let begun: String = lines.iter().map(|line| format!("{line} & all=\"$all $!\"; ")).collect();
    format!("all=; {begun}for one in $all; do ! wait $one || exit 0; done; exit 1")
}
