//! The result: a Markdown table, each row printed as soon as it is known.

use std::{
    fmt,
    io::{Write as _, stdout},
    time::Duration,
};

/// Prints rows below a heading.
#[derive(Debug)]
pub(crate) struct Table;

/// One comparison.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// What is measured.
    pub(crate) what: &'a str,
    /// This project's median.
    pub(crate) ours: Quantity,
    /// What it is measured against.
    pub(crate) beside: &'a str,
    /// Its median.
    pub(crate) theirs: Quantity,
    /// The largest ratio that is aimed at, of rates the smallest; none for a row that only informs.
    pub(crate) target: Option<f64>,
}

/// A measured value with its unit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Quantity {
    /// A time.
    Time(Duration),
    /// Memory or a file.
    Bytes(f64),
    /// Bytes a second: the more, the better.
    Rate(f64),
}

impl Table {
    pub(crate) fn begin() -> Self {
        println!("| measure | ours | beside | theirs | ratio | target | |");
        println!("|---|---:|---|---:|---:|---:|---|");
        Self
    }

    pub(crate) fn add(&mut self, row: &Row<'_>) {
        println!("{row}");
        // A run takes minutes: who pipes it sees each row when it is known.
        let _ = stdout().flush();
    }
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = self.ours.number() / self.theirs.number();
        let (target, verdict) = match self.target {
            Some(target) if matches!(self.ours, Quantity::Rate(_)) => {
                (format!("≥ {target:.2}"), verdict(ratio >= target))
            }
            Some(target) => (format!("≤ {target:.2}"), verdict(ratio <= target)),
            None => (String::new(), ""),
        };
        let Self { what, ours, beside, theirs, .. } = self;
        write!(f, "| {what} | {ours} | {beside} | {theirs} | {ratio:.3} | {target} | {verdict} |")
    }
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

impl Quantity {
    fn number(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Bytes(number) | Self::Rate(number) => number,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) if *time < Duration::from_millis(1) => write!(f, "{:.1} µs", time.as_secs_f64() * 1e6),
            Self::Time(time) => write!(f, "{:.1} ms", time.as_secs_f64() * 1e3),
            Self::Rate(bytes) => write!(f, "{:.2} GB/s", bytes / 1e9),
            Self::Bytes(bytes) => write!(f, "{:.2} MB", bytes / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_target_is_met() {
        let time = |ms| Quantity::Time(Duration::from_millis(ms));
        let row = Row { what: "start", ours: time(30), beside: "peer", theirs: time(60), target: Some(0.8) };
        assert_eq!(row.to_string(), "| start | 30.0 ms | peer | 60.0 ms | 0.500 | ≤ 0.80 | met |");
        let row = Row { ours: time(50), ..row };
        assert!(row.to_string().ends_with("| 0.833 | ≤ 0.80 | MISSED |"));
        let row = Row { ours: Quantity::Rate(2e9), theirs: Quantity::Rate(1.6e9), target: Some(0.9), ..row };
        assert_eq!(row.to_string(), "| start | 2.00 GB/s | peer | 1.60 GB/s | 1.250 | ≥ 0.90 | met |");
        let row = Row { ours: time(0), theirs: Quantity::Time(Duration::from_nanos(25_400)), ..row };
        assert!(row.to_string().contains("| 25.4 µs |"));
    }
}
