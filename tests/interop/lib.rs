//! Nothing: this package is its tests (`main.rs`), so that their dependencies burden no other.
