//! Sockets: [`AsyncSocket`] for coroutines and [`BlockingSocket`] for threads, with the same verbs.
//!
//! The path of a byte: kernel -> the verb's operation (`op/`), into the caller's buffer -> the
//! caller. If the call would block: driver -> scheduler resumes the coroutine -> the operation
//! again.
//!
//! From the bottom to the top, each using only those before it:
//! - `hot.rs` lends the hot buffer; `settings.rs` and `ending.rs` are small values;
//! - `records/` is TLS over a plain descriptor, `link.rs` a descriptor with or without TLS;
//! - `make.rs` makes plain sockets, `start.rs` prepares TLS, `race.rs` orders attempts to connect,
//!   `batch.rs` has memory for many datagrams;
//! - `side/` holds bytes received and not taken, and bytes queued and not sent;
//! - `op/` has the operations of both faces;
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

#[doc(hidden)]
pub use self::asynchronous::{listen::Queue, watched::Watched};
pub use self::{
    asynchronous::{
        AsyncSocket,
        convert::Refused,
        copy::{copy, copy_both},
    },
    batch::{Datagram, DatagramBatch},
    blocking::{BlockingSocket, convert::BlockingRefused},
};
