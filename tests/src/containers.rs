//! Containers of a test's host: what is done with them in every suite, and how they are seen from outside.

use std::{ffi::OsStr, fs};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Finished, Host, wait::eventually};

impl Host {
    /// Runs `appc` in the container `name`: `host.in_container("web", ["cat", "/etc/hostname"])`.
    #[track_caller]
    pub fn in_container<I: IntoIterator<Item: AsRef<OsStr>>>(&self, name: &str, command: I) -> Finished {
        let words = ["-c", name, "run", "--"].map(|word| OsStr::new(word).to_owned());
        let command = command.into_iter().map(|word| word.as_ref().to_owned());
        self.appc(words.into_iter().chain(command))
    }

    /// A line for the shell of container `name`.
    #[track_caller]
    pub fn sh_in(&self, name: &str, line: &str) -> Finished {
        self.in_container(name, ["sh", "-c", line])
    }

    /// Starts a line of shell in the background of container `name`: the process's number.
    #[track_caller]
    pub fn spawn_in(&self, name: &str, line: &str) -> String {
        self.appc(["-c", name, "spawn", "--", "sh", "-c", line]).succeeds()
    }

    /// Provisions a container with this name.
    #[track_caller]
    pub fn provision(&self, name: &str) {
        assert_eq!(self.appc(["provision", "--name", name]).succeeds(), name);
    }

    /// Provisions a container, and starts it so that commands find it running.
    #[track_caller]
    pub fn start(&self, name: &str) {
        self.provision(name);
        self.appc(["start", name]).succeeds();
    }

    /// Adds a startup command to a container.
    #[track_caller]
    pub fn add_startup_command(&self, name: &str, line: &str) {
        self.appc(["-c", name, "startup-command", "add", line]).succeeds();
    }

    /// Saves `app.aimg` from a container that is removed then; `prepare` gets its name and puts into it what the image is to
    /// have.
    #[track_caller]
    pub fn app_image(&self, prepare: impl FnOnce(&str)) {
        self.provision("maker");
        prepare("maker");
        self.appc(["-c", "maker", "save-image", "app.aimg"]).succeeds();
        self.appc(["rm", "maker"]).succeeds();
    }

    /// Makes an ephemeral container of `app.aimg`.
    #[track_caller]
    pub fn ephemeral(&self, name: &str) {
        self.appc(["load-image", "app.aimg", "--ephemeral", "--name", name]).succeeds();
    }

    /// What `appc inspect` says of a container.
    #[track_caller]
    pub fn inspect(&self, name: &str) -> Value {
        self.json(["inspect", name])
    }

    /// Whether a container runs, in the word of `appc inspect`.
    #[track_caller]
    pub fn status(&self, name: &str) -> String {
        self.inspect(name)["status"].as_str().expect("a status is a word").to_owned()
    }

    /// What is told of containers, without what their processes do: a startup command's begin is told when it comes, after the
    /// start.
    #[track_caller]
    pub fn container_events(&self) -> Vec<String> {
        let told = self.appc(["events"]).succeeds();
        told.lines().filter(|line| !line.contains(" process-")).map(str::to_owned).collect()
    }

    /// The record of a container's start, as long as nobody has cleared up after it.
    pub fn start_record(&self, name: &str) -> Option<Value> {
        let name = name.parse().expect("a container's name");
        serde_json::from_slice(&fs::read(self.paths().container_run(&name).join("start.json")).ok()?).ok()
    }

    /// A process in that record: `init` or `monitor`.
    pub fn recorded_pid(&self, name: &str, which: &str) -> Option<Pid> {
        Pid::from_raw(self.start_record(name)?[which]["pid"].as_i64()?.try_into().ok()?)
    }

    /// The monitor of a container; the test's processes are the only ones that can be seen here.
    pub fn monitor(&self, name: &str) -> Option<Pid> {
        let processes = fs::read_dir("/proc").expect("list processes").flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()));
        let pid = pids.find(|pid: &i32| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<_> = words.split('\0').collect();
            matches!(words[..], [program, "run" | "adopt", .., last, ""] if program.ends_with("appc-monitor") && last == name)
        });
        pid.and_then(Pid::from_raw)
    }

    /// Kills the monitor of a container: which one that was.
    #[track_caller]
    pub fn kill_monitor(&self, name: &str) -> Pid {
        let pid = eventually("there is a monitor", || self.monitor(name));
        kill_process(pid, Signal::KILL).expect("kill a monitor");
        pid
    }

    /// The names of all containers.
    #[track_caller]
    pub fn containers(&self) -> Vec<String> {
        names(&self.json(["ls"]))
    }
}

/// The names of a listing.
fn names(listing: &Value) -> Vec<String> {
    let listing = listing.as_array().expect("a listing is an array");
    listing.iter().map(|one| one["name"].as_str().expect("what is listed has a name").to_owned()).collect()
}
