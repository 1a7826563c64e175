//! What the suites in `suites/` stand on: a sandbox for each test, the programs under test, and a check that nothing
//! stays behind.
//!
//! A test's body runs in a process of its own with network, mount and pid namespaces of its own, its own `APPC_ROOT`,
//! `APPC_RUN` and `/etc`. There is no way out of that network. What is missing (root, a program, a kernel feature) fails
//! the test and is named; nothing is ever skipped.
//!
//! ```no_run
//! # use appcontainers_tests::in_sandbox;
//! #[test]
//! fn a_command_that_fails_gives_its_code() {
//!     in_sandbox(|host| {
//!         host.appc(["provision", "--name", "web"]).succeeds();
//!         host.appc(["-c", "web", "run", "--", "sh", "-c", "exit 3"]).fails(3);
//!     });
//! }
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a harness fails by panicking")]

mod archive;
mod cgroups;
mod chance;
mod console;
mod containers;
mod finished;
mod host;
mod killed;
mod leaks;
mod memory;
mod numbers;
mod outside;
mod places;
mod prober;
mod reach;
mod running;
mod sandbox;
mod wait;
mod written;

pub use archive::Archive;
pub use chance::random;
pub use console::Console;
pub use finished::Finished;
pub use host::{Disk, Elsewhere, Host};
pub use killed::{clear_up, kill_at_each_step, kill_program_at_each_step};
pub use memory::peak_kib;
pub use numbers::{assert_same_bytes, numbers};
pub use outside::Outside;
pub use places::Places;
pub use prober::{Flow, Probe, Prober, Said};
pub use reach::Reach;
pub use running::Running;
pub use sandbox::{in_sandbox, in_sandbox_for};
pub use wait::{LIMIT, allowed, amount, any_of, eventually, sampled, tries};
