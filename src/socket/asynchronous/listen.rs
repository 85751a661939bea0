//! Accepts connections, also at the limit of open files; `handshakes.rs` does so with TLS.

use std::io;

use super::AsyncSocket;
#[cfg(feature = "tls")]
use crate::socket::records::Records;
use crate::{
    addr::Address,
    socket::{op::accept, parts::Parts},
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
        let settings = self.core.settings().inherited();
        Ok((AsyncSocket::from_parts(Parts::new(sys, settings)), from))
    }
}
