//! One question to the kernel over netlink(7) and its answer, where starting `ip` or `nft` would take
//! milliseconds that a start does not have.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto, socket_with,
        sockopt,
    },
};

use super::{MacAddress, firewall::TableFamily};

// linux/netlink.h
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const NLA_F_NESTED: u16 = 0x8000;
const NLMSG_ERROR: u16 = 2;
const HEADER_BYTES: usize = 16;
// linux/rtnetlink.h; the routes' protocol is number 0, which rustix calls none
const NETLINK_ROUTE: Option<Protocol> = None;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_SETLINK: u16 = 19;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RT_TABLE_MAIN: u8 = 254;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_NOWHERE: u8 = 255;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTN_LOCAL: u8 = 2;
// linux/if_link.h
const IFLA_ADDRESS: u16 = 1;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_MCAST_FLOOD: u16 = 27;
const IFLA_BRPORT_BCAST_FLOOD: u16 = 30;
const IFLA_BRPORT_GROUP_FWD_MASK: u16 = 31;
/// The header before a link's attributes, `struct ifinfomsg`.
const LINK_BYTES: usize = 16;
// linux/neighbour.h
const NUD_PERMANENT: u16 = 0x80;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NTF_MASTER: u8 = 4;
const NUD_NOARP: u16 = 0x40;
// linux/if_addr.h
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
// linux/netfilter/nfnetlink.h, nf_tables.h; NFPROTO_INET is in linux/netfilter.h
const NFT_MSG_GETTABLE: u16 = 10 << 8 | 1;
const NFTA_TABLE_NAME: u16 = 1;
const NFPROTO_INET: u8 = 1;
const NFPROTO_ARP: u8 = 3;
const NFPROTO_NETDEV: u8 = 5;
const NFPROTO_BRIDGE: u8 = 7;
const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_BRIDGE: u8 = 7;
const AF_INET6: u8 = 10;

