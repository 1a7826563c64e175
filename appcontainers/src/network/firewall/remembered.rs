//! What the kernel remembers of who sends datagrams to whom. It has translated the first packet of such a flow, or not, and goes on
//! like that for as long as packets come: a sender that never changes its port would not notice that a port is another container's now.

use std::collections::BTreeSet;

use super::{Element, Set};
use crate::program::{CONNTRACK, ProgramError};

/// Has the kernel look anew where datagrams go to published ports among these elements. Best effort: what is not allowed gets
/// through in neither case.
pub(super) fn forget<'a>(elements: impl Iterator<Item = &'a Element>) {
    for port in elements.filter_map(udp_port).collect::<BTreeSet<_>>() {
        for family in ["ipv4", "ipv6"] {
            let words = ["--delete", "--family", family, "--proto", "udp", "--orig-port-dst", port];
            match CONNTRACK.run(&words, "") {
                // That there are none is an error to conntrack(8).
                Ok(_) | Err(ProgramError::Failed { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, port, "who sends datagrams to this port may go on to where it was")
                }
            }
        }
    }
}

/// The host's port that an element publishes.
fn udp_port(element: &Element) -> Option<&str> {
    match element.set {
        Set::Publish | Set::PublishAt => {}
        _ => return None,
    }
    let (rest, port) = element.key.rsplit_once(" . ")?;
    (rest.rsplit(" . ").next() == Some("udp")).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::{super::Family, *};

    #[test]
    fn published_datagram_ports_are_meant_and_nothing_else() {
        let port = |set, key: &str| {
            let element = Element { set, family: Family::V4, key: key.to_owned(), value: None };
            udp_port(&element).map(str::to_owned)
        };
        assert_eq!(port(Set::Publish, "udp . 53").as_deref(), Some("53"));
        assert_eq!(port(Set::PublishAt, "192.0.2.1 . udp . 53").as_deref(), Some("53"));
        assert_eq!(port(Set::Publish, "tcp . 53"), None);
        assert_eq!(port(Set::Allow, "10.0.0.2 . 10.0.0.3 . udp . 53"), None);
    }
}
