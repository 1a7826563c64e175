//! `appc run`: what a command says, how it ends, and when its container starts and stops.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use appcontainers_tests::in_sandbox;

#[test]
fn the_exit_code_is_the_commands_own() {
    in_sandbox(|host| {
        host.provision("web");
        for code in [0, 1, 3, 42, 255] {
            assert_eq!(host.sh_in("web", &format!("exit {code}")).code, code);
        }
    });
}
