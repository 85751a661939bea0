//! Takes a socket apart, or converts it to the other face.

use std::{fmt, io};

use bytes::Bytes;
use socket2::Socket;

use super::{AsyncSocket, verb::Verb};
use crate::{
    error,
    socket::{
        blocking::{BlockingSocket, convert::BlockingRefused},
        ending::Ending,
        op::{Flush, end_tls},
        parts::{Onward, Parts, has_clones, is_borrowed},
    },
};

impl AsyncSocket {
    /// Takes the socket apart: returns the regular socket, in its original mode, and the bytes that
    /// were received but not taken.
    ///
    /// The queue is sent first. TLS ends with a close_notify, and the regular socket is a
    /// plain one, on which the TLS conversation cannot be continued.
    ///
    /// # Errors
    /// [`Refused`], which returns the socket, if there are clones of it, if it is closed, if it
    /// borrows its descriptor, or if the queue cannot be sent.
    ///
    /// # Cancel
    /// Dropping the future drops the socket.
    #[doc(alias = "unwrap")]
    pub async fn into_parts(self) -> Result<(Socket, Bytes), Refused> {
        let mut parts = self.take_apart(Onward::Plain).await?;
        let received = parts.take_received();
        Ok((parts.link.into_sys().into_socket(), received))
    }

    /// Converts to a socket for threads; nothing received or queued is lost.
    ///
    /// # Errors
    /// As [`AsyncSocket::into_parts`].
    ///
    /// # Cancel
    /// Dropping the future drops the socket.
    pub async fn into_blocking(self) -> Result<BlockingSocket, Refused> {
        Ok(BlockingSocket::from_parts(self.take_apart(Onward::OtherFace).await?))
    }

    async fn take_apart(self, onward: Onward) -> Result<Parts, Refused> {
        // Checked before the flush, which would wait for a clone's verb.
        if self.core.handles.get() > 1 {
            return Err(Refused { socket: self, error: has_clones() });
        }
        if onward == Onward::Plain && self.core.is_borrowed() {
            return Err(Refused { socket: self, error: is_borrowed() });
        }
        if let Err(error) = Verb::new(&self.core, Flush::default()).await {
            return Err(Refused { socket: self, error });
        }
        if onward == Onward::Plain {
            // If this fails, the peer has received at least what was sent before.
            let _ = end_tls(&self.core, Ending::Keep).await;
        }
        match self.core.take_parts() {
            Some(parts) => Ok(parts),
            None => Err(Refused { socket: self, error: error::closed() }),
        }
    }
}

impl BlockingSocket {
    /// Converts to a socket for coroutines; nothing received or queued is lost.
    ///
    /// # Errors
    /// As [`BlockingSocket::into_parts`].
    pub fn into_async(self) -> Result<AsyncSocket, BlockingRefused> {
        Ok(AsyncSocket::from_parts(self.take_apart(Onward::OtherFace)?))
    }
}

/// The error of a conversion: the socket and the reason.
#[derive(Debug)]
pub struct Refused {
    /// The socket, unchanged.
    pub socket: AsyncSocket,
    /// The reason.
    pub error: io::Error,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<Refused> for io::Error {
    /// Returns the reason and drops the socket.
    fn from(refused: Refused) -> io::Error {
        refused.error
    }
}
