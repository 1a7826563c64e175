//! Where a name's certificate comes from.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

/// How a name gets its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// From files, which Caddy reads.
    Files(CertificateFiles),
    /// From an authority, by ACME (RFC 8555).
    Acme(AcmeOptions),
}

/// A certificate and its key, both PEM, both absolute paths. The key itself is never read here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFiles {
    /// The certificate, with those between it and the authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// An account with an authority that gives certificates by ACME.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeOptions {
    /// To whom the authority writes.
    pub email: Email,
    /// The authority's directory; Let's Encrypt's without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryUrl>,
    /// The certificate, PEM, by which a private authority's server is known; an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $(#[$error_doc:meta])* $error:ident, $message:literal, $is_valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        $(#[$error_doc])*
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        #[error($message)]
        pub struct $error {
            text: String,
        }

        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                let is_valid: fn(&str) -> bool = $is_valid;
                // In a configuration braces would be placeholders.
                let is_plain = text.len() <= 320 && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}\"\\<>".contains(&byte));
                if is_plain && is_valid(text) { Ok(Self(text.to_owned())) } else { Err($error { text: text.to_owned() }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text! {
    /// An address for mail.
    Email,
    /// A text that is none.
    InvalidEmail, "{text:?} is not an e-mail address; use one as admin@example.org",
    |text| text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
}

checked_text! {
    /// The URL of an authority's ACME directory.
    DirectoryUrl,
    /// A text that is none.
    InvalidDirectoryUrl, "{text:?} is not the URL of an ACME directory; use one as https://ca.example.org/acme/acme/directory",
    |text| text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_a_configuration_is_plain() {
        for bad in ["", "a", "@", "a@", "@b", "a@b@c", "a b@c", "a@b\n", "{env.X}@b", "ä@b"] {
            assert!(bad.parse::<Email>().is_err(), "{bad:?}");
        }
        assert_eq!("admin@example.org".parse::<Email>().unwrap().as_str(), "admin@example.org");
        for bad in ["", "https://", "http://ca/directory", "https:///x", "https://ca/{env.X}", "https://c a"] {
            assert!(bad.parse::<DirectoryUrl>().is_err(), "{bad:?}");
        }
        assert!("https://ca.test:9443/acme/local/directory".parse::<DirectoryUrl>().is_ok());
    }
}
