//! The only module that makes socket system calls; a simulated network can replace it.
//!
//! Every call that moves data passes `MSG_DONTWAIT | MSG_NOSIGNAL`, so that it never blocks,
//! whatever the mode of the descriptor: a converted descriptor may be shared with blocking code.
//! Only connect(2) and accept(2) have no such flag; for them `O_NONBLOCK` is set, and reset when
//! the descriptor is closed, dropped or given away. Interrupted calls are repeated. The failure of
//! a connection is stored, so that every verb returns it. Nothing else is hidden, and this module
//! does not know of TLS or of waiting.
//!
//! - `socket.rs`: [`Sys`], a descriptor and queries about it; `descriptor.rs` is about its owner,
//!   `kind.rs` about the kind of socket;
//! - `calls.rs`: the calls that move bytes; `batch.rs` moves many datagrams at once, `segments.rs`
//!   decides which of them are sent as one; `fds.rs` passes descriptors; `wait.rs` calls poll(2);
//! - `connect.rs`: attempts to connect; `failure.rs`: the stored failure;
//! - `errno.rs`: the meaning of errors; `address.rs`: the kernel's form of addresses.

mod address;
pub(crate) mod ahead;
mod batch;
mod calls;
mod connect;
mod descriptor;
mod early;
mod errno;
mod failure;
mod fds;
mod kind;
pub(crate) mod ring;
#[cfg(target_os = "linux")]
mod segments;
mod socket;
mod wait;

pub(crate) use self::{
    batch::{MANY, Received},
    errno::{Call, LATER, Meaning, meaning},
    fds::{MOST_FDS, Passed},
    kind::{Direction, Kind},
    socket::Sys,
    wait::wait_for_room,
};
