//! What a command finds around itself.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;

use crate::monitor::{Bench, shell, spec};

#[test]
fn no_descriptor_of_the_agent_is_left_open() {
    let mut bench = Bench::start();
    // What the tests were started with goes through unshare and the agent to the command; 3 is the directory being read.
    let inherited = bench.descriptors_of_unshare();
    let found: BTreeSet<u32> =
        bench.run(spec(&["ls", "/proc/self/fd"])).text().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(found.difference(&inherited).copied().collect::<Vec<_>>(), [3]);
}

#[test]
fn signals_umask_and_session_are_as_a_command_expects_them() {
    let mut bench = Bench::start();
    let known = bench.run(spec(&["cat", "/proc/self/status"]));
    let mask = |name: &str| {
        let line = known.text().lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!((mask("SigBlk:"), mask("SigCgt:")), (0, 0));
    assert_eq!(mask("SigIgn:") & 1 << (Signal::SIGPIPE as u64 - 1), 0);
    let known = bench.run(shell("umask; ps -o pid= -o pgid= -o sid= -p $$ | tr -s ' '; echo $$"));
    let pid = known.pid.unwrap();
    assert_eq!(known.text(), format!("0022\n {pid} {pid} {pid}\n{pid}\n"));
}

#[test]
fn the_environment_is_the_specs_and_what_every_command_needs() {
    let mut bench = Bench::start();
    let mut given = spec(&["env"]);
    given.env = ["B=2", "A=1", "PATH=/usr/bin:/bin"].map(str::to_owned).to_vec();
    assert_eq!(bench.run(given).text(), "A=1\nB=2\nHOME=/root\nPATH=/usr/bin:/bin\nUSER=root\n");
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(bench.run(spec(&["env"])).text(), format!("HOME=/root\nPATH={path}\nUSER=root\n"));
}

#[test]
fn another_user_has_its_ids_its_home_and_its_streams() {
    let mut bench = Bench::start();
    let mut known = |user: &str, script: &str| {
        let mut spec = shell(script);
        (spec.user, spec.working_dir) = (Some(user.to_owned()), None);
        let known = bench.run(spec);
        (known.text().to_owned(), known.stderr.clone())
    };
    let script = "id -u; id -g; id -G; echo $HOME $USER; pwd; echo out > /dev/stdout; echo err > /dev/stderr";
    // nobody's home is /nonexistent in Debian: `/` then.
    let (out, err) = known("nobody", script);
    assert_eq!((out.as_str(), err.as_slice()), ("65534\n65534\n65534\n/nonexistent nobody\n/\nout\n", &b"err\n"[..]));
    assert_eq!(known("daemon:tty", "id -u; id -g; id -G; pwd").0, "1\n5\n5\n/usr/sbin\n");
    assert_eq!(known("4321:8765", "id -u; id -g; id -G; echo $HOME $USER").0, "4321\n8765\n8765\n/ 4321\n");
    // Not a single capability is left.
    assert_eq!(known("nobody", "grep CapEff /proc/self/status").0, "CapEff:\t0000000000000000\n");
}

#[test]
fn in_a_user_namespace_that_cannot_read_the_agents_file_all_is_the_same() {
    let mut bench = Bench::start_in_user_namespace();
    let known =
        bench.run(shell("id -u; id -G; cat /proc/self/uid_map | tr -s ' '; cat /proc/1/exe 2>&1; ls /proc/1/fd 2>&1"));
    let text = known.text();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("0"));
    assert_eq!(lines.next(), Some("0"));
    assert_eq!(lines.next(), Some(" 0 1000000 65536"));
    assert!(lines.clone().count() == 2 && lines.all(|line| line.contains("Permission denied")), "{text}");
    let mut other = shell("id -u; echo out > /dev/stdout");
    other.user = Some("33:44".to_owned());
    assert_eq!(bench.run(other).text(), "33\nout\n");
}
