//! Defines `AsyncSocket`: a socket of the crate over a regular one of Python's.
//!
//! The regular socket owns the descriptor, and gets every call that is not defined here. A
//! connection that was accepted has none until one is asked for. The asynchronous face belongs to
//! the scheduler's thread once a verb has been called there; other threads that close it, or drop
//! it, leave that to the scheduler.
//!
//! - `object.rs`: the object; `make.rs`: making one; `regular.rs`: the regular socket under it;
//! - `mode.rs`: from one mode to the other;
//! - `options.rs`: what its owner sets; `settings.rs`: timeout and message limit, `tls.rs`: the
//!   options for TLS;
//! - `end.rs`: closing, dropping, giving the regular socket back;
//! - `shared.rs`: others over the same regular socket;
//! - the verbs, each with what it does in either mode: `receive.rs`, `lines.rs`, `send.rs`,
//!   `messages.rs`, `datagrams.rs`, `fds.rs`, `connections.rs`, `flagged.rs` (with flags or
//!   ancillary data), `passed.rs` (by the regular socket); `calls.rs`: how one becomes a call;
//!   `flags.rs`: which flags are obeyed by whom; `convert.rs`: what they are given and give;
//! - `iterate.rs`: iteration over messages and lines; `quick.rs`: quick entries of verbs;
//! - `served.rs`: what the package's servers know of connections, and of the queue of a listener.

mod calls;
mod connections;
mod convert;
mod datagrams;
mod end;
mod fds;
mod flagged;
mod flags;
mod iterate;
mod lines;
mod make;
mod messages;
mod mode;
mod object;
mod options;
mod passed;
mod quick;
mod receive;
mod regular;
mod send;
mod served;
mod settings;
mod shared;
mod tls;

pub(crate) use self::{
    end::{close_over, release_over},
    make::connect,
    object::{PyDatagramSocket, PySocket},
    quick::make_fast,
    served::{Begun, Watched},
};
