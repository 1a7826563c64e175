//! The command's terminal: its session's own, and its user's.

use std::io;

use appcontainers_wire::SpawnFailure;
use rustix::fs::{Gid, Mode, Uid};

use super::setup::{step, user_failure};
use crate::user::{self, User};

/// Whose terminals are where `write` and `wall` may write to them (pty(7), `grantpt`).
const GROUP: &str = "tty";

/// Makes the terminal on standard input the controlling terminal of this session, and gives it to the user. Others may
/// not read it; who is in the group may write to it.
pub(super) fn take_over(user: &User) -> Result<(), SpawnFailure> {
    let terminal = io::stdin();
    let taken = rustix::process::ioctl_tiocsctty(&terminal);
    step("cannot make the terminal the session's own", taken.map_err(io::Error::from))?;
    let (group, mode) = match user::find_group(GROUP).map_err(user_failure)? {
        Some(group) => (group, Mode::RUSR | Mode::WUSR | Mode::WGRP),
        None => (user.gid, Mode::RUSR | Mode::WUSR),
    };
    let given = rustix::fs::fchown(&terminal, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(group)))
        .and_then(|()| rustix::fs::fchmod(&terminal, mode));
    step(&format!("cannot give the terminal to user {}:{group}", user.uid), given.map_err(io::Error::from))
}
