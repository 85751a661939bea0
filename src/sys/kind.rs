//! The kind of a socket, and the direction that a call uses.

use std::io;

#[cfg(target_os = "linux")]
use socket2::Protocol;
use socket2::{Domain, Socket, Type};

/// The direction that a verb uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// The kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    family: Family,
    shape: Shape,
}

/// The way a socket carries bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A connection that carries a stream of bytes.
    Stream,
    /// A connection that carries packets.
    Packets,
    /// Datagrams, or any other type.
    Datagrams,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Internet,
    Unix,
    Other,
}

impl Kind {
    pub(super) fn of(socket: &Socket) -> io::Result<Kind> {
        let kind = socket.r#type()?;
        let usual = [Type::STREAM, Type::DGRAM].contains(&kind);
        let family = match domain(socket)? {
            Domain::IPV4 | Domain::IPV6 if kind == Type::STREAM && !speaks_tcp(socket) => {
                Family::Other
            }
            Domain::IPV4 | Domain::IPV6 if usual => Family::Internet,
            Domain::UNIX if usual || kind == Type::SEQPACKET => Family::Unix,
            _ => Family::Other,
        };
        let shape = match kind {
            Type::STREAM => Shape::Stream,
            Type::SEQPACKET => Shape::Packets,
            _ => Shape::Datagrams,
        };
        Ok(Kind { family, shape })
    }

    /// Tells whether the socket carries a stream of bytes.
    pub(crate) fn is_stream(self) -> bool {
        self.shape == Shape::Stream
    }

    /// Tells whether the socket can connect or listen.
    pub(crate) fn is_connected(self) -> bool {
        self.shape != Shape::Datagrams
    }

    /// Tells whether it is TCP, the only kind whose short read means that the socket is drained.
    pub(crate) fn is_tcp(self) -> bool {
        self.is_stream() && self.family == Family::Internet
    }

    /// Tells whether it is a Unix socket, for which the system does not always report room.
    pub(crate) fn is_unix(self) -> bool {
        self.family == Family::Unix
    }

    /// Returns the kind as text, for errors.
    pub(crate) fn name(self) -> &'static str {
        match (self.family, self.shape) {
            (Family::Internet, Shape::Stream) => "TCP socket",
            (Family::Internet, _) => "UDP socket",
            (Family::Unix, Shape::Stream) => "Unix stream socket",
            (Family::Unix, Shape::Packets) => "Unix seqpacket socket",
            (Family::Unix, Shape::Datagrams) => "Unix datagram socket",
            (Family::Other, Shape::Stream) => "stream socket",
            (Family::Other, Shape::Packets) => "seqpacket socket",
            (Family::Other, Shape::Datagrams) => "socket of another kind",
        }
    }
}

/// Returns the family of a socket, which Linux reports through a socket option.
pub(super) fn domain(socket: &Socket) -> io::Result<Domain> {
    #[cfg(target_os = "linux")]
    return socket.domain();
    #[cfg(not(target_os = "linux"))]
    return socket.local_addr().map(|address| address.domain());
}

/// Tells whether an Internet stream is TCP and not another protocol, such as SCTP; `false` where
/// the system does not tell.
#[cfg(target_os = "linux")]
fn speaks_tcp(socket: &Socket) -> bool {
    matches!(socket.protocol(), Ok(Some(Protocol::TCP)))
}

/// Returns `true`: on other systems an Internet stream is TCP.
#[cfg(not(target_os = "linux"))]
fn speaks_tcp(_: &Socket) -> bool {
    true
}
