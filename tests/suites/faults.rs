//! Commands, monitors and LXC killed at any moment: nothing left, nothing lost, nothing frozen.
