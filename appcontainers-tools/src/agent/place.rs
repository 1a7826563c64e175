//! Where the agent is among the container's processes: its init, or beside an init of the container's own.

use std::{fs, io};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::{
    fs::{Mode, OFlags},
    process::{getpid, set_child_subreaper, setsid},
};

use crate::report;

/// The argument of an agent that is not process 1.
pub(crate) const BESIDE: &str = "beside";

/// Every process that this one may signal.
const EVERYONE: Pid = Pid::from_raw(-1);

/// The agent's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Process 1: all are its.
    Init,
    /// A process of the init's: what it has started, and what that leaves behind, is its; all else is the init's.
    Beside,
}

impl Place {
    /// Takes the place.
    pub(crate) fn settle(self) -> io::Result<()> {
        if self == Place::Beside {
            // Children of its processes come to it and not to process 1.
            set_child_subreaper(Some(getpid()))?;
            setsid()?;
        }
        Ok(())
    }

    /// Tells process 1, which waits for that, that the monitor knows this agent.
    pub(crate) fn tell_init(self) {
        if self == Place::Init {
            return;
        }
        let told = rustix::io::write(rustix::stdio::stdout(), b".").and_then(|_| {
            let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
            rustix::stdio::dup2_stdout(null)
        });
        if let Err(error) = told {
            report::error(format_args!("cannot tell process 1 to go on: {error}"));
        }
    }

    /// Signals all processes that are its. Those that there are no more by now count as signalled.
    pub(crate) fn signal_all(self, signal: Signal) {
        match self {
            Place::Init => _ = kill(EVERYONE, signal),
            Place::Beside => children().into_iter().for_each(|child| _ = kill(child, signal)),
        }
    }
}

/// This process's children. Theirs come to it when their parent ends.
fn children() -> Vec<Pid> {
    // The working directory is /proc.
    let tasks = fs::read_dir("self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .map(Pid::from_raw)
        .collect()
}
