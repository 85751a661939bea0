//! The parts of a socket that was taken apart; a socket of either face can be made of them.

use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;

use bytes::Bytes;

#[cfg(feature = "tls")]
use super::gate::Gate;
use super::{
    link::Link,
    settings::Settings,
    side::{ReadSide, WriteSide},
};
use crate::sys::Sys;

/// The purpose for which a socket is taken apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Onward {
    /// The plain socket is handed out: TLS ends.
    Plain,
    /// The other face takes over, with all of the socket's state.
    OtherFace,
}

/// The parts of a socket that was taken apart.
pub(crate) struct Parts {
    pub(crate) link: Link,
    pub(crate) settings: Settings,
    pub(crate) read: ReadSide,
    pub(crate) write: WriteSide,
    /// The handshakes of a listener's connections.
    #[cfg(feature = "tls")]
    pub(crate) gate: Option<Arc<Gate<Parts>>>,
}

impl From<Sys> for Parts {
    /// Makes the parts of a new socket with the default settings.
    fn from(sys: Sys) -> Parts {
        Parts::new(sys, Settings::new())
    }
}

impl Parts {
    /// Makes the parts of a new socket.
    pub(crate) fn new(sys: Sys, settings: Settings) -> Parts {
        Parts {
            link: sys.into(),
            settings,
            read: ReadSide::default(),
            write: WriteSide::default(),
            #[cfg(feature = "tls")]
            gate: None,
        }
    }

    /// Takes the bytes that were received and not taken.
    pub(crate) fn take_received(&mut self) -> Bytes {
        let (held, said) = (self.read.take_held(), self.link.take_plaintext());
        match (held.is_empty(), said.is_empty()) {
            (_, true) => held,
            (true, false) => said.into(),
            (false, false) => [&held[..], &said].concat().into(),
        }
    }
}

pub(crate) fn has_clones() -> io::Error {
    let text = "the socket has clones; drop them before it is taken apart";
    io::Error::new(io::ErrorKind::ResourceBusy, text)
}

pub(crate) fn is_borrowed() -> io::Error {
    let text = "the socket borrows its descriptor: whoever owns that has it already";
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
