//! The operations behind the verbs, one type each, shared by both faces.
//!
//! They work on a side of a socket and never wait; see [`Op`].

mod accept;
mod composite;
mod connect;
mod datagram;
mod end;
mod fds;
#[cfg(feature = "tls")]
mod handshake;
mod message;
mod operation;
mod readiness;
mod receive;
mod send;

#[cfg(feature = "tls")]
pub(crate) use self::handshake::{ShakeRecv, ShakeSend, shake};
#[cfg(test)]
pub(crate) use self::operation::Needs;
pub(crate) use self::{
    accept::{Accept, is_out_of_descriptors},
    composite::{Face, accept, connect, end_tls, first, patiently, settled, shut_down},
    connect::Connect,
    datagram::{RecvBatch, RecvFrom, SendBatch, SendTo},
    end::{Flush, LastFlush, ShutDown},
    fds::{RecvFds, SendFds},
    message::{RecvMsg, RecvMsgInto, SendMsg, Tried, try_queue},
    operation::{Lend, Op},
    readiness::{Readable, Writable},
    receive::{
        Fill, Gather, Peek, Recv, RecvAll, RecvBytes, RecvLent, RecvLine, RecvUninit, RecvVectored,
    },
    send::{Send, SendAll, SendRest, SendVectored},
};
