//! What of a request a proxy has to know. Pure.

use serde::Deserialize;
use serde_json::json;

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To the monitor of this container, as it is.
    Container(String),
    /// Nowhere: it is asked which containers run.
    Here,
}

#[derive(Deserialize)]
struct Request {
    request: String,
    container: Option<String>,
}

/// Where a request goes, or why it goes nowhere.
pub(crate) fn destination(text: &[u8]) -> Result<Destination, String> {
    let request: Request = serde_json::from_slice(text).map_err(|error| format!("no request: {error}"))?;
    match (request.container, &request.request[..]) {
        (Some(container), _) => Ok(Destination::Container(container)),
        (None, "containers") => Ok(Destination::Here),
        (None, _) => Err("a request to a proxy names its container".to_owned()),
    }
}

/// The answer that says which containers run.
pub(crate) fn containers<'a>(names: impl Iterator<Item = &'a String>) -> Vec<u8> {
    json!({"containers": names.collect::<Vec<_>>()}).to_string().into_bytes()
}

/// The answer that there is no other.
pub(crate) fn refusal(error: &str) -> Vec<u8> {
    json!({"error": error}).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_to_the_container_that_it_names() {
        let to = |text: &str| destination(text.as_bytes());
        let web = || Ok(Destination::Container("web".to_owned()));
        assert_eq!(to(r#"{"request":"output","container":"web","process":3}"#), web());
        assert_eq!(to(r#"{"request":"containers","container":"web"}"#), web());
        assert_eq!(to(r#"{"request":"containers"}"#), Ok(Destination::Here));
        for bad in ["", "[]", "{}", r#"{"request":"processes"}"#, r#"{"request":1}"#, r#"{"container":"web"}"#] {
            assert!(to(bad).is_err(), "{bad}");
        }
    }
}
