//! What comes from a container's agent, from the first byte of its connection on: the same messages, whatever the pieces.
//! The first byte is the length of a piece.
#![no_main]

use appcontainers_monitor::agent::Inbox;
use appcontainers_wire::agent::FromAgent;
use libfuzzer_sys::fuzz_target;

/// The messages in these bytes, and whether what follows is refused.
fn read(bytes: &[u8], piece: usize) -> (Vec<(FromAgent, Vec<u8>)>, bool) {
    let (mut inbox, mut messages) = (Inbox::default(), Vec::new());
    for mut piece in bytes.chunks(piece) {
        while !piece.is_empty() {
            inbox.read_from(&mut piece).expect("memory");
            loop {
                match inbox.take() {
                    Ok(Some((message, payload))) => messages.push((message, payload.to_vec())),
                    Ok(None) => break,
                    Err(_) => return (messages, true),
                }
            }
        }
    }
    (messages, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((piece, bytes)) = data.split_first() else { return };
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(read(bytes, 1 + usize::from(*piece)), whole);
    let payloads: usize = whole.0.iter().map(|(_, payload)| payload.len()).sum();
    assert!(payloads <= bytes.len());
});
