//! A thread in a mount namespace of its own, for peers that want the host's mounts otherwise.
//!
//! A new namespace for each call would count as the peer's time; this one is made once.

use std::{sync::mpsc, thread};

use anyhow::{Context as _, anyhow};

type Job = Box<dyn FnOnce() + Send>;

/// The thread. It ends, and its namespace with it, when this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    jobs: mpsc::Sender<Job>,
}

impl Room {
    /// Makes the namespace; mounts made outside later are seen in it.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::spawn(move || inbox.into_iter().for_each(|job| job()));
        let room = Self { jobs };
        room.run(appcontainers_sys::mount::enter_slave_namespace)?.context("cannot make a mount namespace")?;
        Ok(room)
    }

    /// Does `job` in there. Programs that it starts are in there, too.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
        let (answer, outcome) = mpsc::channel();
        let job = Box::new(move || drop(answer.send(job())));
        self.jobs.send(job).map_err(|_| anyhow!("the thread of the other mount namespace is gone"))?;
        outcome.recv().context("the thread of the other mount namespace died")
    }
}
