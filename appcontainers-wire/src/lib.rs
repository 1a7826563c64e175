//! Messages between the agent, the monitor and the monitor's clients.
//!
//! Every message is a header (JSON, one of the enums here) and a payload (bytes, often empty).
//! From the agent to the monitor the two are the two last frames of a ZeroMQ message; from the monitor to the agent
//! and over the monitor's client socket they are one piece, made by [`frame`]. This crate does no I/O and starts nothing.
//!
//! What a peer sends is hostile until it is decoded: [`decode`] limits sizes and refuses what
//! it does not know.

pub mod agent;
pub mod client;
pub mod frame;
mod limit;
mod process;

pub use limit::{InvalidLimit, Resource, ResourceLimit};
pub use process::{ExitStatus, ProcessId, ProcessSpec, RestartPolicy, SpawnFailure, Stream, TerminalSize};

use serde::{Serialize, de::DeserializeOwned};

/// The version of the messages in [`agent`] and [`client`]; both sides say it first.
pub const WIRE_VERSION: u32 = 1;

/// The longest header that [`decode`] accepts, in bytes.
pub const MAX_HEADER_BYTES: usize = 1024 * 1024;

/// The longest payload of one message, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

/// Why a message could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The header is longer than [`MAX_HEADER_BYTES`].
    #[error("a message header of {bytes} bytes is over the limit of {MAX_HEADER_BYTES}")]
    HeaderTooLong {
        /// The header's length.
        bytes: usize,
    },
    /// The payload is longer than [`MAX_PAYLOAD_BYTES`].
    #[error("a message payload of {bytes} bytes is over the limit of {MAX_PAYLOAD_BYTES}")]
    PayloadTooLong {
        /// The payload's length.
        bytes: usize,
    },
    /// A piece that should be one frame is none, or more.
    #[error("{bytes} bytes are not one whole message frame")]
    FrameLength {
        /// The piece's length.
        bytes: usize,
    },
    /// The header is not a message that this version knows.
    #[error("a message header is not understood")]
    Malformed(#[from] serde_json::Error),
}

/// Writes a message's header as JSON.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    Ok(serde_json::to_vec(message)?)
}

/// Reads a message from its header.
pub fn decode<T: DeserializeOwned>(header: &[u8]) -> Result<T, WireError> {
    if header.len() > MAX_HEADER_BYTES {
        return Err(WireError::HeaderTooLong { bytes: header.len() });
    }
    Ok(serde_json::from_slice(header)?)
}
