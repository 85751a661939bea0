//! Child processes: [`Child`] is one, [`AsyncPipe`] several in a row, each one's output the input
//! of the next.
//!
//! Both are made of commands of `std::process`. What is piped becomes an
//! [`AsyncFile`](crate::file::AsyncFile); waiting for the end takes no thread, and takes no other
//! child's status.

mod child;
mod orphans;
mod pipe;

pub use self::{
    child::{Child, Process},
    pipe::{AsyncPipe, PipeOutput},
};
