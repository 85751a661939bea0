//! asyncoro with the libraries of others, a file per subject.

mod guest;
