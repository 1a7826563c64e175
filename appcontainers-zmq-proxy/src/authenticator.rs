//! Who may connect: libzmq asks over ZAP (ZeroMQ RFC 27) for each connection, before anything else is said on it.

use std::collections::BTreeSet;

use anyhow::Context as _;

use crate::certificate::Key;

/// The name under which sockets ask.
pub(crate) const DOMAIN: &str = "appcontainers";

const ENDPOINT: &str = "inproc://zeromq.zap.01";
const VERSION: &[u8] = b"1.0";

pub(crate) struct Authenticator {
    socket: zmq::Socket,
    allowed: BTreeSet<Key>,
}

impl Authenticator {
    /// Has to be there before the sockets of which it decides.
    pub(crate) fn bind(context: &zmq::Context, allowed: BTreeSet<Key>) -> anyhow::Result<Self> {
        let socket = context.socket(zmq::REP)?;
        socket.bind(ENDPOINT).context("cannot decide who may connect")?;
        Ok(Self { socket, allowed })
    }

    pub(crate) fn poll_item(&self) -> zmq::PollItem<'_> {
        self.socket.as_poll_item(zmq::POLLIN)
    }

    /// Decides of those who wait for it.
    pub(crate) fn decide(&self) -> zmq::Result<()> {
        loop {
            match self.socket.recv_multipart(zmq::DONTWAIT) {
                Ok(frames) => self.socket.send_multipart(self.answer(&frames), 0)?,
                Err(zmq::Error::EAGAIN) => return Ok(()),
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Frames of a request: version, its number, domain, address, routing id, mechanism, credentials.
    fn answer(&self, frames: &[Vec<u8>]) -> [Vec<u8>; 6] {
        let number = frames.get(1).cloned().unwrap_or_default();
        let is_allowed = match frames {
            [version, _, domain, _, _, mechanism, key] => {
                version == VERSION
                    && domain == DOMAIN.as_bytes()
                    && mechanism == b"CURVE"
                    && Key::try_from(&key[..]).is_ok_and(|key| self.allowed.contains(&key))
            }
            _ => false,
        };
        let (code, text): (&[u8], &[u8]) = if is_allowed { (b"200", b"OK") } else { (b"400", b"not allowed") };
        [VERSION.to_vec(), number, code.to_vec(), text.to_vec(), Vec::new(), Vec::new()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_is_known_is_allowed() {
        let context = zmq::Context::new();
        let authenticator = Authenticator::bind(&context, BTreeSet::from([[7; 32]])).unwrap();
        let ask = |mechanism: &str, domain: &str, credentials: &[&[u8]]| {
            let begin = ["1.0", "5", domain, "127.0.0.1", "", mechanism].map(|text| text.as_bytes().to_vec());
            let frames: Vec<_> = begin.into_iter().chain(credentials.iter().map(|frame| frame.to_vec())).collect();
            let [_, number, code, ..] = authenticator.answer(&frames);
            assert_eq!(number, b"5");
            code == b"200"
        };
        assert!(ask("CURVE", DOMAIN, &[&[7; 32]]));
        assert!(!ask("CURVE", DOMAIN, &[&[8; 32]]));
        assert!(!ask("CURVE", "other", &[&[7; 32]]));
        assert!(!ask("CURVE", DOMAIN, &[&[7; 31]]));
        assert!(!ask("CURVE", DOMAIN, &[]));
        assert!(!ask("NULL", DOMAIN, &[]));
        assert!(!ask("PLAIN", DOMAIN, &[b"name", b"password"]));
        assert!(!ask("PLAIN", DOMAIN, &[&[7; 32]]));
    }
}
