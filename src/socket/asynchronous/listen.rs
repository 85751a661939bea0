//! Accepts connections, also at the limit of open files; `handshakes.rs` does so with TLS.

use std::io;

use super::AsyncSocket;
#[cfg(feature = "tls")]
use super::handshakes::{begin_secure, take_begun};
#[cfg(feature = "tls")]
use crate::socket::records::Records;
use crate::{
    addr::Address,
    socket::{
        op::{Accept, accept, is_out_of_descriptors},
        parts::Parts,
    },
    sys::Sys,
};

impl AsyncSocket {
    /// Waits for the next connection; returns its socket and the peer's address.
    ///
    /// With TLS (`with_tls`) it returns connections whose handshake is done. Many handshakes run at
    /// once, and a failed one is no error here.
    ///
    /// The new socket inherits the message limit, the queue limit and coalescing, but no timeout.
    /// At the limit of open files `accept` logs this once, and waits until a socket is closed here
    /// or 100 ms have passed.
    ///
    /// # Errors
    /// The system's; `EINVAL` for a socket that does not listen, which the text says. A client that
    /// left before it was accepted causes no error, nor does a network or firewall error for it.
    ///
    /// # Cancel
    /// No connection is lost; with TLS, handshakes under way continue.
    pub async fn accept(&self) -> io::Result<(AsyncSocket, Address)> {
        #[cfg(feature = "tls")]
        if let Some(listener) = self.tls(Records::listener).flatten() {
            let (tls, listener) = listener?;
            return self.accept_secure(tls, self.core.gate_of(listener)).await;
        }
        self.accept_plain().await
    }

    pub(super) async fn accept_plain(&self) -> io::Result<(AsyncSocket, Address)> {
        let (sys, from) = accept(&self.core).await?;
        Ok((self.accepted(sys), from))
    }

    /// Makes the listener non-blocking for good, for all processes that share it: if it were reset
    /// when this one closes it, another one might wait in accept(2).
    pub(crate) fn leave_nonblocking(&self) -> io::Result<()> {
        self.core.with_sys(|sys| Ok(sys.leave_nonblocking()?))
    }

    fn accepted(&self, sys: Sys) -> AsyncSocket {
        AsyncSocket::from_parts(Parts::new(sys, self.core.settings().inherited()))
    }

    /// Takes a connection that waits in the system's queue, without waiting. With TLS it begins the
    /// handshake, and [`AsyncSocket::accept_begun`] returns the connection.
    pub(crate) fn accept_now(&self) -> io::Result<Queue> {
        let (sys, from) = match self.attempt(Accept) {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Queue::Empty),
            Err(error) if is_out_of_descriptors(&error) => return Ok(Queue::Blocked),
            Err(error) => return Err(error),
        };
        let socket = self.accepted(sys);
        #[cfg(feature = "tls")]
        if let Some(listener) = self.tls(Records::listener).flatten() {
            let (tls, listener) = listener?;
            begin_secure(&tls, &self.core.gate_of(listener), socket, from)?;
            return Ok(Queue::Begun);
        }
        Ok(Queue::Taken(socket, from))
    }

    /// Waits for the next connection whose handshake has begun, and takes no new one from the
    /// system; `None` if there is none. The socket may be closed already.
    #[cfg(feature = "tls")]
    pub(crate) async fn accept_begun(&self) -> Option<(AsyncSocket, Address)> {
        take_begun(&self.core.gate()?).await
    }

    /// Ends the handshakes that have begun.
    #[cfg(feature = "tls")]
    pub(crate) fn end_begun(&self) {
        if let Some(gate) = self.core.gate() {
            gate.end_all();
        }
    }

    /// Does nothing: without TLS there are no handshakes.
    #[cfg(not(feature = "tls"))]
    pub(crate) fn end_begun(&self) {}

    /// Returns `None`: without TLS there are no handshakes.
    #[cfg(not(feature = "tls"))]
    pub(crate) async fn accept_begun(&self) -> Option<(AsyncSocket, Address)> {
        None
    }
}

/// What [`AsyncSocket::accept_now`] has found in the system's queue of connections.
#[doc(hidden)]
#[derive(Debug)]
#[non_exhaustive]
pub enum Queue {
    Taken(AsyncSocket, Address),
    /// A connection whose handshake has begun.
    #[cfg(feature = "tls")]
    Begun,
    Empty,
    /// There may be some, and no descriptor for them.
    Blocked,
}
