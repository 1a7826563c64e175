//! As much of ZMTP 3 (rfc.zeromq.org/spec/23) as a ROUTER and a DEALER without encryption need. Pure.
//!
//! ```text
//! greeting: 0  ff 8×00 7f   10 version (major, minor)   12 mechanism, 20 bytes   32 as-server   33 zeros   64
//! frame:    flags (1 more, 2 long, 4 command), length (8 bits, or 64 if long, big-endian), body
//! ```

use anyhow::{bail, ensure};

/// The length of a greeting.
pub(super) const GREETING_BYTES: usize = 64;

/// The longest command that is looked at; an agent's has about 40 bytes.
pub(super) const MAX_COMMAND_BYTES: usize = 1024;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// `READY` with the properties that a DEALER asks for.
const READY: &[u8] = b"\x05READY\x0bSocket-Type\0\0\0\x06ROUTER\x08Identity\0\0\0\0";

/// What is said first: the greeting and the command `READY`.
pub(super) fn opening() -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    bytes.extend_from_slice(b"NULL");
    bytes.resize(GREETING_BYTES, 0);
    bytes.extend_from_slice(&[COMMAND, READY.len() as u8]);
    bytes.extend_from_slice(READY);
    bytes
}

/// Fails if a greeting's sender can't be understood.
pub(super) fn check_greeting(greeting: &[u8; GREETING_BYTES]) -> anyhow::Result<()> {
    ensure!(greeting[0] == 0xff && greeting[9] & 1 == 1, "the agent's socket does not speak ZMTP");
    ensure!(greeting[10] >= 3, "the agent's socket speaks version {} of ZMTP", greeting[10]);
    ensure!(greeting[12..32] == *b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "the agent's socket asks for encryption");
    Ok(())
}

/// Fails if the first command of a connection is not the `READY` of a DEALER.
pub(super) fn check_ready(command: &[u8]) -> anyhow::Result<()> {
    ensure!(command.starts_with(b"\x05READY"), "the agent's socket sent another command than READY");
    Ok(())
}

/// What stands before a frame's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Another frame of the same message follows.
    pub(super) more: bool,
    pub(super) is_command: bool,
    /// Bytes of the head itself.
    pub(super) bytes: usize,
    /// Bytes of the body.
    pub(super) length: usize,
}

impl Head {
    /// The head at the start of `bytes`; none if more bytes are needed. A body of more than `most` bytes is an error.
    pub(super) fn read(bytes: &[u8], most: usize) -> anyhow::Result<Option<Self>> {
        let Some((&flags, rest)) = bytes.split_first() else { return Ok(None) };
        if flags & !(MORE | LONG | COMMAND) != 0 || flags & (MORE | COMMAND) == MORE | COMMAND {
            bail!("the agent sent a frame with flags {flags:#04x}, which ZMTP does not have");
        }
        let (length, bytes) = if flags & LONG == 0 {
            (rest.first().map(|length| u64::from(*length)), 2)
        } else {
            (rest.first_chunk().map(|length| u64::from_be_bytes(*length)), 9)
        };
        let Some(length) = length else { return Ok(None) };
        match usize::try_from(length) {
            Ok(length) if length <= most => {
                Ok(Some(Self { more: flags & MORE != 0, is_command: flags & COMMAND != 0, bytes, length }))
            }
            _ => bail!("the agent sent a frame of {length} bytes; {most} are the most"),
        }
    }
}

/// Writes the head of a message's only frame.
pub(super) fn push_head(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(length) => out.extend_from_slice(&[0, length]),
        Err(_) => {
            out.push(LONG);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_as_it_was_written() {
        for length in [0, 1, 255, 256, 65536, 1 << 20] {
            let mut bytes = Vec::new();
            push_head(&mut bytes, length);
            for cut in 0..bytes.len() {
                assert_eq!(Head::read(&bytes[..cut], usize::MAX).unwrap(), None);
            }
            let head = Head { more: false, is_command: false, bytes: bytes.len(), length };
            assert_eq!(Head::read(&bytes, length).unwrap(), Some(head));
            assert!(length == 0 || Head::read(&bytes, length - 1).is_err());
        }
    }

    #[test]
    fn flags_that_there_are_not_are_refused_before_anything_is_waited_for() {
        for flags in [8, 0x10, 0x80, 0xff, MORE | COMMAND] {
            assert!(Head::read(&[flags], usize::MAX).unwrap_err().to_string().contains("flags"), "{flags}");
        }
        assert!(Head::read(&[LONG, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 10).is_err());
    }

    #[test]
    fn what_is_said_first_is_understood_by_its_own_rules() {
        let opening = opening();
        check_greeting(opening.first_chunk().unwrap()).unwrap();
        let head = Head::read(&opening[GREETING_BYTES..], MAX_COMMAND_BYTES).unwrap().unwrap();
        assert!(head.is_command);
        check_ready(&opening[GREETING_BYTES + head.bytes..]).unwrap();
    }
}
