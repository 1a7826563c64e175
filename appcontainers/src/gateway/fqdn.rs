//! Names under which containers are published.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest name in bytes, without the dot at its end (RFC 1035, 2.3.4).
const MAX_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// A host name of the outside's: labels as in RFC 1123 with dots between them, in lower case. The first may be `*`, which is
/// any one label.
///
/// # Examples
///
/// ```
/// use appcontainers::gateway::Fqdn;
///
/// let name: Fqdn = "Shop.Example.org".parse()?;
/// assert_eq!(name.as_str(), "shop.example.org");
/// assert!("*.example.org".parse::<Fqdn>()?.is_wildcard());
/// assert!("shop_1.example.org".parse::<Fqdn>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fqdn(String);

/// A text that is no such name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a host name: use letters, digits and '-' with dots between, as shop.example.org or *.example.org; \
     an international name as xn--..."
)]
pub struct InvalidFqdn {
    text: String,
}

impl Fqdn {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for many names.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl FromStr for Fqdn {
    type Err = InvalidFqdn;
    fn from_str(text: &str) -> Result<Self, InvalidFqdn> {
        let named = text.strip_prefix("*.").unwrap_or(text);
        // What ends with a number is an address (RFC 1123, 2.1).
        let is_address = named.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        if text.len() > MAX_BYTES || is_address || !named.split('.').all(is_label) {
            return Err(InvalidFqdn { text: text.to_owned() });
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for Fqdn {
    type Error = InvalidFqdn;
    fn try_from(text: String) -> Result<Self, InvalidFqdn> {
        text.parse()
    }
}

impl From<Fqdn> for String {
    fn from(name: Fqdn) -> String {
        name.0
    }
}

impl fmt::Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_labels_with_dots_between() {
        let long = ["a".repeat(63).as_str(); 4].join(".");
        for good in ["a", "shop.example.org", "*.example.org", "a-b.c1", "xn--bcher-kva.example", &long[3..]] {
            assert_eq!(good.parse::<Fqdn>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a.b",
            "a-.b",
            "a_b.c",
            "*",
            "*.",
            "a.*.b",
            "**.a",
            "*a.b",
            "bücher.example",
            "a b",
            "a\n",
            "a\0b",
            "a/b",
            "a:80",
            "10.0.0.1",
            "*.1",
            "http://a",
            "{http.request.host}",
            &"a".repeat(64),
            &long,
        ] {
            assert!(bad.parse::<Fqdn>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_has_nothing_in_it_that_a_configuration_could_read_as_more(text: String) {
            if let Ok(name) = text.parse::<Fqdn>() {
                prop_assert!(name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.*".contains(&byte)));
                prop_assert_eq!(name.as_str().parse::<Fqdn>().unwrap(), name);
            }
        }
    }
}
