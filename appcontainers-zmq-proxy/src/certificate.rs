//! Key pairs: made by libzmq, written as Z85 (ZeroMQ RFC 32) in the form in which CZMQ and pyzmq keep certificates.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context as _, anyhow, bail};

/// A CURVE key, in binary.
pub(crate) type Key = [u8; 32];

/// Characters of a key as Z85.
const KEY_CHARACTERS: usize = 40;

/// A public key and the secret one that goes with it.
pub(crate) struct Certificate {
    pub(crate) public: Key,
    pub(crate) secret: Key,
}

impl Certificate {
    /// A new pair.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let pair = zmq::CurveKeyPair::new().context("cannot make a key pair")?;
        Ok(Self { public: pair.public_key, secret: pair.secret_key })
    }

    /// The pair in a file that nobody but its owner may read.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("cannot read the key pair in {}", path.display());
        let file = File::open(path).with_context(failed)?;
        let mode = file.metadata().with_context(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            bail!("others may read {}, which has a secret key: chmod 600 {0}", path.display());
        }
        let text = io::read_to_string(file).with_context(failed)?;
        let key = |name| key_in(&text, name).with_context(|| format!("{} has no {name}", path.display()));
        Ok(Self { public: key("public-key")?, secret: key("secret-key")? })
    }

    /// Writes the pair to a new file.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let failed = || format!("cannot write a key pair to {}", path.display());
        let text = self.whole_text(false)?;
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).with_context(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(failed)
    }

    /// The public key alone, a line.
    pub(crate) fn public_text(&self, json: bool) -> anyhow::Result<String> {
        let public = z85(&self.public)?;
        let public = if json { serde_json::json!({"public_key": public}).to_string() } else { public };
        Ok(public + "\n")
    }

    /// Both keys.
    pub(crate) fn whole_text(&self, json: bool) -> anyhow::Result<String> {
        let [public, secret] = [z85(&self.public)?, z85(&self.secret)?];
        Ok(match json {
            true => format!("{}\n", serde_json::json!({"public_key": public, "secret_key": secret})),
            false => format!(
                "# A key pair for ZeroMQ. Others may know the public key, and nobody the secret one.\n\
                 metadata\ncurve\n    public-key = \"{public}\"\n    secret-key = \"{secret}\"\n"
            ),
        })
    }
}

/// A public key, as text or from the file that has this name.
pub(crate) fn public_key(text_or_file: &OsStr) -> anyhow::Result<Key> {
    if let Some(key) = text_or_file.to_str().and_then(from_z85) {
        return Ok(key);
    }
    let path = Path::new(text_or_file);
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("{} is neither a public key nor a file with one", path.display()))?;
    key_in(&text, "public-key").ok_or_else(|| anyhow!("{} has no public-key", path.display()))
}

fn key_in(text: &str, name: &str) -> Option<Key> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(name)?.trim_start().strip_prefix('='))?;
    from_z85(value.trim().trim_matches(['"', '\'']))
}

fn z85(key: &Key) -> anyhow::Result<String> {
    zmq::z85_encode(key).map_err(|error| anyhow!("cannot write a key: {error}"))
}

fn from_z85(text: &str) -> Option<Key> {
    if text.len() != KEY_CHARACTERS {
        return None;
    }
    let key = zmq::z85_decode(text).ok()?.try_into().ok()?;
    // What is no character of Z85 decodes as well.
    (z85(&key).ok()? == text).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_comes_back_from_its_file_which_is_its_owners_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.key");
        let pair = Certificate::generate().unwrap();
        pair.write(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        let read = Certificate::read(&path).unwrap();
        assert_eq!((read.public, read.secret), (pair.public, pair.secret));
        assert_eq!(public_key(path.as_os_str()).unwrap(), pair.public);
        assert_eq!(public_key(pair.public_text(false).unwrap().trim_end().as_ref()).unwrap(), pair.public);
        assert!(pair.write(&path).is_err(), "another pair was overwritten");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Certificate::read(&path).is_err(), "others may read it");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.key");
        for text in ["", "public-key = \"short\"", "public-key", "secret-key = \"x\"\npublic = y"] {
            fs::write(&path, text).unwrap();
            assert!(public_key(path.as_os_str()).is_err(), "{text}");
        }
        assert!(public_key(OsStr::new("nosuchfile")).is_err());
        assert!(from_z85(&"\"".repeat(40)).is_none());
        assert!(from_z85(&"é".repeat(20)).is_none());
    }
}
