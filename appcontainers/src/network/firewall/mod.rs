//! The host's nftables table: its text, and the changes of its sets and maps. Owns nothing but the table in the kernel; what
//! belongs into it, [`super::policy`] says.

mod element;
mod listing;
mod remembered;
mod ruleset;

use std::collections::BTreeSet;

pub(crate) use element::{Element, Family, Set};
pub(crate) use listing::Listing;
pub use listing::Traffic;
pub(super) use ruleset::Ruleset;

use super::table;
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

/// Makes the table anew, with these elements.
pub(super) fn load(ruleset: &Ruleset<'_>, elements: &BTreeSet<Element>) -> Result<(), ProgramError> {
    let text = ruleset.text() + &element::script(ruleset.table, &BTreeSet::new(), elements);
    NFT.run(&["-f", "-"], &text)?;
    remembered::forget(elements.iter());
    Ok(())
}

/// What the table has.
pub(super) fn list(paths: &Paths) -> Result<Listing, ProgramError> {
    let table = table(paths);
    let arguments = ["-j", "list", "table", "inet", &table];
    let shown = NFT.run(&arguments, "")?;
    Listing::parse(&shown).map_err(|error| ProgramError::Failed {
        program: NFT.name,
        arguments: arguments.join(" "),
        message: format!("what it printed is not understood: {error}"),
    })
}
