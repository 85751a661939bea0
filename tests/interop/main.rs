//! asyncoro with the libraries of others, a file per subject.

mod on;
mod thread_bound;
