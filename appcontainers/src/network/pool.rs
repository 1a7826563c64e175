//! Which of a row of numbered slots are free.

/// A row of slots, each free or taken.
pub(super) struct Slots {
    count: u32,
    taken: Vec<u64>,
}

impl Slots {
    /// All free.
    pub(super) fn new(count: u32) -> Self {
        Self { count, taken: vec![0; count.div_ceil(64) as usize] }
    }

    /// Marks a slot as taken; `None` and what is beyond the end are none of these slots.
    pub(super) fn take(&mut self, slot: Option<u32>) {
        if let Some(slot) = slot.filter(|slot| *slot < self.count) {
            self.taken[slot as usize / 64] |= 1 << (slot % 64);
        }
    }

    /// The first free slot after `last`, going round at the end.
    pub(super) fn next_free(&self, last: Option<u32>) -> Option<u32> {
        let from = last.map_or(0, |last| last.saturating_add(1)).min(self.count);
        let is_free = |slot: &u32| self.taken[*slot as usize / 64] & (1 << (slot % 64)) == 0;
        (from..self.count).chain(0..from).find(is_free)
    }
}