/// Removes the route to one address from the main table; `false` if there was none.
pub fn delete_route(to: IpAddr) -> io::Result<bool> {
    match ask(NETLINK_ROUTE, &delete_route_message(to)) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Where the kernel sends what is for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteTo {
    /// To the host itself.
    Host,
    /// Out of the interface with this number.
    Interface(u32),
    /// Nowhere: a route says so.
    Unreachable,
    /// Nowhere: no route says anything.
    Unknown,
}

/// Asks where packets to an address go.
pub(super) fn route_to(to: IpAddr) -> io::Result<RouteTo> {
    match exchange(NETLINK_ROUTE, &get_route_message(to)) {
        Ok(answer) => understand_route(&answer).ok_or_else(|| Errno::PROTO.into()),
        Err(Errno::HOSTUNREACH) => Ok(RouteTo::Unreachable),
        Err(Errno::NETUNREACH) => Ok(RouteTo::Unknown),
        Err(error) => Err(error.into()),
    }
}

/// Makes an IPv6 address of an interface usable at once, where the kernel would try for a second whether somebody else has
/// it: takes it away and gives it back without that.
pub(super) fn settle_address(interface: u32, address: Ipv6Addr) -> io::Result<()> {
    for (kind, flags) in [(RTM_DELADDR, 0), (RTM_NEWADDR, NLM_F_CREATE)] {
        ask(NETLINK_ROUTE, &address_message(kind, flags, interface, address))?;
    }
    Ok(())
}

/// Says for good who has an address on an interface's link, so that nobody has to be asked.
pub(super) fn set_neighbour(interface: u32, address: IpAddr, mac: MacAddress) -> io::Result<()> {
    Ok(ask(NETLINK_ROUTE, &neighbour_message(interface, address, mac))?)
}

/// An interface's MAC.
pub(super) fn mac_of(interface: u32) -> io::Result<MacAddress> {
    let answer = exchange(NETLINK_ROUTE, &message(RTM_GETLINK, NLM_F_REQUEST, &link(AF_UNSPEC, interface)))?;
    let attributes = answer.get(HEADER_BYTES + LINK_BYTES..).unwrap_or_default();
    let bytes = attribute(attributes, IFLA_ADDRESS).and_then(|bytes| bytes.try_into().ok());
    bytes.map(MacAddress::new).ok_or_else(|| Errno::PROTO.into())
}

/// Whether there is an nftables table of this name in a family.
pub(super) fn has_table(family: TableFamily, name: &str) -> io::Result<bool> {
    let family = match family {
        TableFamily::Inet => NFPROTO_INET,
        TableFamily::Arp => NFPROTO_ARP,
        TableFamily::Bridge => NFPROTO_BRIDGE,
    };
    has_table_of(family, name)
}

/// Whether there is an nftables table of this name for what comes in at interfaces.
pub(crate) fn has_device_table(name: &str) -> io::Result<bool> {
    has_table_of(NFPROTO_NETDEV, name)
}

fn has_table_of(family: u8, name: &str) -> io::Result<bool> {
    match ask(Some(netlink::NETFILTER), &get_table_message(family, name)) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Says these things to the kernel, one after the other; ends with the first that it does not take.
pub(super) fn tell(messages: &[Vec<u8>]) -> io::Result<()> {
    messages.iter().try_for_each(|message| Ok(ask(NETLINK_ROUTE, message)?))
}

/// Makes the kernel forget an address's MAC; nothing if it does not know it.
pub(super) fn delete_neighbour(interface: u32, address: IpAddr) -> io::Result<()> {
    let body = neighbour(interface, address, 0);
    deleted(ask(NETLINK_ROUTE, &message(RTM_DELNEIGH, NLM_F_REQUEST | NLM_F_ACK, &body)))
}

/// Removes the route to an address that leads out of this interface; nothing if there is none.
pub(super) fn delete_route_through(interface: u32, to: IpAddr) -> io::Result<()> {
    let body = route(to, interface, [0, RT_SCOPE_NOWHERE, 0]);
    deleted(ask(NETLINK_ROUTE, &message(RTM_DELROUTE, NLM_F_REQUEST | NLM_F_ACK, &body)))
}

fn deleted(answer: Result<(), Errno>) -> io::Result<()> {
    match answer {
        Ok(()) | Err(Errno::NOENT | Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// An interface becomes a port of a bridge.
pub(super) fn enslave_message(port: u32, bridge: u32) -> Vec<u8> {
    let mut body = link(AF_UNSPEC, port);
    push_attribute(&mut body, IFLA_MASTER, &bridge.to_ne_bytes());
    message(RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, &body)
}

/// A port of a bridge learns nothing, gets nothing that is not for it alone, and may get back what came from it. Frames for
/// 01:80:c2:00:00:0x (IEEE 802.1Q, table 8-1) are treated as all others: LLDP's would else go to the host past every chain,
/// whatever is in them.
pub(super) fn port_message(port: u32) -> Vec<u8> {
    let mut settings = Vec::new();
    push_attribute(&mut settings, IFLA_BRPORT_MODE, &[1]);
    for off in [IFLA_BRPORT_LEARNING, IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_MCAST_FLOOD, IFLA_BRPORT_BCAST_FLOOD] {
        push_attribute(&mut settings, off, &[0]);
    }
    // All but those that stop a link for a while, which the kernel drops.
    push_attribute(&mut settings, IFLA_BRPORT_GROUP_FWD_MASK, &0xfffd_u16.to_ne_bytes());
    let mut body = link(AF_BRIDGE, port);
    push_attribute(&mut body, IFLA_PROTINFO | NLA_F_NESTED, &settings);
    message(RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, &body)
}

/// Who has this MAC is behind this port of a bridge.
pub(super) fn forwarding_message(port: u32, mac: MacAddress) -> Vec<u8> {
    let mut body = neighbour_head(AF_BRIDGE, port, NUD_NOARP, NTF_MASTER);
    push_attribute(&mut body, NDA_LLADDR, mac.as_bytes());
    message(RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &body)
}

/// Who has this address has this MAC, whatever anybody says.
pub(super) fn neighbour_message(interface: u32, address: IpAddr, mac: MacAddress) -> Vec<u8> {
    let mut body = neighbour(interface, address, NUD_PERMANENT);
    push_attribute(&mut body, NDA_LLADDR, mac.as_bytes());
    message(RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &body)
}

/// Who has this address is on this interface's link.
pub(super) fn route_message(interface: u32, to: IpAddr) -> Vec<u8> {
    let scope = if to.is_ipv4() { RT_SCOPE_LINK } else { 0 };
    let body = route(to, interface, [RTPROT_BOOT, scope, RTN_UNICAST]);
    message(RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &body)
}

/// struct ifinfomsg: family, padding, type, interface, flags, which flags.
fn link(family: u8, interface: u32) -> Vec<u8> {
    [&[family, 0, 0, 0][..], &interface.to_ne_bytes(), &[0; 8]].concat()
}

fn neighbour(interface: u32, address: IpAddr, state: u16) -> Vec<u8> {
    let (family, bytes) = family_and_bytes(address);
    let mut body = neighbour_head(family, interface, state, 0);
    push_attribute(&mut body, NDA_DST, &bytes);
    body
}

/// struct ndmsg: family, padding, interface, state, flags, type.
fn neighbour_head(family: u8, interface: u32, state: u16, flags: u8) -> Vec<u8> {
    [&[family, 0, 0, 0][..], &interface.to_ne_bytes(), &state.to_ne_bytes(), &[flags, 0]].concat()
}

fn route(to: IpAddr, interface: u32, [protocol, scope, kind]: [u8; 3]) -> Vec<u8> {
    let (family, bytes) = family_and_bytes(to);
    let mut body = vec![family, 8 * bytes.len() as u8, 0, 0, RT_TABLE_MAIN, protocol, scope, kind, 0, 0, 0, 0];
    push_attribute(&mut body, RTA_DST, &bytes);
    push_attribute(&mut body, RTA_OIF, &interface.to_ne_bytes());
    body
}

fn family_and_bytes(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

fn get_route_message(to: IpAddr) -> Vec<u8> {
    let (family, bytes) = family_and_bytes(to);
    // struct rtmsg, as below.
    let mut body = vec![family, 8 * bytes.len() as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    push_attribute(&mut body, RTA_DST, &bytes);
    message(RTM_GETROUTE, NLM_F_REQUEST, &body)
}

fn understand_route(answer: &[u8]) -> Option<RouteTo> {
    let body = answer.get(HEADER_BYTES..)?;
    if answer.get(4..6)? != RTM_NEWROUTE.to_ne_bytes() {
        return None;
    }
    if *body.get(7)? == RTN_LOCAL {
        return Some(RouteTo::Host);
    }
    let mut attributes = body.get(12..)?;
    loop {
        let number = |at: usize| Some(u16::from_ne_bytes(attributes.get(at..at + 2)?.try_into().ok()?));
        let (Some(length), Some(kind)) = (number(0), number(2)) else { return Some(RouteTo::Unknown) };
        let length = usize::from(length);
        if kind == RTA_OIF {
            return Some(RouteTo::Interface(u32::from_ne_bytes(attributes.get(4..8)?.try_into().ok()?)));
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..).unwrap_or_default();
    }
}

fn delete_route_message(to: IpAddr) -> Vec<u8> {
    let (family, bytes) = family_and_bytes(to);
    // struct rtmsg: family, lengths of destination and source, tos, table, protocol, scope, type, flags.
    let mut body = vec![family, 8 * bytes.len() as u8, 0, 0, RT_TABLE_MAIN, 0, RT_SCOPE_NOWHERE, 0, 0, 0, 0, 0];
    push_attribute(&mut body, RTA_DST, &bytes);
    message(RTM_DELROUTE, NLM_F_REQUEST | NLM_F_ACK, &body)
}

fn address_message(kind: u16, flags: u16, interface: u32, address: Ipv6Addr) -> Vec<u8> {
    // struct ifaddrmsg: family, length of the prefix, flags, scope, interface.
    let mut body = vec![AF_INET6, 128, IFA_F_NODAD, 0];
    body.extend_from_slice(&interface.to_ne_bytes());
    push_attribute(&mut body, IFA_LOCAL, &address.octets());
    message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, &body)
}

/// The value of the first attribute of this kind.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (head, _) = attributes.split_at_checked(4)?;
        let number = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
        let (length, kind) = (usize::from(number(0)), number(2));
        if kind == wanted {
            return attributes.get(4..length);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn get_table_message(family: u8, name: &str) -> Vec<u8> {
    // struct nfgenmsg: family, version, resource.
    let mut body = vec![family, 0, 0, 0];
    push_attribute(&mut body, NFTA_TABLE_NAME, format!("{name}\0").as_bytes());
    message(NFT_MSG_GETTABLE, NLM_F_REQUEST, &body)
}

/// Appends an attribute: its length without padding, its kind, its value, padded to four bytes.
fn push_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = (HEADER_BYTES + body.len()) as u32;
    let (sequence, port) = (1u32, 0u32);
    [
        length.to_ne_bytes().as_slice(),
        &kind.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &sequence.to_ne_bytes(),
        &port.to_ne_bytes(),
        body,
    ]
    .concat()
}

/// Sends one message and takes the first answer: an error (0 is the acknowledgement) or what was asked for.
fn ask(protocol: Option<Protocol>, message: &[u8]) -> Result<(), Errno> {
    exchange(protocol, message).map(drop)
}

/// As [`ask`], with the answer.
fn exchange(protocol: Option<Protocol>, message: &[u8]) -> Result<Vec<u8>, Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    // The kernel answers while it takes the message; this is for a kernel that does not.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(5)))?;
    sendto(&socket, message, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0; 16 * 1024];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    understand(&answer[..length])?;
    answer.truncate(length);
    Ok(answer)
}

fn understand(answer: &[u8]) -> Result<(), Errno> {
    let (Some(kind), Some(code)) = (answer.get(4..6), answer.get(HEADER_BYTES..HEADER_BYTES + 4)) else {
        return Err(Errno::PROTO);
    };
    if kind != NLMSG_ERROR.to_ne_bytes() {
        return Ok(());
    }
    match code.try_into().map(i32::from_ne_bytes) {
        Ok(0) => Ok(()),
        Ok(code) => Err(Errno::from_raw_os_error(-code)),
        Err(_) => Err(Errno::PROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_kernel_reads_it() {
        let bytes = delete_route_message(IpAddr::from([10, 1, 2, 3]));
        assert_eq!(bytes.len(), 36);
        assert_eq!(bytes[..4], 36u32.to_ne_bytes());
        assert_eq!(bytes[28..], [8u16.to_ne_bytes(), 1u16.to_ne_bytes(), [10, 1], [2, 3]].concat());
        let bytes = get_table_message(NFPROTO_INET, "appc");
        assert_eq!((bytes.len(), &bytes[20..22]), (32, &9u16.to_ne_bytes()[..]), "length without padding");
        assert_eq!(&bytes[24..], b"appc\0\0\0\0");
    }

    #[test]
    fn a_route_tells_its_interface_and_whose_address_it_is() {
        let answer = |kind: u8, attributes: &[u8]| {
            let body = [&[AF_INET, 32, 0, 0, 0, 0, 0, kind, 0, 0, 0, 0][..], attributes].concat();
            message(RTM_NEWROUTE, 0, &body)
        };
        let mut attributes = Vec::new();
        push_attribute(&mut attributes, RTA_DST, &[10, 0, 0, 2]);
        push_attribute(&mut attributes, RTA_OIF, &7u32.to_ne_bytes());
        assert_eq!(understand_route(&answer(1, &attributes)), Some(RouteTo::Interface(7)));
        assert_eq!(understand_route(&answer(RTN_LOCAL, &attributes)), Some(RouteTo::Host));
        assert_eq!(understand_route(&answer(1, &attributes[..8])), Some(RouteTo::Unknown));
        assert_eq!(understand_route(&answer(1, &attributes)[..20]), None);
    }

    #[test]
    fn an_attribute_is_found_behind_others_and_none_in_what_is_cut_off() {
        let mut attributes = Vec::new();
        push_attribute(&mut attributes, 3, b"eth0\0");
        push_attribute(&mut attributes, IFLA_ADDRESS, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(attribute(&attributes, IFLA_ADDRESS), Some(&[1, 2, 3, 4, 5, 6][..]));
        assert_eq!(attribute(&attributes, 7), None);
        assert_eq!(attribute(&attributes[..16], IFLA_ADDRESS), None);
        assert_eq!(attribute(&[0; 64], IFLA_ADDRESS), None);
        let neighbour = neighbour_message(5, IpAddr::from([10, 1, 2, 3]), MacAddress::new([2, 0, 0, 0, 0, 1]));
        assert_eq!(neighbour.len(), 16 + 12 + 8 + 12);
    }

    #[test]
    fn an_answer_is_a_result_and_half_an_answer_is_an_error() {
        let answer = |kind: u16, code: i32| [&[0; 4][..], &kind.to_ne_bytes(), &[0; 10], &code.to_ne_bytes()].concat();
        assert_eq!(understand(&answer(NLMSG_ERROR, 0)), Ok(()));
        assert_eq!(understand(&answer(NLMSG_ERROR, -3)), Err(Errno::SRCH));
        assert_eq!(understand(&answer(0xa00, 1)), Ok(()));
        assert_eq!(understand(&answer(NLMSG_ERROR, 0)[..18]), Err(Errno::PROTO));
    }
}
