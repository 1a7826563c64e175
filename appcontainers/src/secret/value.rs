//! A secret in memory, on its way in.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

use appcontainers_sys::memory::Guarded;

use super::SecretError;

/// The most bytes of a secret.
pub const MAX_SECRET_BYTES: usize = 1024 * 1024;

/// What is to be kept secret: 1 byte to 1 MiB, in memory that is left out of core dumps, locked where that may be, and overwritten in the
/// end. A program that makes one of a `String` of its own has to look after that itself.
///
/// # Examples
///
/// ```
/// use appcontainers::SecretValue;
///
/// let value = SecretValue::read(&mut &b"correct horse battery staple"[..], "the example")?;
/// assert_eq!(format!("{value:?}"), "SecretValue(28 bytes)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SecretValue(pub(super) Guarded);

impl SecretValue {
    /// Reads one to its end; `what` names the source in errors.
    pub fn read(source: &mut impl Read, what: &str) -> Result<Self, SecretError> {
        let read = Guarded::read(source, MAX_SECRET_BYTES);
        let read = read.map_err(|source| SecretError::ReadValue { what: what.to_owned(), source })?;
        match read {
            None => Err(SecretError::TooLarge { what: what.to_owned(), limit: MAX_SECRET_BYTES }),
            Some(bytes) if bytes.is_empty() => Err(SecretError::Empty { what: what.to_owned() }),
            Some(bytes) => Ok(Self(bytes)),
        }
    }

    /// Reads a file.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let what = path.display().to_string();
        let mut file = File::open(path).map_err(|source| SecretError::ReadValue { what: what.clone(), source })?;
        Self::read(&mut file, &what)
    }

    /// Reads this program's standard input, past its buffer: nothing else may have read from it.
    pub fn from_stdin() -> Result<Self, SecretError> {
        struct Unbuffered;
        impl Read for Unbuffered {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(rustix::io::read(rustix::stdio::stdin(), buffer)?)
            }
        }
        Self::read(&mut Unbuffered, "standard input")
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretValue({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_or_nothing_is_refused() {
        let read = |length: usize| SecretValue::read(&mut vec![b'x'; length].as_slice(), "it");
        assert!(read(MAX_SECRET_BYTES).is_ok());
        assert!(matches!(read(MAX_SECRET_BYTES + 1), Err(SecretError::TooLarge { .. })));
        assert!(matches!(read(0), Err(SecretError::Empty { .. })));
    }
}
