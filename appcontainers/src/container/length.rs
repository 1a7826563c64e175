//! How long a command may be. Checked before anything is started for it: what is too long for a message or for the
//! kernel would fail only in the container.

use appcontainers_wire::{MAX_HEADER_BYTES, ProcessSpec, encode};

use crate::{ContainerName, Error, process::ConnectionError};

/// The longest command with its environment, in bytes of JSON: what one message to the monitor has room for beside its
/// own fields. All startup commands of a container together may not be longer either.
pub const MAX_COMMAND_BYTES: usize = MAX_HEADER_BYTES - 1024;

/// The longest word or variable of a command, in bytes: the kernel's `MAX_ARG_STRLEN` (`execve(2)`), 32 pages of 4 KiB,
/// less the byte that ends it.
pub const MAX_WORD_BYTES: usize = 32 * 4096 - 1;

/// An error if the commands are too long to be run in the container.
pub(super) fn check(name: &ContainerName, specs: &[ProcessSpec]) -> Result<(), Error> {
    let words = specs.iter().flat_map(|spec| spec.argv.iter().chain(&spec.env));
    if let Some(bytes) = words.map(String::len).find(|bytes| *bytes > MAX_WORD_BYTES) {
        return Err(Error::WordTooLong { name: name.clone(), bytes, limit: MAX_WORD_BYTES });
    }
    let of_monitor = |source: ConnectionError| Error::Monitor { name: name.clone(), source };
    let bytes = encode(&specs).map_err(|source| of_monitor(source.into()))?.len();
    if bytes > MAX_COMMAND_BYTES {
        return Err(Error::CommandTooLong { name: name.clone(), bytes, limit: MAX_COMMAND_BYTES });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{image::ImageConfig, process::Command};

    fn checked(words: &[String]) -> Result<(), Error> {
        let spec = Command::from(words.to_vec()).complete(&ImageConfig::default(), true);
        check(&"web".parse().unwrap(), &[spec])
    }

    #[test]
    fn what_is_within_the_limits_fits_into_every_message() {
        // Control characters take six bytes in JSON.
        let words = ["\u{1}".repeat(100_000), "x".repeat(100_000), "x".repeat(100_000), "x".repeat(100_000)];
        assert!(checked(&words).is_ok());
        let error = checked(&vec![words[0].clone(); 2]).unwrap_err();
        assert!(matches!(error, Error::CommandTooLong { bytes: 1_200_000.., .. }), "{error}");
        assert!(checked(&["x".repeat(MAX_WORD_BYTES)]).is_ok());
        let error = checked(&["x".repeat(MAX_WORD_BYTES + 1)]).unwrap_err();
        assert!(matches!(error, Error::WordTooLong { .. }), "{error}");
    }
}
