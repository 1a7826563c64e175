//! Messages between agent, monitor and clients: what is decoded is encoded and decoded to the same. The first byte says whose it is.
#![no_main]

use std::fmt::Debug;

use appcontainers_wire::{
    ProcessSpec, SpawnFailure,
    agent::{FromAgent, ToAgent},
    client::{FromClient, ToClient},
    decode, encode, frame,
};
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(header: &[u8]) {
    if let Ok(message) = decode::<T>(header) {
        let again = encode(&message).expect("what was decoded can be encoded");
        assert_eq!(decode::<T>(&again).expect("what was encoded can be decoded"), message);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 7 {
        0 => round_trip::<FromAgent>(bytes),
        1 => round_trip::<ToAgent>(bytes),
        2 => round_trip::<FromClient>(bytes),
        3 => round_trip::<ToClient>(bytes),
        4 => round_trip::<SpawnFailure>(bytes),
        5 => round_trip::<ProcessSpec>(bytes),
        _ => frames(bytes),
    }
});

/// Frames come out of a stream, one behind the other, and make up its bytes.
fn frames(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some(found)) = frame::peek(rest) {
        let (whole, behind) = rest.split_at(found.length);
        assert_eq!(frame::split(whole).expect("a frame by itself"), (found.header, found.payload));
        assert_eq!(frame::join(found.header, found.payload).expect("it is short"), whole);
        rest = behind;
    }
    let _ = frame::split(rest);
}
