//! Communication between coroutines and threads, beside sockets.
//!
//! The futures keep the `std` waker that they were polled with, so they work in a coroutine, in
//! `select`, and on any other executor.

// A lock is held for a few instructions, and never while foreign code runs, which may call back: a
// waker's `wake`, `clone` or `drop`, or the drop of a user's value.

mod block_on;
mod budget;
mod mailbox;
pub(crate) mod wait_queue;

#[cfg(all(test, not(loom)))]
pub(crate) use block_on::block_on;
pub use mailbox::{
    Receiver, Receiving, SendError, Sender, Sending, TryReceiveError, TrySendError, mailbox,
};
