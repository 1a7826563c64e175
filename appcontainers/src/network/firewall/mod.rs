//! The host's nftables tables: their text, and the changes of its sets and maps. Owns nothing but the tables in the kernel; what
//! belongs into it, [`super::policy`] says.

mod bridge;
mod element;
mod listing;
mod remembered;
mod ruleset;

use std::collections::BTreeSet;

pub(crate) use element::{Element, Family, Set, TableFamily};
pub(crate) use listing::Listing;
pub use listing::Traffic;
pub(super) use ruleset::Ruleset;

use super::{table, veth_prefix};
use crate::{
    Paths,
    program::{NFT, ProgramError},
};

/// Makes the table lose `gone` and have `new`, at once.
pub(super) fn change(paths: &Paths, gone: &BTreeSet<Element>, new: &BTreeSet<Element>) -> Result<(), ProgramError> {
    NFT.run(&["-f", "-"], &element::script(&table(paths), gone, new))?;
    remembered::forget(gone.iter().chain(new));
    Ok(())
}

/// The text of the table of the family bridge.
pub(super) fn bridge_text(paths: &Paths) -> String {
    bridge::text(&table(paths), &veth_prefix(paths))
}

/// Makes the table of the family bridge anew, with these elements.
pub(super) fn load_bridge(paths: &Paths, elements: &BTreeSet<Element>) -> Result<(), ProgramError> {
    let text = bridge_text(paths) + &element::script(&table(paths), &BTreeSet::new(), elements);
    NFT.run(&["-f", "-"], &text).map(drop)
}

/// Makes the tables of the families inet and arp anew, with these elements.
pub(super) fn load(ruleset: &Ruleset<'_>, elements: &BTreeSet<Element>) -> Result<(), ProgramError> {
    let text = ruleset.text() + &element::script(ruleset.table, &BTreeSet::new(), elements);
    NFT.run(&["-f", "-"], &text)?;
    remembered::forget(elements.iter());
    Ok(())
}

/// How many rules the chains of a text have, so that it shows when somebody has taken some away.
pub(super) fn rule_count(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("\t\t") && !line.starts_with("\t\ttype ")).count()
}

/// What the table of the family inet has.
pub(super) fn list(paths: &Paths) -> Result<Listing, ProgramError> {
    list_of(TableFamily::Inet, paths)
}

/// What the table of a family has.
pub(super) fn list_of(family: TableFamily, paths: &Paths) -> Result<Listing, ProgramError> {
    let table = table(paths);
    let arguments = ["-j", "list", "table", family.as_str(), &table];
    let shown = NFT.run(&arguments, "")?;
    Listing::parse(&shown).map_err(|error| ProgramError::Failed {
        program: NFT.name,
        arguments: arguments.join(" "),
        message: format!("what it printed is not understood: {error}"),
    })
}
