//! TLS of the asynchronous face: from the start, in the middle of a connection, and the handshake.

use std::{
    future::{self, Future},
    io,
    pin::pin,
    sync::{
        Weak,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use super::{AsyncSocket, create, verb::Verb};
use crate::{
    addr::ToAddress,
    coro::current,
    error,
    socket::{
        facts::facts,
        op::{self, Flush},
        records::{Records, took_too_long},
        start::{Connecting, may_begin, may_intend, refuse_leftover},
    },
    time,
    tls::{ClientTls, Tls},
};

impl AsyncSocket {
    /// Configures TLS: for a listener, on each connection that it accepts; for a socket that is not
    /// connected yet, once [`AsyncSocket::connect`] has connected it.
    ///
    /// All verbs are the same as without TLS. A listener's [`AsyncSocket::accept`] returns
    /// connections whose handshake is done. Many handshakes run at once, each with a deadline; a
    /// failed one is counted ([`AsyncSocket::failed_handshakes`]), logged, and no error of
    /// `accept`. To begin TLS on a connection, use [`AsyncSocket::start_tls`].
    ///
    /// ```no_run
    /// # async fn f() -> std::io::Result<()> {
    /// use asyncoro::{AsyncSocket, Tls};
    ///
    /// let tls = Tls::server("chain.pem", "key.pem")?;
    /// let server = AsyncSocket::create_server("0.0.0.0:4433").await?.with_tls(&tls)?;
    /// loop {
    ///     let (client, from) = server.accept().await?;
    ///     println!("{from}: {:?}", client.protocol_version());
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for a socket that is no stream, is connected, or speaks TLS already.
    pub fn with_tls(self, tls: impl Into<Tls>) -> io::Result<AsyncSocket> {
        let tls = tls.into();
        self.core.with_link(may_intend)?;
        self.core.with_link_mut(|link| link.may_speak_tls().intend(tls))?;
        Ok(self)
    }

    /// Connects to an address like [`AsyncSocket::create_connection`], begins TLS, and verifies
    /// that the server is the requested host.
    ///
    /// ```no_run
    /// # async fn f() -> std::io::Result<()> {
    /// use asyncoro::{AsyncSocket, Tls};
    ///
    /// let tls = Tls::client()?;
    /// let socket = AsyncSocket::create_tls_connection(("example.org", 443), &tls).await?;
    /// socket.send_all(b"GET / HTTP/1.0\r\nHost: example.org\r\n\r\n").await?;
    /// let status = socket.recv_until(b"\r\n", 8192).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`AsyncSocket::create_connection`]. `InvalidData` with host and reason in the text, and
    /// rustls's error inside, if the server cannot prove its identity or the handshake fails
    /// otherwise; `TimedOut` if it takes longer than the configuration's limit.
    ///
    /// # Cancel
    /// The connection is closed.
    pub async fn create_tls_connection(
        address: impl ToAddress,
        tls: &ClientTls,
    ) -> io::Result<AsyncSocket> {
        current::expect("create_tls_connection", |_| ());
        let target = address.to_target()?;
        let (shown, connecting) = (target.to_string(), Connecting::new(tls.into(), &target));
        let made = async {
            let connecting = connecting?;
            // Not the public one, whose errors name the verb already.
            let socket = create::connection(target).await?;
            secure(&socket, connecting).await?;
            Ok(socket)
        };
        made.await.map_err(|error| error::context("create_tls_connection", shown, error))
    }

    /// Begins TLS in the middle of a conversation, as STARTTLS does, after the queue was sent.
    ///
    /// A client's configuration needs [`ClientTls::server_name`] here, since a connected socket
    /// does not know the host's name.
    ///
    /// # Errors
    /// `InvalidInput` if the socket is no connected stream, speaks TLS already, or has received
    /// bytes that were not taken: they came before TLS and must not be read as part of it. A verb
    /// that was dropped just as bytes came may have left some ([`AsyncSocket::has_received`]).
    /// Otherwise as [`AsyncSocket::create_tls_connection`].
    ///
    /// # Cancel
    /// The socket is no longer usable: the peer may be in the middle of the handshake.
    pub async fn start_tls(&self, tls: impl Into<Tls>) -> io::Result<()> {
        let tls = tls.into();
        Verb::new(&self.core, Flush::default()).await?;
        self.core.with_link(may_begin)?;
        refuse_leftover(self.has_received())?;
        begin(self, &tls, None)?;
        shake(self, tls.handshake_timeout(), None).await
    }
}

/// Begins a session on a socket that is connected.
pub(super) fn begin(socket: &AsyncSocket, tls: &Tls, host: Option<&str>) -> io::Result<()> {
    let session = tls.session(host)?;
    socket.core.with_link_mut(|link| {
        link.may_speak_tls().begin(session, tls.handshake_timeout(), Weak::new());
    })
}

facts!(AsyncSocket);

impl AsyncSocket {
    pub(super) fn tls<R>(&self, f: impl FnOnce(&Records) -> R) -> Option<R> {
        self.core.tls(f)
    }
}

/// Performs the handshake on a connected socket whose channel has begun, within the configuration's
/// time; keeps `stage` up to date while it waits.
pub(super) async fn shake(
    socket: &AsyncSocket,
    timeout: Duration,
    stage: Option<&AtomicU8>,
) -> io::Result<()> {
    let note = || {
        let now = stage.map(|stage| (stage, socket.core.tls(Records::stage_of_handshake)));
        if let Some((stage, Some(now))) = now {
            stage.store(now, Ordering::Relaxed);
        }
    };
    let _given_up = GiveUp(socket);
    let mut shaking = pin!(op::shake(&socket.core, None));
    let shaken = time::timeout(
        timeout,
        future::poll_fn(|cx| {
            let poll = shaking.as_mut().poll(cx);
            note();
            poll
        }),
    );
    shaken.await.unwrap_or_else(|_| Err(took_too_long()))
}

/// Abandons a handshake that was dropped, has failed, or took too long.
struct GiveUp<'a>(&'a AsyncSocket);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.0.core.tls(Records::give_up);
    }
}

/// Performs the handshake on a socket that is connected now.
pub(super) async fn secure(socket: &AsyncSocket, connecting: Connecting) -> io::Result<()> {
    begin(socket, &connecting.tls, connecting.host.as_deref())?;
    shake(socket, connecting.tls.handshake_timeout(), None).await
}
