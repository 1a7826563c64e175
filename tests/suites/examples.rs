//! The examples and the demo do what they say, and leave nothing.
