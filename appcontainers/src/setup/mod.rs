//! Makes a host fit for containers, and undoes that.

mod change;

pub use change::Change;
