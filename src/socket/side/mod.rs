//! The two sides of a socket: bytes received and not taken, bytes queued and not sent.

mod common;
mod connection;
mod inbound;
mod outbound;
mod progress;
mod queue;

pub(crate) use self::{
    common::{Pair, Side},
    connection::Found,
    inbound::{Lent, Piece, ReadSide, Want},
    outbound::WriteSide,
    progress::{Progress, Share},
    queue::{PARTS, drop_spent},
};
