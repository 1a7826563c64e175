//! Answers to those who ask over ZeroMQ. One request a turn, and each costs so much and no more: the container's output
//! goes on meanwhile.

use appcontainers::{
    output::PieceQuery,
    process::{ProcessDetails, Role},
};
use appcontainers_wire::{MAX_PAYLOAD_BYTES, ProcessId};

use super::Monitor;
use crate::{
    publisher,
    request::{OutputAnswer, ProcessesAnswer, Refusal, Request},
};

/// How much of the log is read for one answer at most.
const MOST_READ_BYTES: u64 = 4 * 1024 * 1024;

/// An answer about processes that has grown to this size has no more of them.
const PROCESSES_BYTES: usize = 256 * 1024;

impl Monitor {
    /// Answers the next request, if there is one.
    pub(crate) fn answer_request(&mut self, told: bool) {
        if let Err(error) = self.try_answer_request(told) {
            tracing::warn!(%error, "cannot answer a request");
        }
    }

    fn try_answer_request(&mut self, told: bool) -> zmq::Result<()> {
        let Some(publisher) = &mut self.announcer.publisher else { return Ok(()) };
        let Some(asked) = publisher.next_request(told)? else { return Ok(()) };
        let (header, payload) = self.answer(&asked.text).unwrap_or_else(|error| {
            let refusal = serde_json::to_vec(&Refusal { error });
            (refusal.unwrap_or_default(), Vec::new())
        });
        self.announcer.publisher.as_ref().map_or(Ok(()), |publisher| publisher.answer(asked, header, payload))
    }

    /// Header and payload of the answer, or why there is none.
    fn answer(&self, request: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
        let request: Request = serde_json::from_slice(request).map_err(|error| format!("no request: {error}"))?;
        let container = self.announcer.container();
        if request.container().is_some_and(|asked| asked != container.as_str()) {
            return Err(format!("this is container {container}"));
        }
        let (header, payload) = match request {
            Request::Output { process, stream, offset, position, length, .. } => {
                let record = self.journal.table().get(process);
                let record = record.ok_or_else(|| format!("container {container} has no process {process}"))?;
                let most_bytes = length.map_or(MAX_PAYLOAD_BYTES, |length| {
                    usize::try_from(length).unwrap_or(usize::MAX).min(MAX_PAYLOAD_BYTES)
                });
                let begin = record.position;
                let query =
                    PieceQuery { process, stream, offset, position, begin, most_bytes, most_read: MOST_READ_BYTES };
                let piece = self.log.piece(&query).map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
                let answer = OutputAnswer {
                    container,
                    process,
                    stream,
                    offset: piece.offset,
                    time: piece.time_ns.and_then(publisher::time),
                    next: piece.next,
                    end: piece.is_last,
                };
                (serde_json::to_vec(&answer), piece.bytes)
            }
            Request::Processes { first, .. } => {
                let (processes, more) = self.processes_from(first.unwrap_or(ProcessId(0)));
                (serde_json::to_vec(&ProcessesAnswer { container, processes, more }), Vec::new())
            }
        };
        Ok((header.map_err(|error| error.to_string())?, payload))
    }

    fn processes_from(&self, first: ProcessId) -> (Vec<ProcessDetails>, bool) {
        let (mut processes, mut bytes) = (Vec::new(), 0);
        let records = self.journal.table().records();
        for record in records.filter(|record| record.id >= first && record.role != Role::FileOperation) {
            if bytes >= PROCESSES_BYTES {
                return (processes, true);
            }
            // Numbers and times, and what was asked for by somebody who is not bound to be brief.
            bytes += 512 + record.spec.argv.iter().map(String::len).sum::<usize>();
            processes.push(ProcessDetails::from(record));
        }
        (processes, false)
    }
}
