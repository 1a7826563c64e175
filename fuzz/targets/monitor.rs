//! A monitor whose agent says anything at all, in any order: it goes on or ends the session, and what is in the log is what
//! was said. The bytes are a program: what is said or asked for, and its numbers.
#![no_main]

#[allow(dead_code, reason = "tests use it, too")]
#[path = "../../appcontainers-monitor/tests/hostile/rig.rs"]
mod rig;

use appcontainers_monitor::monitor::Beginning;
use appcontainers_wire::{
    ExitStatus, ProcessId, ProcessSpec, RestartPolicy, SpawnFailure, Stream, agent::FromAgent, client::FromClient,
};
use libfuzzer_sys::fuzz_target;
use rig::{Client, Rig, hello, message, opening};

/// Takes numbers from the bytes until there are none.
struct Program<'a>(&'a [u8]);

impl Program<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Small numbers, and those at the edges.
    fn number(&mut self) -> Option<u64> {
        Some(match self.byte()? {
            byte @ 0..240 => byte.into(),
            byte @ 240..248 => 1 << (8 * (byte - 240)),
            byte => u64::MAX - u64::from(byte - 248),
        })
    }

    fn process(&mut self) -> Option<ProcessId> {
        Some(ProcessId(match self.byte()? {
            255 => u32::MAX,
            byte => byte.into(),
        }))
    }

    fn from_agent(&mut self) -> Option<FromAgent> {
        let kind = self.byte()?;
        let process = self.process()?;
        Some(match kind % 6 {
            0 => hello(),
            1 => {
                let (input_bytes, taken_bytes) = (self.number()?, self.number()?);
                FromAgent::Started { process, pid: 17, input_bytes, taken_bytes }
            }
            2 => FromAgent::SpawnFailed { process, failure: SpawnFailure::Other { why: "so".to_owned() } },
            3 => {
                let stream = if kind & 8 == 0 { Stream::Stdout } else { Stream::Stderr };
                FromAgent::Output { process, stream, offset: self.number()?, time_ns: self.number()? }
            }
            4 => FromAgent::StdinCredit { process, bytes: self.number()? },
            _ => FromAgent::Exited { process, status: ExitStatus::Code(self.byte()?) },
        })
    }

    fn from_client(&mut self) -> Option<FromClient> {
        let kind = self.byte()?;
        let spec = ProcessSpec { stdin: kind & 64 == 0, file_operation: kind & 128 != 0, ..ProcessSpec::default() };
        Some(match kind % 8 {
            0 => FromClient::Run { spec, stop_after: kind & 32 != 0, token: 1 },
            1 => FromClient::Spawn { spec, name: None, restart: RestartPolicy::No, token: 1 },
            2 => FromClient::Claim { process: self.process()? },
            3 => FromClient::Consumed { position: self.number()?, passed_bytes: self.number()? },
            4 => FromClient::SignalProcess { process: self.process()?, signal: self.byte()? },
            5 => FromClient::Stdin,
            6 => FromClient::Stop { grace_ms: self.number()? },
            _ => FromClient::Keep { startup: vec![spec] },
        })
    }
}

/// Has the program played until it ends or the session does.
fn play(rig: &mut Rig, program: &mut Program<'_>) -> Option<()> {
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let kind = program.byte()?;
        match kind % 4 {
            0 if clients.len() < 4 => clients.push(rig.client()),
            0 => drop(clients.remove(usize::from(kind) % 4)),
            1 => {
                let request = program.from_client()?;
                let client = clients.last_mut()?;
                let _ = client.0.send(&request, b"input");
                rig.turn().ok()?;
                client.news();
            }
            _ => {
                let said = program.from_agent()?;
                rig.says(&message(&said, &[kind; 300][..usize::from(kind)])).ok()?;
                rig.told();
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut program = Program(data);
    let Some(kind) = program.byte() else { return };
    let mut rig = if kind & 1 == 0 { Rig::ready() } else { Rig::new(Beginning::ForCommands) };
    if kind & 1 == 1 && rig.says(&[opening(), message(&hello(), b"")].concat()).is_err() {
        return;
    }
    let _ = play(&mut rig, &mut program);
    if kind & 2 == 2 {
        // And once more by a monitor that adopts it.
        rig = Rig::in_place(rig.place, Beginning::Adoption { kept: kind & 4 == 0 });
        if rig.says(&opening()).is_ok() {
            let _ = play(&mut rig, &mut program);
        }
    }
    for (_, _, bytes) in rig.logged() {
        assert!(!bytes.is_empty() && bytes.iter().all(|byte| usize::from(*byte) >= bytes.len()));
    }
    let files = rig.files();
    assert!(
        files.iter().all(|name| ["a", "log", "processes.jsonl", "log/0000000000000000.seg"].contains(&&**name)),
        "{files:?}"
    );
});
