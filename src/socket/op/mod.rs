//! The operations behind the verbs, a value each: what both faces do.
//!
//! They work on a side of a socket and never wait; see [`Op`].

mod composite;
mod connect;
mod datagram;
#[cfg(feature = "tls")]
mod handshake;
mod message;
mod operation;
mod readiness;
mod stream;

#[cfg(feature = "tls")]
pub(crate) use self::handshake::{ShakeRecv, ShakeSend, shake};
#[cfg(test)]
pub(crate) use self::operation::Needs;
pub(crate) use self::{
    composite::{Face, accept, connect, end_tls, first, patiently, settled, shut_down},
    connect::Connect,
    datagram::{RecvBatch, RecvFrom, SendBatch, SendTo},
    message::{RecvMsg, RecvMsgInto, SendMsg, Tried, try_queue},
    operation::{Lend, Op},
    readiness::{Readable, Writable},
    stream::{
        Flush, Gather, LastFlush, Peek, Recv, RecvAll, RecvBytes, RecvLent, RecvUninit,
        RecvVectored, Send, SendAll, SendVectored,
    },
};
