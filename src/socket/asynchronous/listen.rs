//! Accepting connections, also at the limit of open files; with TLS, `handshakes.rs` goes on.

use std::{future::Future, io, pin::pin, task::Poll, time::Instant};

use super::{AsyncSocket, verb::Verb};
#[cfg(feature = "tls")]
use crate::socket::records::Records;
use crate::{
    addr::Address,
    coro::current,
    driver::Driver,
    error,
    socket::{
        make::DESCRIPTOR_PAUSE,
        op::{Accept, is_starved},
        parts::Parts,
    },
    time::sleep,
};

impl AsyncSocket {
    /// Waits for the next connection; gives its socket and the peer's address.
    ///
    /// With TLS (`with_tls`) it gives connections whose handshake is done; many are under way at
    /// once, and a client that fails is no error here.
    ///
    /// The new socket inherits the message limit and coalescing, but no timeout. At the limit of
    /// open files `accept` says so in the log, once, and waits until a socket is closed here or
    /// 100 ms have passed.
    ///
    /// # Errors
    /// The system's; `EINVAL` for a socket that does not listen, which the text says. A client that
    /// has left before it was accepted is none, nor what the network or a firewall says of it.
    ///
    /// # Cancel
    /// No connection is lost; with TLS, handshakes that are under way go on.
    pub async fn accept(&self) -> io::Result<(AsyncSocket, Address)> {
        #[cfg(feature = "tls")]
        if let Some(listener) = self.tls(Records::listener).flatten() {
            let (tls, listener) = listener?;
            return self.accept_secure(tls, self.core.gate_of(listener)).await;
        }
        self.accept_plain().await
    }

    pub(super) async fn accept_plain(&self) -> io::Result<(AsyncSocket, Address)> {
        let mut starved_since = None;
        loop {
            match Verb::new(&self.core, Accept).await {
                Ok((sys, from)) => {
                    let settings = self.core.settings().inherited();
                    return Ok((AsyncSocket::from_parts(Parts::new(sys, settings)), from));
                }
                Err(error) if is_starved(&error) => {
                    self.core.say_starved(&error);
                    #[cfg(feature = "tls")]
                    if let Some(gate) = self.core.gate()
                        && (gate.make_room() || gate.has_new())
                    {
                        // Its descriptor is free when the others have been resumed.
                        crate::coro::yield_now().await;
                        continue;
                    }
                    let since = *starved_since.get_or_insert_with(Driver::now);
                    self.wait_for_descriptor(since).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait_for_descriptor(&self, since: Instant) -> io::Result<()> {
        if self.timeout().is_some_and(|timeout| Driver::now() - since >= timeout) {
            return Err(error::timed_out(0, false));
        }
        let mut pause = pin!(sleep(DESCRIPTOR_PAUSE));
        let mut told = false;
        std::future::poll_fn(|cx| {
            if self.core.is_closing() || std::mem::replace(&mut told, true) {
                return Poll::Ready(());
            }
            current::expect("accept", |engine| engine.starve(cx.waker()));
            pause.as_mut().poll(cx)
        })
        .await;
        Ok(())
    }
}
