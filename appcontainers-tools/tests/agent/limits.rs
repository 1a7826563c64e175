//! Resource limits of a command's own.

use appcontainers_wire::{ExitStatus, SpawnFailure};

use crate::monitor::{Bench, shell};

#[test]
fn a_command_has_the_limits_that_it_was_given_and_no_other_command_has() {
    let mut bench = Bench::start();
    let script = "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Ss";
    let before = bench.run(shell(script)).text().to_owned();
    let mut limited = shell(script);
    limited.rlimits =
        ["nofile=100:200", "core=0:0", "stack=4096000:4096000"].map(|limit| limit.parse().unwrap()).to_vec();
    assert_eq!(bench.run(limited).text(), "100\n200\n0\n4000\n");
    assert_eq!(bench.run(shell(script)).text(), before);
}

#[test]
fn a_limit_is_kept_by_the_kernel() {
    let mut bench = Bench::start();
    let mut limited = shell("head -c 100000 /dev/zero > \"$FILE\"; echo $?; stat -c %s \"$FILE\"");
    limited.env = vec![format!("FILE={}", bench.directory.path().join("file").display())];
    limited.rlimits = vec!["fsize=4096".parse().unwrap()];
    let known = bench.run(limited);
    // 153: SIGXFSZ.
    assert_eq!((known.text(), known.exit), ("153\n4096\n", Some(ExitStatus::Code(0))));
}

#[test]
fn a_limit_above_what_the_container_has_is_refused_with_both_numbers() {
    let mut bench = Bench::start_in_user_namespace();
    let allowed: u64 = bench.run(shell("ulimit -Hn")).text().trim().parse().unwrap();
    let mut greedy = shell("true");
    greedy.rlimits = vec![format!("nofile=1:{}", allowed + 1).parse().unwrap()];
    let Some(SpawnFailure::Other { why }) = bench.run(greedy).failure.clone() else { panic!("it was started") };
    let asked = format!("nofile=1:{}", allowed + 1);
    assert_eq!(why, format!("cannot set the limit {asked}: the hard limit may be at most {allowed}"));
    let mut just = shell("ulimit -Sn");
    just.rlimits = vec![format!("nofile={allowed}").parse().unwrap()];
    assert_eq!(bench.run(just).text(), format!("{allowed}\n"));
}
