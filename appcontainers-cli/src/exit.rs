//! The exit codes of `appc`.

use appcontainers::Error;

/// All went well.
pub(crate) const SUCCESS: u8 = 0;

/// Anything that failed, outside `run` and its like. (Clap itself exits with 2 for wrong usage.)
pub(crate) const FAILURE: u8 = 1;

/// `wait-port` and its like waited in vain; `timeout(1)` has this code, too.
pub(crate) const TIMED_OUT: u8 = 124;

/// `appc` itself failed in one of these, so that the code can't be taken for the command's.
pub(crate) const RUN_FAILURE: u8 = 125;

/// The code for `error`: in those 127 and 126 as in a shell where the command was not found or is
/// not executable, else 125; 124 for a port that was not ready, or a container that was not healthy, in time; 1 everywhere else.
pub(crate) fn code_of_failure(error: &anyhow::Error, in_run: bool) -> u8 {
    let library = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    if let Some(Error::PortNotReady { .. } | Error::NotHealthy { .. }) = library {
        return TIMED_OUT;
    }
    if !in_run {
        return FAILURE;
    }
    library.and_then(Error::shell_code).unwrap_or(RUN_FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_run_is_told_apart_from_the_commands_own_code() {
        assert_eq!(code_of_failure(&anyhow::anyhow!("no"), true), 125);
        assert_eq!(code_of_failure(&anyhow::anyhow!("no"), false), 1);
    }
}
