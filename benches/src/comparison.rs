//! This project beside several peers, in turns, a row for each.

use crate::{
    table::{Quantity, Row, Table},
    timing::{Contender, in_turns},
};

/// What is measured of ours, and its peers.
pub(crate) struct Comparison<'a> {
    what: &'a str,
    contenders: Vec<Contender<'a>>,
    peers: Vec<(&'a str, Option<f64>)>,
}

impl<'a> Comparison<'a> {
    /// So far without peers.
    pub(crate) fn of(what: &'a str, ours: Contender<'a>) -> Self {
        Self { what, contenders: vec![ours], peers: Vec::new() }
    }

    /// A peer, and the largest ratio that is aimed at, if any is.
    pub(crate) fn beside(&mut self, beside: &'a str, target: Option<f64>, theirs: Contender<'a>) {
        self.peers.push((beside, target));
        self.contenders.push(theirs);
    }

    /// Measures and adds the rows; nothing where no peer is there.
    pub(crate) fn run(mut self, rounds: usize, table: &mut Table) -> anyhow::Result<()> {
        if self.peers.is_empty() {
            return Ok(());
        }
        let medians = in_turns(rounds, &mut self.contenders)?;
        for ((beside, target), theirs) in self.peers.into_iter().zip(&medians[1..]) {
            let (ours, theirs) = (Quantity::Time(medians[0]), Quantity::Time(*theirs));
            table.add(&Row { what: self.what, ours, beside, theirs, target });
        }
        Ok(())
    }
}
