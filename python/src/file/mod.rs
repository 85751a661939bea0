//! Defines `AsyncFile`: a file of the crate over a descriptor that a program has.
//!
//! The file has a descriptor of its own, a duplicate, so whatever is closed elsewhere it reads and
//! writes no other file. `close` closes both. Over a socket it is that socket's verbs. A file
//! belongs to the scheduler whose coroutine has used it last; other threads that close it, or drop
//! it, leave that to the scheduler.
//!
//! - `descriptor.rs`: duplicates; `open.rs`: an open file, and who waits for it; `object.rs`: the
//!   object, and how a verb becomes a call;
//! - `make.rs`: making one; `end.rs`: closing and dropping;
//! - `read.rs`, `write.rs`: the verbs; `within.rs`: their timeouts.

mod descriptor;
mod end;
mod make;
mod object;
mod open;
mod read;
mod within;
mod write;

pub(crate) use self::object::PyFile;
