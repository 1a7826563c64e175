//! Interfaces' counters, out of `/proc/net/dev` (`proc_pid_net(5)`): of all interfaces in this network namespace at once.
//! Pure.

use std::collections::HashMap;

use super::Network;

/// The host's ends of veths by name, with what the containers at their other ends have received and sent.
pub(crate) fn parse(text: &str) -> HashMap<String, Network> {
    text.lines().filter_map(interface).collect()
}

/// A line `NAME: ` and 16 numbers, eight of what came in and eight of what went out: bytes, packets, errors, dropped, …
fn interface(line: &str) -> Option<(String, Network)> {
    let (name, numbers) = line.split_once(':')?;
    let numbers: Vec<u64> = numbers.split_ascii_whitespace().map_while(|number| number.parse().ok()).collect();
    let [rx_bytes, rx_packets, _, rx_dropped, _, _, _, _, tx_bytes, tx_packets, _, tx_dropped, ..] = numbers[..] else {
        return None;
    };
    // What the host receives at its end is what the container sends.
    let seen_inside = Network {
        rx_bytes: tx_bytes,
        rx_packets: tx_packets,
        rx_dropped: tx_dropped,
        tx_bytes: rx_bytes,
        tx_packets: rx_packets,
        tx_dropped: rx_dropped,
    };
    Some((name.trim().to_owned(), seen_inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1684      21    0    0    0     0          0         0     1684      21    0    0    0     0       0          0
v33ca1b2c3d4:    1066      11    0    3    0     0          0         0     3976      52    0    7    0     0       0          0
";

    #[test]
    fn what_the_host_sends_the_container_receives() {
        let interfaces = parse(DEV);
        assert_eq!(interfaces.len(), 2);
        let expected =
            Network { rx_bytes: 3976, rx_packets: 52, rx_dropped: 7, tx_bytes: 1066, tx_packets: 11, tx_dropped: 3 };
        assert_eq!(interfaces["v33ca1b2c3d4"], expected);
    }
}
