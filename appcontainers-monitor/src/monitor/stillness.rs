//! Whether the container stands still: somebody has paused it, or clients have it frozen for a while. What is due at a time for its
//! processes waits so long.
//!
//! ```text
//! moving --Pause, or a first Freeze--> still --Unpause and no Freeze any more, or Stop--> moving, deadlines later by that time
//! ```

use std::time::Instant;

use appcontainers_wire::client::ToClient;

use super::{Monitor, Phase};

/// Why it stands still, and since when.
#[derive(Debug, Default)]
pub(super) struct Stillness {
    paused: bool,
    frozen: bool,
    since: Option<Instant>,
}

impl Stillness {
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }
}

impl Monitor {
    /// Whether all the container's processes stand still: then nothing can be asked of them, and no time of theirs passes.
    pub(crate) fn stands_still(&self) -> bool {
        self.stillness.since.is_some()
    }

    /// Whether a client has it frozen.
    pub(crate) fn is_held_frozen(&self) -> bool {
        self.clients.values().any(|client| client.freezes)
    }

    /// It was paused, or goes on.
    pub(crate) fn set_paused(&mut self, paused: bool) -> anyhow::Result<()> {
        self.stillness.paused = paused;
        self.note_stillness();
        self.stop_if_last_out()
    }

    /// A client's freeze is done, or over.
    pub(crate) fn set_frozen(&mut self, frozen: bool) {
        self.stillness.frozen = frozen;
        self.note_stillness();
    }

    /// Takes over a container that is paused: its agent answers only when it goes on, and clients can be served without it.
    pub(crate) fn adopt_paused(&mut self) {
        self.stillness.paused = true;
        self.note_stillness();
        if self.phase == Phase::Starting {
            self.phase = Phase::Ready;
            for id in self.clients.keys().copied().collect::<Vec<_>>() {
                self.send_ready(id);
            }
        }
    }

    /// What became of what a client has asked for.
    pub(crate) fn tell_result(&mut self, client: u64, result: Result<(), String>) {
        let answer = result.map_or_else(|message| ToClient::Failed { message }, |()| ToClient::Done);
        self.tell(Some(client), &answer);
    }

    fn note_stillness(&mut self) {
        let is_still = self.stillness.paused || self.stillness.frozen;
        match self.stillness.since {
            None if is_still => self.stillness.since = Some(Instant::now()),
            Some(since) if !is_still => {
                self.stillness.since = None;
                let passed = since.elapsed();
                self.processes.values_mut().for_each(|process| process.put_off(passed));
            }
            _ => {}
        }
    }
}
