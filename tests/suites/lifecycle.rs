//! A container's life: start, stop, restart, rename, remove, and what the listings say of it.
