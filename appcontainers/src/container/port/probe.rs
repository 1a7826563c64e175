//! One try at a container's port. Nothing here blocks for longer than it is told to, and the container's end ends it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddrV4, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt::socket_error},
};

use super::{HttpPath, PortFailure};

/// The longest head of an answer that is read.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// More header fields than this make an answer none.
const MAX_HEADERS: usize = 100;

/// What a try found.
pub(super) enum Found {
    /// It is ready.
    Ready,
    /// It is not, for this reason.
    NotReady(PortFailure),
    /// The container has ended.
    Ended,
}

/// One try at a TCP port, for whoever waits for other things as well: nothing of it blocks. It is ready when it takes the
/// connection or, with a path, answers a GET on that with 2xx or 3xx.
#[derive(Debug)]
pub struct PortProbe {
    stream: TcpStream,
    address: SocketAddrV4,
    http: Option<HttpPath>,
    /// What was read of the answer, once it was asked.
    head: Option<Vec<u8>>,
}

impl PortProbe {
    /// Begins to connect. The inner error is what the try has found already.
    pub fn begin(address: SocketAddrV4, http: Option<HttpPath>) -> io::Result<Result<Self, PortFailure>> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Ok(Err(PortFailure::Connect(errno.into()))),
        }
        Ok(Ok(Self { stream: TcpStream::from(socket), address, http, head: None }))
    }

    /// Whether it waits until its socket can be written to, and not read from.
    pub fn is_connecting(&self) -> bool {
        self.head.is_none()
    }

    /// Goes on when the socket is ready for what it waits for; what the try has found, if it is over.
    pub fn advance(&mut self) -> Option<Result<(), PortFailure>> {
        match &mut self.head {
            Some(head) => read_answer(&mut self.stream, head),
            None => match socket_error(&self.stream) {
                Ok(Ok(())) => self.ask(),
                Ok(Err(errno)) | Err(errno) => Some(Err(PortFailure::Connect(errno.into()))),
            },
        }
    }

    /// What is said of a try for which no time is left.
    pub fn timed_out(&self) -> PortFailure {
        if self.is_connecting() { PortFailure::NoConnection } else { PortFailure::NoAnswer }
    }

    fn ask(&mut self) -> Option<Result<(), PortFailure>> {
        let Some(path) = &self.http else { return Some(Ok(())) };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: appc/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.address,
            env!("CARGO_PKG_VERSION")
        );
        self.head = Some(Vec::new());
        // The buffer of a new connection takes all of it.
        self.stream.write_all(request.as_bytes()).err().map(|error| Err(PortFailure::Broken(error)))
    }
}

fn read_answer(stream: &mut TcpStream, head: &mut Vec<u8>) -> Option<Result<(), PortFailure>> {
    let mut piece = [0; 4096];
    match stream.read(&mut piece) {
        Ok(0) => return Some(Err(PortFailure::Closed)),
        Ok(count) => head.extend_from_slice(&piece[..count]),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return None,
        Err(error) => return Some(Err(PortFailure::Broken(error))),
    }
    match final_code(head) {
        Ok(Some(200..=399)) => Some(Ok(())),
        Ok(Some(code)) => Some(Err(PortFailure::Code(code))),
        Ok(None) if head.len() <= MAX_HEAD_BYTES => None,
        Ok(None) | Err(NotHttp) => Some(Err(PortFailure::NotHttp)),
    }
}

impl AsFd for PortProbe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Connects to the port and, with a path, asks for that; until `until`, or the end of `init`.
pub(super) fn probe(
    address: SocketAddrV4,
    http: Option<&HttpPath>,
    init: BorrowedFd<'_>,
    until: Instant,
) -> io::Result<Found> {
    let mut probe = match PortProbe::begin(address, http.cloned())? {
        Ok(probe) => probe,
        Err(failure) => return Ok(Found::NotReady(failure)),
    };
    loop {
        let waits_for = if probe.is_connecting() { PollFlags::OUT } else { PollFlags::IN };
        match wait(Some((probe.as_fd(), waits_for)), init, until)? {
            News::Socket => {}
            News::Nothing => return Ok(Found::NotReady(probe.timed_out())),
            News::Ended => return Ok(Found::Ended),
        }
        match probe.advance() {
            Some(Ok(())) => return Ok(Found::Ready),
            Some(Err(failure)) => return Ok(Found::NotReady(failure)),
            None => {}
        }
    }
}

/// What was read is no answer.
#[derive(Debug, PartialEq, Eq)]
struct NotHttp;

/// The code of an answer whose head is there; interim answers (1xx) before it are taken out.
fn final_code(head: &mut Vec<u8>) -> Result<Option<u16>, NotHttp> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(head).map_err(|_| NotHttp)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
        match response.code {
            Some(100..=199) => {}
            code => return Ok(code),
        }
        head.drain(..length);
    }
}

/// What was waited for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The socket is ready.
    Socket,
    /// The container has ended.
    Ended,
    /// The time is over.
    Nothing,
}

/// Waits for a socket, the container's end, or a time.
pub(super) fn wait(
    socket: Option<(BorrowedFd<'_>, PollFlags)>,
    init: BorrowedFd<'_>,
    until: Instant,
) -> io::Result<News> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = vec![PollFd::from_borrowed_fd(init, PollFlags::IN)];
        fds.extend(socket.map(|(fd, events)| PollFd::from_borrowed_fd(fd, events)));
        match poll(&mut fds, Some(&timeout)) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(0) => return Ok(News::Nothing),
            Ok(_) if !fds[0].revents().is_empty() => return Ok(News::Ended),
            Ok(_) => return Ok(News::Socket),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answers_code_is_known_when_its_head_is_there() {
        let code = |text: &str| final_code(&mut text.as_bytes().to_vec());
        assert_eq!(code(""), Ok(None));
        assert_eq!(code("HTTP/1.1 20"), Ok(None));
        assert_eq!(code("HTTP/1.1 200 OK\r\nContent-Le"), Ok(None));
        assert_eq!(code("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody"), Ok(Some(200)));
        assert_eq!(code("HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n"), Ok(Some(302)));
        assert_eq!(code("HTTP/1.1 503 \r\n\r\n"), Ok(Some(503)));
        assert_eq!(code("SSH-2.0-OpenSSH_9.2\r\n"), Err(NotHttp));
    }

    #[test]
    fn interim_answers_are_not_the_answer() {
        let mut head =
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 ".to_vec();
        assert_eq!(final_code(&mut head), Ok(None));
        head.extend_from_slice(b"No Content\r\n\r\n");
        assert_eq!(final_code(&mut head), Ok(Some(204)));
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange(bytes: Vec<u8>, cut in 0..64usize) {
            let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: today\r\n\r\n";
            let mut head = whole[..cut.min(whole.len())].to_vec();
            head.extend(bytes);
            let _ = final_code(&mut head);
        }
    }
}
