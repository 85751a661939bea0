//! What coroutines and threads use to reach each other, beside sockets.
//!
//! A file each; what they share is `line.rs` (who waits, first come, first served), `block_on.rs`
//! (a plain thread waits for a future) and `budget.rs` (who never waits lets others run). The
//! futures keep the `std` waker that they were polled with, so they work in a coroutine, in
//! `select`, and on any other executor.
//!
//! A lock is held for a few instructions and never across a waker's `wake`, `clone` or `drop`, nor
//! across the drop of a user's value, for these run code of others, which may come back here.

mod block_on;
mod budget;
pub(crate) mod line;
mod mailbox;

#[cfg(all(test, not(loom)))]
pub(crate) use block_on::block_on;
pub use mailbox::{
    Receiver, Receiving, SendError, Sender, Sending, TryReceiveError, TrySendError, mailbox,
};
