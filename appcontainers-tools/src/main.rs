//! `appc-agent`: PID 1 of an app container, or beside its init, and the operations that it starts as processes of their own.
//!
//! The file is bind-mounted read-only into every container, whatever root file system it has, so it is static, looks
//! nothing up through the C library (users, locales) and trusts nothing that it finds there.

use std::{env, ffi::OsString, process::ExitCode};

mod agent;
mod archive;
mod exec;
mod init;
mod report;
mod tail;
mod tar;
mod untar;
mod user;

use agent::Place;

const USAGE: &str =
    "usage: appc-agent [beside] [--socket-dir DIR] | init | tar PATH | untar --into DIR | tail PATH | --version";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap_or("\u{fffd}")).collect();
    match words.as_slice() {
        [] => agent::run(appcontainers_wire::agent::SOCKET_DIR.as_ref(), Place::Init),
        ["--socket-dir", _] => agent::run(arguments[1].as_ref(), Place::Init),
        [agent::BESIDE] => agent::run(appcontainers_wire::agent::SOCKET_DIR.as_ref(), Place::Beside),
        [agent::BESIDE, "--socket-dir", _] => agent::run(arguments[2].as_ref(), Place::Beside),
        [init::WORD] => init::run(),
        [exec::WORD] => exec::run(),
        [tail::WORD, ..] => tail::run(&arguments[1..]),
        [tar::WORD, ..] => tar::run(&arguments[1..]),
        [untar::WORD, ..] => untar::run(&arguments[1..]),
        ["--version"] => {
            report::line(format_args!("{}", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        _ => {
            report::error(format_args!("{USAGE}"));
            ExitCode::from(2)
        }
    }
}
