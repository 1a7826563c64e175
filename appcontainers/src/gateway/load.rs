//! Giving a running Caddy its configuration: one request to its admin endpoint, which is a unix socket.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt::socket_peercred;
use serde_json::Value;

use super::GatewayError;
use crate::runtime::ProcessIdentity;

/// How long Caddy may take to listen after its start, and to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// An answer that is longer is none of Caddy's.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Gives Caddy, which is `process`, a configuration. `Refused` if it keeps the one that it has.
pub(super) fn load(
    socket: &Path,
    process: &ProcessIdentity,
    configuration: &str,
    force: bool,
) -> Result<(), GatewayError> {
    let failed = |source| GatewayError::Talk { socket: socket.to_owned(), source };
    let mut stream = connect(socket, process).map_err(failed)?;
    let answer = ask(&mut stream, configuration, force).map_err(failed)?;
    refusal(&answer).map_or(Ok(()), |said| Err(GatewayError::Refused { said }))
}

/// Waits for a gateway that is just starting.
fn connect(socket: &Path, process: &ProcessIdentity) -> io::Result<UnixStream> {
    let until = Instant::now() + LIMIT;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                // Its directory is Caddy's own: what listens there need not be Caddy.
                let peer = socket_peercred(&stream)?.pid.as_raw_nonzero().get();
                return if peer == process.pid {
                    Ok(stream)
                } else {
                    Err(io::Error::new(
                        io::ErrorKind::PermissionDenied,
                        format!("process {peer} listens there, not the gateway's"),
                    ))
                };
            }
            Err(error) if Instant::now() >= until || !process.is_alive() => return Err(error),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
}

fn ask(stream: &mut UnixStream, configuration: &str, force: bool) -> io::Result<String> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    // For a unix socket Caddy takes no other host than the empty one.
    let head = format!(
        "POST /load HTTP/1.1\r\nHost: \r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}Connection: close\r\n\r\n",
        configuration.len(),
        if force { "Cache-Control: must-revalidate\r\n" } else { "" },
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(configuration.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Why Caddy did not take it, unless it did.
fn refusal(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        return None;
    }
    let error = serde_json::from_str::<Value>(body).ok().and_then(|value| Some(value["error"].as_str()?.to_owned()));
    Some(error.unwrap_or_else(|| if status.is_empty() { "no answer".to_owned() } else { status.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_yes_or_says_why_not() {
        assert_eq!(refusal("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), None);
        let no = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\r\n{\"error\":\"no such file\"}\n";
        assert_eq!(refusal(no).unwrap(), "no such file");
        assert_eq!(refusal("HTTP/1.1 500 Oops\r\n\r\nx").unwrap(), "HTTP/1.1 500 Oops");
        assert_eq!(refusal("").unwrap(), "no answer");
    }

    #[test]
    fn what_listens_in_caddys_place_is_not_talked_to() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("admin");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let other = ProcessIdentity { pid: 1, start_time: 0 };
        let error = load(&socket, &other, "{}", false).unwrap_err();
        assert!(
            matches!(&error, GatewayError::Talk { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
        );
    }
}
