//! What clients of the request socket may ask for, and the answers. Pure.

use appcontainers::{ContainerName, ProcessId, Stream, process::ProcessDetails};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A request. `container`, if there is one, has to be the container that is asked.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// A piece of a stream, from the log.
    Output {
        container: Option<String>,
        process: ProcessId,
        stream: Stream,
        offset: u64,
        position: Option<u64>,
        length: Option<u64>,
    },
    /// The processes from this number on.
    Processes { container: Option<String>, first: Option<ProcessId> },
}

impl Request {
    pub(crate) fn container(&self) -> Option<&str> {
        match self {
            Request::Output { container, .. } | Request::Processes { container, .. } => container.as_deref(),
        }
    }
}

/// Before a piece of output.
#[derive(Debug, Serialize)]
pub(crate) struct OutputAnswer<'a> {
    pub(crate) container: &'a ContainerName,
    pub(crate) process: ProcessId,
    pub(crate) stream: Stream,
    pub(crate) offset: u64,
    pub(crate) time: Option<Timestamp>,
    pub(crate) next: u64,
    pub(crate) end: bool,
}

/// Processes, in the order of their numbers.
#[derive(Debug, Serialize)]
pub(crate) struct ProcessesAnswer<'a> {
    pub(crate) container: &'a ContainerName,
    pub(crate) processes: Vec<ProcessDetails>,
    /// Whether there are others behind the last one.
    pub(crate) more: bool,
}

/// Why there is no other answer.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    pub(crate) error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Request, serde_json::Error> {
        serde_json::from_slice(text.as_bytes())
    }

    #[test]
    fn requests_are_read_and_what_is_unknown_is_refused() {
        let request =
            parse(r#"{"request":"output","process":3,"stream":"stderr","offset":7,"position":null}"#).unwrap();
        let (process, stream) = (ProcessId(3), Stream::Stderr);
        let (container, position, length) = (None, None, None);
        assert_eq!(request, Request::Output { container, process, stream, offset: 7, position, length });
        let request = parse(r#"{"request":"processes","container":"web"}"#).unwrap();
        assert_eq!(request.container(), Some("web"));
        for bad in [
            "",
            "null",
            "{}",
            r#"{"request":"shutdown"}"#,
            r#"{"request":"processes","more":1}"#,
            r#"{"request":"output","process":3,"stream":"stdout"}"#,
            r#"{"request":"output","process":-3,"stream":"stdout","offset":0}"#,
            r#"{"request":"output","process":3,"stream":"stdin","offset":0}"#,
            r#"{"request":"output","process":3,"stream":"stdout","offset":18446744073709551616}"#,
            r#"{"request":"output","process":3,"stream":"stdout","offset":0,"offset":1}"#,
            "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
