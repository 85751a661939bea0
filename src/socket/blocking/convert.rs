//! Takes a blocking socket apart.

use std::{fmt, io, mem, sync::Arc};

use bytes::Bytes;
use socket2::Socket;

use super::{BlockingSocket, exclusive::Exclusive, face::at_once};
#[cfg(doc)]
use crate::socket::AsyncSocket;
use crate::socket::{
    ending::Ending,
    op::end_tls,
    parts::{Onward, Parts, has_clones, is_borrowed},
    side::{ReadSide, WriteSide},
};

impl BlockingSocket {
    /// Takes the socket apart, see [`AsyncSocket::into_parts`].
    ///
    /// # Errors
    /// [`BlockingRefused`], which returns the socket.
    pub fn into_parts(self) -> Result<(Socket, Bytes), BlockingRefused> {
        let mut parts = self.take_apart(Onward::Plain)?;
        let received = parts.take_received();
        Ok((parts.link.into_sys().into_socket(), received))
    }

    pub(crate) fn take_apart(self, onward: Onward) -> Result<Parts, BlockingRefused> {
        if Arc::strong_count(&self.twin) > 1 {
            return Err(BlockingRefused { socket: self, error: has_clones() });
        }
        if onward == Onward::Plain && self.twin.link.sys().is_borrowed() {
            return Err(BlockingRefused { socket: self, error: is_borrowed() });
        }
        if let Err(error) = self.flush() {
            return Err(BlockingRefused { socket: self, error });
        }
        if onward == Onward::Plain {
            // If this fails, the peer has received at least what was sent before.
            let _ = at_once(end_tls(&*self.twin, Ending::Keep));
        }
        match Arc::try_unwrap(self.twin) {
            Ok(mut twin) => Ok(Parts {
                link: twin.link.0.take().expect("it is taken apart once"),
                settings: twin.settings(),
                read: mem::replace(&mut twin.read, Exclusive::new(ReadSide::default()))
                    .into_inner(),
                write: mem::replace(&mut twin.write, Exclusive::new(WriteSide::default()))
                    .into_inner(),
                #[cfg(feature = "tls")]
                gate: twin.gate.take(),
            }),
            Err(twin) => {
                Err(BlockingRefused { socket: BlockingSocket { twin }, error: has_clones() })
            }
        }
    }
}

/// The error of a conversion: the socket and the reason.
#[derive(Debug)]
pub struct BlockingRefused {
    /// The socket, unchanged.
    pub socket: BlockingSocket,
    /// The reason.
    pub error: io::Error,
}

impl fmt::Display for BlockingRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for BlockingRefused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<BlockingRefused> for io::Error {
    /// Returns the reason and drops the socket.
    fn from(refused: BlockingRefused) -> io::Error {
        refused.error
    }
}
