//! What the tests put into a container to attack its agent and its monitor. One file without dependencies, linked statically, so
//! that it runs in any container; in place of the agent as PID 1 it does what `HOSTILITY` was when it was compiled.
//!
//! It belongs to no crate and is part of no program: the tests compile it with rustc. So it calls the C library by itself, and has
//! the only `unsafe` outside of `appcontainers-sys`: what attacks a process (ptrace(2), process_vm_readv(2)) has no safe form.

use std::{
    env, fs,
    io::{ErrorKind, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    thread,
    time::Duration,
};

const SOCKET: &str = "/dev/.appc/sock/a";

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match (&words[..], option_env!("HOSTILITY")) {
        ([], Some("endless-message")) => send_an_endless_message(),
        ([], Some("endless-message-later")) => answer_a_spawn_with_an_endless_message(),
        ([], Some("takes-no-answer")) => ask_and_take_no_answer(),
        ([], Some("many-connections")) => connect_without_end(),
        (["strangers", count], _) => be_strangers(count.parse().expect("a number")),
        (["pretend", pid], _) => pretend_to_be(pid),
        (["listen", path], _) => listen(path),
        (["reach"], _) => reach_the_agent(),
        _ => panic!("unknown hostility {words:?}"),
    }
}

/// The monitor's socket, as the agent would open it.
fn connect() -> UnixStream {
    loop {
        match UnixStream::connect(SOCKET) {
            Ok(stream) => return stream,
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// What a DEALER begins with, and properties of its own.
fn opening(properties: &[(&str, &str)]) -> Vec<u8> {
    let mut ready = b"\x05READY".to_vec();
    for (name, value) in [("Socket-Type", "DEALER")].iter().chain(properties) {
        ready.push(name.len() as u8);
        ready.extend(name.as_bytes());
        ready.extend((value.len() as u32).to_be_bytes());
        ready.extend(value.as_bytes());
    }
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    bytes.extend(b"NULL");
    bytes.resize(64, 0);
    bytes.extend([4, ready.len() as u8]);
    bytes.extend(ready);
    bytes
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![flags | 2];
    frame.extend((body.len() as u64).to_be_bytes());
    frame.extend(body);
    frame
}

fn hello() -> Vec<u8> {
    [frame(1, br#"{"type":"hello","wire":1,"version":"0"}"#), frame(0, b"")].concat()
}

fn answer_a_spawn_with_an_endless_message() {
    let mut stream = connect();
    let _ = stream.write_all(&[opening(&[]), hello()].concat());
    let (mut said, mut bytes) = (Vec::<u8>::new(), [0_u8; 4096]);
    while !said.windows(7).any(|word| word == b"\"spawn\"") {
        match stream.read(&mut bytes) {
            Ok(read @ 1..) => said.extend(&bytes[..read]),
            _ => rest(),
        }
    }
    go_on_without_end(stream)
}

fn send_an_endless_message() {
    let mut stream = connect();
    let _ = stream.write_all(&opening(&[]));
    go_on_without_end(stream)
}

fn go_on_without_end(mut stream: UnixStream) {
    let part = frame(1, &vec![b' '; 1_000_000]);
    while stream.write_all(&part).is_ok() {}
    rest()
}

fn ask_and_take_no_answer() {
    let mut stream = connect();
    let _ = stream.write_all(&opening(&[]));
    let questions = hello().repeat(1000);
    while stream.write_all(&questions).is_ok() {}
    rest()
}

fn connect_without_end() {
    let mut agent = connect();
    let _ = agent.write_all(&[opening(&[]), hello()].concat());
    let mut announced = opening(&[]);
    announced.extend([3, 0, 0, 0, 0, 0, 0x10, 0, 0]);
    let others: Vec<_> = (0..900)
        .map(|_| {
            let mut stream = connect();
            let _ = stream.write_all(&announced);
            stream
        })
        .collect();
    fs::write("/run/connected", others.len().to_string()).expect("a file");
    rest()
}

fn rest() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// Connects as often, most of it at once: says how many of these were closed.
fn be_strangers(count: usize) {
    let mut refused = 0;
    for _ in 0..count.div_ceil(500) {
        let mut streams: Vec<_> = (0..500)
            .map(|_| {
                let mut stream = connect();
                let _ = stream.write_all(&[opening(&[]), hello()].concat());
                stream
            })
            .collect();
        refused += streams.iter_mut().filter_map(|stream| is_closed(stream).then_some(())).count();
    }
    println!("{refused} of {} refused", count.div_ceil(500) * 500);
}

/// Says that it is the process that the host knows as `pid`.
fn pretend_to_be(pid: &str) {
    let mut stream = connect();
    let properties = [("Peer-Address", format!(":0:0:{pid}")), ("Identity", "agent".to_owned())];
    let properties = properties.each_ref().map(|(name, value)| (*name, value.as_str()));
    let _ = stream.write_all(&[opening(&properties), hello()].concat());
    println!("{}", if is_closed(&mut stream) { "refused" } else { "heard" });
}

/// Whether the other side has closed it, or does within some seconds; what it says before does not count.
fn is_closed(stream: &mut UnixStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    match stream.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        // So it ends for who has sent what was not read.
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Takes whoever connects at `path`, and says so.
fn listen(path: &str) {
    let listener = UnixListener::bind(path).expect("listen");
    println!("listening");
    for stream in listener.incoming() {
        println!("caught {}", stream.is_ok());
    }
}

unsafe extern "C" {
    fn ptrace(request: u32, pid: i32, address: usize, data: usize) -> i64;
    fn process_vm_readv(
        pid: i32,
        local: *const [usize; 2],
        n: u64,
        remote: *const [usize; 2],
        m: u64,
        flags: u64,
    ) -> i64;
    fn process_vm_writev(
        pid: i32,
        local: *const [usize; 2],
        n: u64,
        remote: *const [usize; 2],
        m: u64,
        flags: u64,
    ) -> i64;
    fn syscall(number: i64, ...) -> i64;
}

const PTRACE_ATTACH: u32 = 16;
const PTRACE_SEIZE: u32 = 0x4206;
/// These have the same number on every architecture.
const PIDFD_OPEN: i64 = 434;
const PIDFD_GETFD: i64 = 438;

/// Tries what would let it read, change or stop PID 1; says what it could do.
fn reach_the_agent() {
    let mut bytes = [0_u8; 8];
    let local = [bytes.as_mut_ptr() as usize, bytes.len()];
    // An address that this very program has, and so has PID 1 if it is the same.
    let remote = [SOCKET.as_ptr() as usize, bytes.len()];
    // SAFETY: numbers, and vectors that outlive the calls.
    unsafe {
        say("attach", ptrace(PTRACE_ATTACH, 1, 0, 0));
        say("seize", ptrace(PTRACE_SEIZE, 1, 0, 0));
        say("read memory", process_vm_readv(1, &raw const local, 1, &raw const remote, 1, 0));
        say("write memory", process_vm_writev(1, &raw const local, 1, &raw const remote, 1, 0));
        let handle = syscall(PIDFD_OPEN, 1_i64, 0_i64);
        for descriptor in 0..16_i64 {
            say("take a descriptor", syscall(PIDFD_GETFD, handle, descriptor, 0_i64));
        }
    }
    for file in ["mem", "environ", "maps", "smaps", "pagemap", "auxv", "syscall", "stack", "personality", "io"] {
        let path = format!("/proc/1/{file}");
        if fs::File::open(&path).is_ok_and(|mut file| file.read(&mut bytes).is_ok_and(|read| read > 0)) {
            println!("read {path}");
        }
    }
    if fs::File::options().write(true).open("/proc/1/mem").is_ok() {
        println!("write /proc/1/mem");
    }
    for link in ["exe", "cwd", "root", "fd/0", "fd/3", "ns/mnt"] {
        let path = format!("/proc/1/{link}");
        if fs::read_link(&path).is_ok() {
            println!("follow {path}");
        }
    }
    println!("done");
}

fn say(what: &str, result: i64) {
    if result >= 0 {
        println!("{what}");
    }
}
