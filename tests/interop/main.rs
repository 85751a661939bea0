//! asyncoro with the libraries of others, a file per subject.

mod buffered;
mod guest;
mod on;
mod pairs;
mod streams;
mod thread_bound;
mod timer;
