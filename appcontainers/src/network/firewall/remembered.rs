//! What the kernel remembers of who sends datagrams to whom. It has translated the first packet of such a flow, or not, and goes on
//! like that for as long as packets come: a sender that never changes its port would not notice that a port is another container's now.

use std::collections::BTreeSet;

use super::{Element, Set};
use crate::program::{CONNTRACK, ProgramError};

/// Has the kernel look anew where datagrams go to published ports among these elements. Best effort: what is not allowed gets
/// through in neither case.
pub(super) fn forget<'a>(elements: impl Iterator<Item = &'a Element>) {
    let ports: BTreeSet<&str> = elements.filter_map(udp_port).collect();
    if ports.is_empty() {
        return;
    }
    for family in ["ipv4", "ipv6"] {
        if let Err(error) = forget_of(family, &ports) {
            tracing::warn!(%error, family, "who sends datagrams to a published port may go on to where it was");
        }
    }
}

/// Each deletion looks through all that is remembered, so only what is there is deleted: a row of ports may have a thousand.
fn forget_of(family: &str, ports: &BTreeSet<&str>) -> Result<(), ProgramError> {
    let remembered = CONNTRACK.run(&["--dump", "--family", family, "--proto", "udp"], "")?;
    for port in remembered_ports(&remembered).intersection(ports) {
        match CONNTRACK.run(&["--delete", "--family", family, "--proto", "udp", "--orig-port-dst", port], "") {
            // Gone by itself meanwhile: that there are none is an error to conntrack(8).
            Ok(_) | Err(ProgramError::Failed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The ports that first packets went to; each line has those of the answers behind them.
fn remembered_ports(dump: &str) -> BTreeSet<&str> {
    dump.lines().filter_map(|line| line.split_whitespace().find_map(|word| word.strip_prefix("dport="))).collect()
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
    fn a_remembered_flow_is_known_by_where_its_first_packet_went() {
        let dump = "udp      17 29 src=198.18.0.2 dst=198.18.0.1 sport=40000 dport=5000 src=10.213.0.2 dst=198.18.0.2 sport=53 dport=40000 mark=0 use=1\n\
            udp      17 9 src=127.0.0.1 dst=127.0.0.1 sport=40001 dport=5001 [UNREPLIED] src=127.0.0.1 dst=127.0.0.1 sport=5001 dport=40001\n";
        assert_eq!(remembered_ports(dump), ["5000", "5001"].into());
        assert!(remembered_ports("").is_empty());
    }

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
