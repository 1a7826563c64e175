//! Output of which every byte is known.

use std::io::Write as _;

/// Numbers from 1 on, one a line, as `seq` prints them: what is lost, doubled or out of order shows.
pub fn numbers(last: u32) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 1..=last {
        writeln!(text, "{number}").expect("there is memory");
    }
    text
}

/// Fails the test unless both are the same bytes, and says from where on they are not.
#[track_caller]
pub fn assert_same_bytes(what: &str, got: &[u8], wanted: &[u8]) {
    let at = got.iter().zip(wanted).position(|(one, other)| one != other);
    let lengths = (got.len(), wanted.len());
    assert!(got == wanted, "{what}: {} bytes, not {}; the first other one is at {at:?}", lengths.0, lengths.1);
}
