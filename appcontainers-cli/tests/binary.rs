//! The program itself, where neither root nor a container is needed.

#![allow(clippy::unwrap_used)]

use std::{
    io::Read,
    process::{Command, Output, Stdio},
};

fn appc(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_appc"));
    command.args(arguments).env_remove("APPC_CONTAINER").env("APPC_ROOT", "/nonexistent/appcontainers");
    command
}

fn output(arguments: &[&str]) -> Output {
    appc(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn run_without_a_command_says_what_to_type() {
    let output = output(&["run"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    let message = "\
error: no command to run; type it behind '--': appc run -- ls -l

Usage: appc run [OPTIONS] [--] CMD [ARG]...

For more information, try '--help'.
";
    assert_eq!(text(&output.stderr), message);
}

#[test]
fn rm_after_a_run_never_takes_the_sessions_container_by_accident() {
    let output = output(&["run", "--rm", "--", "true"]);
    assert_eq!(output.status.code(), Some(2));
    let message = "error: --rm removes the container with all its files: name it with -c NAME, or use --image\n";
    assert!(text(&output.stderr).starts_with(message), "{}", text(&output.stderr));
}

#[test]
fn an_image_and_a_container_cannot_both_be_meant() {
    let output = output(&["-c", "web", "run", "--image", "app.aimg", "--", "true"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("error: --image makes a container of its own"));
}

#[test]
fn a_directory_that_no_container_could_have_its_state_in_is_refused_at_once() {
    let line = |bad| format!("appc: cannot use {bad:?} as APPC_ROOT or APPC_RUN: it holds a control character");
    for (arguments, code) in [(&["ls"][..], 1), (&["setup"], 1), (&["gc"], 1), (&["run", "--", "true"], 125)] {
        let bad = "/nonexistent/a\nb";
        let of_option = appc(&[&["--root", bad], arguments].concat()).output().unwrap();
        let of_root = appc(arguments).env("APPC_ROOT", bad).output().unwrap();
        let of_run = appc(arguments).env("APPC_RUN", bad).output().unwrap();
        for output in [of_option, of_root, of_run] {
            assert_eq!(output.status.code(), Some(code));
            assert!(text(&output.stderr).starts_with(&line(bad)), "{}", text(&output.stderr));
            assert_eq!(text(&output.stderr).lines().count(), 1);
        }
    }
}

#[test]
fn a_failure_of_appc_itself_in_run_is_125_and_elsewhere_1() {
    for (arguments, code) in [(&["run", "--", "true"][..], 125), (&["inspect"], 1)] {
        let output = appc(arguments).env("APPC_CONTAINER", "No/Name").output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(text(&output.stdout), "");
        let line = "appc: cannot use APPC_CONTAINER from the environment: \"No/Name\" is not a name: \
                    use 1 to 63 of a-z, 0-9, '.', '_' and '-', the first a letter or a digit\n";
        assert_eq!(text(&output.stderr), line);
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = appc(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!(complaints, "");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = appc(&["completions", "bash"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "appc: cannot write to standard output: No space left on device\n");
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let status = appc(&["man", "--output"]).arg(dir.path().join("man1")).status().unwrap();
    assert!(status.success());
    for page in ["appc.1", "appc-run.1", "appc-base-build.1", "appc-startup-command-add.1"] {
        assert!(dir.path().join("man1").join(page).exists(), "{page}");
    }
    let printed = output(&["man"]);
    assert!(text(&printed.stdout).contains("APPC_CONTAINER"));
}

#[test]
fn every_commands_help_fits_a_terminal_and_has_an_example_where_it_takes_something() {
    for command in [
        "provision",
        "load-archive",
        "run",
        "build",
        "up",
        "down",
        "save-image",
        "load-image",
        "start",
        "stop",
        "rm",
        "gc",
        "stats",
        "top",
        "events",
    ] {
        let help = output(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        assert!(text(&help.stdout).contains("Example"), "{command}");
        for line in text(&help.stdout).lines() {
            assert!(line.chars().count() <= 100, "{command}: {line}");
        }
    }
}
