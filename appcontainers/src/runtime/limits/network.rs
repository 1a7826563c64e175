//! How much goes through a container's interface: limited at the host's end of it, where nothing of the container's has a say.
//!
//! - What the container receives waits in a queue there (`tc`, tbf(8)), and is dropped when that is full.
//! - What it sends is counted as it comes in (`nft`, a table of the family netdev for this interface alone), and dropped when it is
//!   too much: a sender of TCP gets slower by itself. A second's worth may come at once.

use serde_json::Value;

use super::LimitError;
use crate::{
    limits::Size,
    network::has_device_table,
    program::{NFT, TC},
};

/// What may come at once: more than one packet of the largest, which has 64 KiB.
const BURST_BYTES: u64 = 128 * 1024;

/// The least that goes out at once, and what may wait at least.
const LEAST_BURST_BYTES: u64 = 32 * 1024;
const LEAST_QUEUE_BYTES: u64 = 64 * 1024;

/// The table that limits what comes from the container behind an interface.
fn table(interface: &str) -> String {
    format!("appc-limits-{interface}")
}

/// Limits what the container sends.
pub(super) fn set_egress(interface: &str, rate: Option<Size>) -> Result<(), LimitError> {
    match rate {
        Some(rate) => Ok(NFT.run(&["-f", "-"], &egress_rules(interface, rate)).map(drop)?),
        None => forget(interface),
    }
}

/// Takes the place of what was there before in one go. The chain stays where it is: to take one away from an interface costs the kernel
/// a grace period of some milliseconds.
fn egress_rules(interface: &str, rate: Size) -> String {
    let (table, rate) = (table(interface), rate.bytes());
    format!(
        "add table netdev {table}\n\
         add chain netdev {table} from-container {{ type filter hook ingress device \"{interface}\" priority -500; policy accept; }}\n\
         flush chain netdev {table} from-container\n\
         add rule netdev {table} from-container limit rate over {rate} bytes/second burst {BURST_BYTES} bytes drop\n"
    )
}

/// Removes what there is for an interface beside itself, also one that is gone.
pub(crate) fn forget(interface: &str) -> Result<(), LimitError> {
    let table = table(interface);
    // A question to the kernel, where starting a program would take milliseconds of every container's end.
    if has_device_table(&table).is_ok_and(|is_there| !is_there) {
        return Ok(());
    }
    Ok(NFT.run(&["-f", "-"], &format!("add table netdev {table}\ndelete table netdev {table}\n")).map(drop)?)
}

/// Limits what the container receives.
pub(super) fn set_ingress(interface: &str, rate: Option<Size>) -> Result<(), LimitError> {
    match rate {
        Some(rate) => {
            let bytes = rate.bytes();
            let burst = LEAST_BURST_BYTES.max(bytes / 50);
            let queue = LEAST_QUEUE_BYTES.max(burst + bytes / 10);
            // `bps` is bytes a second here (tc(8)).
            let words =
                [&format!("{bytes}bps"), "burst", &burst.to_string(), "limit", &queue.to_string()].map(str::to_owned);
            let words = words.iter().map(String::as_str);
            let words: Vec<_> =
                ["qdisc", "replace", "dev", interface, "root", "tbf", "rate"].into_iter().chain(words).collect();
            TC.run(&words, "")?;
        }
        None if ingress(interface)?.is_some() => drop(TC.run(&["qdisc", "delete", "dev", interface, "root"], "")?),
        None => {}
    }
    Ok(())
}

/// What the container may receive.
pub(super) fn ingress(interface: &str) -> Result<Option<u64>, LimitError> {
    parse_ingress(&TC.run(&["-json", "qdisc", "show", "dev", interface], "")?)
}

fn parse_ingress(text: &str) -> Result<Option<u64>, LimitError> {
    let listed: Value = serde_json::from_str(text).map_err(|source| LimitError::Answer { program: "tc", source })?;
    let all = listed.as_array().into_iter().flatten();
    Ok(all.filter(|one| one["kind"] == "tbf").find_map(|one| one["options"]["rate"].as_u64()))
}

/// What the container may send.
pub(super) fn egress(interface: &str) -> Result<Option<u64>, LimitError> {
    let table = table(interface);
    if has_device_table(&table).is_ok_and(|is_there| !is_there) {
        return Ok(None);
    }
    parse_egress(&NFT.run(&["-json", "list", "table", "netdev", &table], "")?)
}

/// Out of libnftables-json(5), which has the unit in which the number is whole.
fn parse_egress(text: &str) -> Result<Option<u64>, LimitError> {
    let listed: Value = serde_json::from_str(text).map_err(|source| LimitError::Answer { program: "nft", source })?;
    let rules = listed["nftables"].as_array().into_iter().flatten();
    let limits =
        rules.filter_map(|one| one["rule"]["expr"].as_array()).flatten().map(|expression| &expression["limit"]);
    Ok(limits.into_iter().find_map(|limit| {
        let unit = match limit["rate_unit"].as_str()? {
            "bytes" => 1,
            "kbytes" => 1 << 10,
            "mbytes" => 1 << 20,
            _ => return None,
        };
        limit["rate"].as_u64()?.checked_mul(unit)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nft_and_tc_say_is_understood() {
        let nft = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "netdev", "name": "t", "handle": 4}},
            {"rule": {"family": "netdev", "table": "t", "chain": "c", "handle": 2, "expr": [{"limit": {"rate": 2, "burst": 128,
            "per": "second", "inv": true, "rate_unit": "mbytes", "burst_unit": "kbytes"}}, {"drop": null}]}}]}"#;
        assert_eq!(parse_egress(nft).unwrap(), Some(2 << 20));
        assert_eq!(parse_egress(&nft.replace("mbytes", "bytes")).unwrap(), Some(2));
        assert_eq!(parse_egress("{}").unwrap(), None);
        assert!(parse_egress("x").is_err());
        let tc = r#"[{"kind":"tbf","handle":"8002:","root":true,"refcnt":2,"options":{"rate":1000000,"burst":32768,"lat":98304}}]"#;
        assert_eq!(parse_ingress(tc).unwrap(), Some(1_000_000));
        assert_eq!(parse_ingress(r#"[{"kind":"noqueue","handle":"0:","root":true,"options":{}}]"#).unwrap(), None);
    }

    #[test]
    fn rules_take_the_place_of_those_before() {
        let rules = egress_rules("v1", "1M".parse().unwrap());
        assert!(rules.contains("flush chain netdev appc-limits-v1 from-container\nadd rule"), "{rules}");
        assert!(rules.contains("device \"v1\"") && rules.contains("over 1048576 bytes/second"), "{rules}");
    }
}
