//! Requests that programs send to a container's ZeroMQ socket.
#![no_main]

#[allow(dead_code, reason = "answers are written there, too")]
#[path = "../../appcontainers-monitor/src/request.rs"]
mod request;

use libfuzzer_sys::fuzz_target;
use request::Request;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<Request>(data) {
        let _ = request.container();
    }
});
