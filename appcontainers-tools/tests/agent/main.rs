//! The agent's real binary as PID 1 of a pid namespace, with a real ROUTER on the other side. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod commands;
mod environment;
mod limits;
mod monitor;
mod reconnect;
mod shutdown;
mod streams;
mod terminal;
