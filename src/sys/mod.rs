//! The only place that makes socket system calls: the seam where a simulated network will plug in.
//!
//! Every call that moves data says `MSG_DONTWAIT | MSG_NOSIGNAL`, so that it never blocks whatever
//! mode the descriptor is in: a converted descriptor may be shared with blocking code. Only
//! connect(2) and accept(2) have no such flag; for them `O_NONBLOCK` is set, and taken back on
//! every way out: closed, dropped, given away. Interrupted calls are made again. The failure of a
//! connection is kept, so that everybody hears of it. Nothing else is hidden, and nothing is known
//! here of TLS or of those who wait.
//!
//! - `socket.rs`: [`Sys`], a descriptor and what the kernel is asked about it; whose the descriptor
//!   is, is in `descriptor.rs`, what kind of socket it is in `kind.rs`;
//! - `calls.rs`: the calls that move bytes; many datagrams at once are in `batch.rs`, which of them
//!   leave as one in `segments.rs`; poll(2) is in `wait.rs`;
//! - `connect.rs`: attempts to connect; `failure.rs`: how a failure is kept;
//! - `errno.rs`: what an error means; `address.rs`: the kernel's form of addresses.

mod address;
mod batch;
mod calls;
mod connect;
mod descriptor;
mod errno;
mod failure;
mod kind;
#[cfg(target_os = "linux")]
mod segments;
mod socket;
mod wait;

pub(crate) use self::{
    batch::{MANY, Received},
    errno::{Call, LATER, Meaning, meaning},
    kind::{Direction, Kind},
    socket::Sys,
    wait::wait_for_room,
};
