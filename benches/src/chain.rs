//! The least that logged output through ZeroMQ can cost: pipe → DEALER → ROUTER → file → reader, with nothing
//! acknowledged, nothing checked and nothing kept for later.
//!
//! One process an end, all of them this program. The ROUTER's tells the reader through a pipe how far the file goes.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufReader, Read as _, Write as _},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rustix::stdio::{stdin, stdout};

use crate::sandbox::Sandbox;

/// The argument that makes this program one of the ends.
pub(crate) const ARGUMENT: &str = "chain";

/// As many as this project's agent sends at once, and messages that libzmq holds.
const CHUNK_BYTES: usize = 64 * 1024;
const HIGH_WATER_MARK: i32 = 64;

/// How soon a DEALER that came before its ROUTER tries again.
const AGAIN_MS: i32 = 1;

/// How long an end waits for one that has failed.
const PATIENCE_MS: i32 = 60_000;

/// A place for a chain.
#[derive(Debug)]
pub(crate) struct Chain {
    socket: String,
    file: PathBuf,
}

impl Chain {
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        let socket = format!("ipc://{}", sandbox.run.join("chain").display());
        Self { socket, file: sandbox.base.join("chain") }
    }

    /// How long it takes until all of a program's output, which is that long, has come out at the other end.
    pub(crate) fn time(&self, program: &mut Command, bytes: u64) -> anyhow::Result<Duration> {
        File::create(&self.file)?;
        let begin = Instant::now();
        let (mut router, lengths) =
            piped(&mut end("router", &[self.socket.as_ref(), self.file.as_ref()], Stdio::null())?)?;
        let mut reader = end("reader", &[self.file.as_ref(), bytes.to_string().as_ref()], lengths)?.spawn()?;
        let (mut program, output) = piped(program.stdin(Stdio::null()))?;
        let mut dealer = end("dealer", &[self.socket.as_ref()], output)?.spawn()?;
        for child in [&mut program, &mut dealer, &mut router, &mut reader] {
            let status = child.wait()?;
            ensure!(status.success(), "a part of the bare chain failed: {status}");
        }
        let time = begin.elapsed();
        fs::remove_file(&self.file)?;
        Ok(time)
    }
}

/// What this program does when it is asked to be an end.
pub(crate) fn run_end(arguments: &[String]) -> anyhow::Result<()> {
    match arguments {
        [kind, socket] if kind == "dealer" => dealer(socket),
        [kind, socket, file] if kind == "router" => router(socket, Path::new(file)),
        [kind, file, bytes] if kind == "reader" => reader(Path::new(file), bytes.parse()?),
        _ => bail!("no such end of a chain: {arguments:?}"),
    }
}

/// Sends standard input, and an empty message at its end. Waits for an answer to that: libzmq loses what a peer that closes
/// has sent and a ROUTER at its high-water mark has not read.
fn dealer(socket: &str) -> anyhow::Result<()> {
    let mut input = own(stdin())?;
    let context = zmq::Context::new();
    let dealer = context.socket(zmq::DEALER)?;
    dealer.set_sndhwm(HIGH_WATER_MARK)?;
    dealer.set_reconnect_ivl(AGAIN_MS)?;
    dealer.set_rcvtimeo(PATIENCE_MS)?;
    dealer.set_linger(0)?;
    dealer.connect(socket)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = input.read(&mut chunk)?;
        dealer.send(&chunk[..count], 0)?;
        if count == 0 {
            dealer.recv_msg(0).context("no answer to the end of the output")?;
            return Ok(());
        }
    }
}

/// Appends what comes to the file, and says on standard output how long that is now.
fn router(socket: &str, file: &Path) -> anyhow::Result<()> {
    let context = zmq::Context::new();
    let router = context.socket(zmq::ROUTER)?;
    router.set_rcvhwm(HIGH_WATER_MARK)?;
    router.set_rcvtimeo(PATIENCE_MS)?;
    router.set_linger(PATIENCE_MS)?;
    router.bind(socket)?;
    let (mut file, mut reader) = (File::options().append(true).open(file)?, own(stdout())?);
    let (mut sender, mut frame, mut length) = (zmq::Message::new(), zmq::Message::new(), 0_u64);
    loop {
        router.recv(&mut sender, 0).context("no output and no end of it")?;
        router.recv(&mut frame, 0)?;
        if frame.is_empty() {
            return Ok(router.send_multipart([&*sender, &[]], 0)?);
        }
        file.write_all(&frame)?;
        length += frame.len() as u64;
        reader.write_all(&length.to_ne_bytes())?;
    }
}

/// Follows the file to standard output; in the end it must be `bytes` long.
fn reader(file: &Path, bytes: u64) -> anyhow::Result<()> {
    let (mut file, mut out, mut router) = (File::open(file)?, own(stdout())?, BufReader::new(own(stdin())?));
    let (mut chunk, mut position, mut length) = (vec![0; CHUNK_BYTES], 0_u64, [0; size_of::<u64>()]);
    loop {
        match router.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            outcome => outcome?,
        }
        while position < u64::from_ne_bytes(length) {
            let count = file.read(&mut chunk)?;
            out.write_all(&chunk[..count])?;
            position += count as u64;
        }
    }
    ensure!(position == bytes, "{position} bytes came through the chain, not {bytes}");
    Ok(())
}

/// A standard stream without the buffer that the standard library gives it.
fn own(stream: BorrowedFd<'_>) -> io::Result<File> {
    Ok(stream.try_clone_to_owned()?.into())
}

/// Starts a program whose output goes to another one.
fn piped(command: &mut Command) -> anyhow::Result<(Child, Stdio)> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {command:?}"))?;
    let output = child.stdout.take().context("a child has no standard output")?;
    Ok((child, output.into()))
}

fn end(kind: &str, arguments: &[&OsStr], stdin: Stdio) -> anyhow::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args([ARGUMENT, kind]).args(arguments).stdin(stdin).stdout(Stdio::null());
    Ok(command)
}
