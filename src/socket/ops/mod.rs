//! The operations behind the verbs, a value each: what both faces do.
//!
//! They work on a side of a socket and never wait; see `step.rs`.

mod connect;
mod datagram;
mod message;
mod readiness;
mod stream;

pub(crate) use self::{
    connect::Connect,
    datagram::{RecvBatch, RecvFrom, SendBatch, SendTo},
    message::{RecvMsg, RecvMsgInto, SendMsg, Tried, try_queue},
    readiness::{Readable, Writable},
    stream::{
        Accept, Farewell, Flush, Gather, Peek, Recv, RecvAll, RecvBytes, RecvLent, RecvUninit,
        RecvVectored, Send, SendAll, SendVectored, ShutDown, is_starved,
    },
};
