//! The connection to the container's agent, a DEALER of libzmq's.
//!
//! The monitor speaks ZMTP itself here, and nothing of libzmq's is between it and the container: libzmq bounds neither the
//! frames of a message that has no end nor the connections of those that are nobody, and ends the process when it is out
//! of memory or descriptors. Here a message has two frames of bounded length, one connection is listened to, and what does not
//! fit ends the session with an error that says what it was.

mod inbox;
mod link;
mod outgoing;
mod zmtp;

pub use inbox::Inbox;
pub use link::{AgentLink, Expected};

/// The most characters of an agent's words that go into a message of ours.
const MOST_QUOTED: usize = 200;

/// An agent's words, fit for an error: one short line, which does nothing to a terminal.
pub(crate) fn quoted(text: &str) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(MOST_QUOTED).map(printable).collect()
}
