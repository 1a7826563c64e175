//! Output that goes to its client and not to the log. Acknowledged is what the client has passed on, so that no more than
//! the agent's window is ever on its way. Pure.

use std::collections::VecDeque;

use appcontainers_wire::{Stream, agent::OUTPUT_WINDOW_BYTES};

use super::index;

/// How far one process's output has come.
#[derive(Debug, Default)]
pub(super) struct DirectOutput {
    /// Bytes of each stream that were sent to the client.
    sent: [u64; 2],
    /// And together.
    sent_bytes: u64,
    /// Bytes that the client has passed on.
    passed_bytes: u64,
    /// What the client has not passed on: when it has passed on so many bytes, this stream is acknowledged so far.
    waiting: VecDeque<(u64, Stream, u64)>,
}

impl DirectOutput {
    /// What of a piece of output the client has not got; none of it if bytes before it are missing.
    pub(super) fn news<'a>(&mut self, stream: Stream, offset: u64, payload: &'a [u8]) -> Option<&'a [u8]> {
        let sent = &mut self.sent[index(stream)];
        let known = usize::try_from(sent.checked_sub(offset)?).ok()?.min(payload.len());
        let news = &payload[known..];
        if !news.is_empty() {
            *sent += news.len() as u64;
            self.sent_bytes += news.len() as u64;
            self.waiting.push_back((self.sent_bytes, stream, *sent));
        }
        Some(news)
    }

    /// Whether no more is on its way than an agent that keeps to its windows can send.
    pub(super) fn is_within_window(&self) -> bool {
        self.sent_bytes.saturating_sub(self.passed_bytes) <= 2 * OUTPUT_WINDOW_BYTES
    }

    /// The client has passed on so many bytes: up to where each stream is acknowledged by that, if it is further.
    pub(super) fn passed_on(&mut self, bytes: u64) -> Vec<(Stream, u64)> {
        self.passed_bytes = bytes;
        let mut acknowledged = [None; 2];
        while let Some((_, stream, offset)) = self.waiting.front().copied().filter(|(until, ..)| *until <= bytes) {
            acknowledged[index(stream)] = Some((stream, offset));
            self.waiting.pop_front();
        }
        acknowledged.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_sent_once_and_acknowledged_when_it_is_passed_on() {
        let mut output = DirectOutput::default();
        assert_eq!(output.news(Stream::Stdout, 0, b"abc"), Some(&b"abc"[..]));
        assert_eq!(output.news(Stream::Stdout, 1, b"bcde"), Some(&b"de"[..]));
        assert_eq!(output.news(Stream::Stdout, 0, b"ab"), Some(&b""[..]));
        assert_eq!(output.news(Stream::Stdout, 6, b"g"), None);
        assert_eq!(output.news(Stream::Stderr, 0, b"x"), Some(&b"x"[..]));
        assert_eq!(output.passed_on(2), []);
        assert_eq!(output.passed_on(5), [(Stream::Stdout, 5)]);
        assert_eq!(output.passed_on(100), [(Stream::Stderr, 1)]);
    }

    #[test]
    fn more_than_both_windows_together_is_never_on_its_way() {
        let (mut output, chunk) = (DirectOutput::default(), vec![0; OUTPUT_WINDOW_BYTES as usize]);
        for stream in [Stream::Stdout, Stream::Stderr] {
            output.news(stream, 0, &chunk);
            assert!(output.is_within_window());
        }
        output.news(Stream::Stdout, OUTPUT_WINDOW_BYTES, b"x");
        assert!(!output.is_within_window());
        output.passed_on(1);
        assert!(output.is_within_window());
    }
}
