//! Sockets: [`AsyncSocket`] for coroutines and [`BlockingSocket`] for threads, with the same verbs.
//!
//! One byte's way: kernel -> the verb's operation (`op/`), into the caller's buffer -> the caller.
//! If the call would block: driver -> scheduler resumes the coroutine -> the same operation again.
//!
//! From the bottom to the top, each using only what stands before it:
//! - `hot.rs` lends the buffer that is received into; `settings.rs` and `ending.rs` are small
//!   values;
//! - `records/` is TLS over a plain descriptor, `link.rs` a descriptor with records over it or not;
//! - `make.rs` makes plain sockets, `start.rs` says what TLS needs before it begins, `race.rs` in
//!   which order addresses are tried, `batch.rs` has room for many datagrams;
//! - `side/` holds what was received and not taken, queued and not sent;
//! - `op/` are the operations: what both faces do;
//! - `gate.rs`, `parts.rs`, `facts.rs` and `shown.rs` are what else both faces share;
//! - `blocking/` drives operations with poll(2), `asynchronous/` in coroutines.

mod asynchronous;
mod batch;
mod blocking;
mod ending;
#[cfg(feature = "tls")]
mod facts;
#[cfg(feature = "tls")]
mod gate;
mod hot;
mod link;
mod make;
mod op;
mod parts;
mod race;
#[cfg_attr(not(feature = "tls"), path = "records/absent.rs")]
mod records;
mod settings;
mod shown;
mod side;
#[cfg(feature = "tls")]
mod start;

pub use self::{
    asynchronous::{AsyncSocket, convert::Refused},
    batch::{Datagram, DatagramBatch},
    blocking::{BlockingSocket, convert::BlockingRefused},
};
