//! asyncoro with the libraries of others, a file per subject.

mod buffered;
mod pairs;
mod streams;
mod timer;
