//! Gives the disk back what dropped segments took.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How many dropped segments may still take room on the disk.
const MOST: usize = 16;

/// To take a segment of 16 MiB out of memory alone takes less.
const SLOW: Duration = Duration::from_millis(8);

/// Closes files that have no name any more, which frees their blocks.
///
/// Where that waits for the disk (21 ms for a segment on an ext4 that discards at once) the next file is closed in a thread. Where
/// it does not, it is closed here: the memory that it had is what the writer writes to next, while this processor still
/// has it at hand.
#[derive(Debug, Default)]
pub(super) struct Freeing {
    threads: Vec<JoinHandle<()>>,
    is_slow: Arc<AtomicBool>,
}

impl Freeing {
    pub(super) fn free(&mut self, file: File) {
        let is_slow = Arc::clone(&self.is_slow);
        let close = move || {
            let begin = Instant::now();
            drop(file);
            is_slow.store(begin.elapsed() > SLOW, Ordering::Relaxed);
        };
        if !self.is_slow.load(Ordering::Relaxed) {
            return close();
        }
        self.threads.retain(|thread| !thread.is_finished());
        if self.threads.len() >= MOST {
            // It does nothing that could fail.
            let _ = self.threads.remove(0).join();
        }
        // Where no thread can be started, the file is closed by that.
        self.threads.extend(thread::Builder::new().name("free".to_owned()).spawn(close));
    }
}
