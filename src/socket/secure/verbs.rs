//! What sockets offer of TLS: with it from the start, in the middle, and what was agreed on.

use std::{
    future::{self, Future},
    io,
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use rustls::pki_types::CertificateDer;

use super::{
    super::{AsyncSocket, BlockingSocket, ops::Flush, step::Verb, sys::Sys},
    Gate, Secure,
    channel::Channel,
    shake::shake,
};
use crate::{
    addr::{Address, Target, ToAddress},
    coro::current,
    error, time,
    tls::{ClientTls, Tls, TlsVersion},
};

impl AsyncSocket {
    /// Has the socket speak TLS: a listener, with each connection it accepts; a socket that is not
    /// connected yet, when [`AsyncSocket::connect`] has connected it.
    ///
    /// All verbs are the same as without. A listener's [`AsyncSocket::accept`] gives connections
    /// whose handshake is done; many are under way at once, each with a deadline, and a failed one
    /// is counted ([`AsyncSocket::failed_handshakes`]), logged, and no error of `accept`. To begin
    /// TLS on a connection there is [`AsyncSocket::start_tls`].
    ///
    /// ```no_run
    /// # async fn f() -> std::io::Result<()> {
    /// use asyncoro::{AsyncSocket, Tls};
    ///
    /// let tls = Tls::server("chain.pem", "key.pem")?;
    /// let server = AsyncSocket::create_server("0.0.0.0:4433").await?.with_tls(&tls)?;
    /// loop {
    ///     let (client, from) = server.accept().await?;
    ///     println!("{from}: {}", client.protocol_version().unwrap());
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for a socket that is no stream, is connected, or speaks TLS already.
    pub fn with_tls(self, tls: impl Into<Tls>) -> io::Result<AsyncSocket> {
        let tls = tls.into();
        self.core.with_sys(|sys| may_intend(sys))?;
        self.core.with_sys_mut(|sys| sys.may_speak_tls().intend(tls))?;
        Ok(self)
    }

    /// Connects to an address as [`AsyncSocket::create_connection`] does, and speaks TLS, verifying
    /// that the server is the host that was asked for.
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
    /// rustls's error inside, if the server cannot prove who it is or the handshake fails
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
        let (shown, host, tls) = (target.to_string(), host_of(&target), Tls::from(tls));
        let socket = AsyncSocket::create_connection(target).await?;
        let secured = secure(&socket, &tls, host.as_deref()).await;
        secured.map_err(|error| error::context("create_tls_connection", shown, error))?;
        Ok(socket)
    }

    /// Begins TLS in the middle of a conversation, as STARTTLS does; what is queued leaves before.
    ///
    /// A client's configuration needs [`ClientTls::server_name`] here, since a connected socket
    /// does not know which host it was meant for.
    ///
    /// # Errors
    /// `InvalidInput` if the socket is no connected stream, speaks TLS already, or has received
    /// bytes that were not taken: they came before TLS and must not be taken for its. Otherwise as
    /// [`AsyncSocket::create_tls_connection`].
    ///
    /// # Cancel
    /// The socket is no longer usable: the peer may be in the middle of the handshake.
    pub async fn start_tls(&self, tls: impl Into<Tls>) -> io::Result<()> {
        let tls = tls.into();
        Verb::new(self, Flush::<false>).await?;
        self.core.with_sys(|sys| may_begin(sys))?;
        if self.core.holds_received() {
            return Err(error::plaintext_left());
        }
        secure(self, &tls, None).await
    }

    /// The next connection whose handshake is done.
    pub(in super::super) async fn accept_secure(&self) -> io::Result<(AsyncSocket, Address)> {
        let waiting = self.wait_at_gate();
        match self.timeout() {
            None => waiting.await,
            Some(timeout) => time::timeout(timeout, waiting)
                .await
                .unwrap_or_else(|_| Err(error::timed_out(0, false))),
        }
    }

    async fn wait_at_gate(&self) -> io::Result<(AsyncSocket, Address)> {
        let gate = self.core.with_sys(|sys| Ok(sys.tls().and_then(Secure::gate_or_new)))?;
        let Some((tls, gate)) = gate else { return Err(error::not_a_server()) };
        let mut accepting: Option<Accepting<'_>> = None;
        future::poll_fn(|cx| {
            loop {
                if let Some((parts, from)) = gate.take() {
                    return Poll::Ready(Ok((AsyncSocket::from_parts(parts), from)));
                }
                let next = accepting.get_or_insert_with(|| Box::pin(self.accept_plain()));
                match next.as_mut().poll(cx) {
                    Poll::Ready(Ok((socket, from))) => {
                        accepting = None;
                        match begin(&socket, &tls, None) {
                            Ok(()) => gate.begin(socket, from, &tls),
                            Err(error) => return Poll::Ready(Err(error)),
                        }
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        gate.wait(cx.waker());
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }
}

type Accepting<'a> = Pin<Box<dyn Future<Output = io::Result<(AsyncSocket, Address)>> + 'a>>;

/// Begins a session on a socket that is connected.
fn begin(socket: &AsyncSocket, tls: &Tls, host: Option<&str>) -> io::Result<()> {
    let session = tls.session(host)?;
    socket.core.with_sys_mut(|sys| sys.may_speak_tls().begin(session, tls.handshake_timeout()))
}

/// Shakes hands on a socket that is connected.
pub(in super::super) async fn secure(
    socket: &AsyncSocket,
    tls: &Tls,
    host: Option<&str>,
) -> io::Result<()> {
    begin(socket, tls, host)?;
    shake(socket, tls.handshake_timeout()).await
}

/// What was asked for, as TLS names it.
pub(in super::super) fn host_of(target: &Target) -> Option<String> {
    match target {
        Target::Name { host, .. } => Some(host.to_string()),
        Target::Address(address) => Some(address.socket_addr()?.ip().to_string()),
    }
}

fn may_intend(sys: &Sys) -> io::Result<()> {
    if !sys.kind().is_stream() {
        return Err(error::wrong_kind("with_tls", sys.kind().name()));
    }
    if sys.tls().is_some_and(|tls| !tls.is_plain()) {
        return Err(error::speaks_already());
    }
    if sys.peer_addr().is_ok() {
        return Err(error::is_connected());
    }
    Ok(())
}

fn may_begin(sys: &Sys) -> io::Result<()> {
    if !sys.kind().is_stream() {
        return Err(error::wrong_kind("start_tls", sys.kind().name()));
    }
    if sys.tls().is_some_and(|tls| !tls.is_plain()) {
        return Err(error::speaks_already());
    }
    sys.peer_addr()?;
    Ok(())
}

impl BlockingSocket {
    /// Has the socket speak TLS, see [`AsyncSocket::with_tls`]. What a listener accepts shakes
    /// hands in its first verb, within the configuration's time.
    ///
    /// # Errors
    /// As there.
    pub fn with_tls(self, tls: impl Into<Tls>) -> io::Result<BlockingSocket> {
        let tls = tls.into();
        self.with_sys(|sys| {
            may_intend(sys)?;
            sys.tls().map(|secure| secure.intend(tls));
            Ok(())
        })?;
        Ok(self)
    }

    /// Connects and speaks TLS, see [`AsyncSocket::create_tls_connection`].
    ///
    /// # Errors
    /// As there.
    pub fn create_tls_connection(
        address: impl ToAddress,
        tls: &ClientTls,
    ) -> io::Result<BlockingSocket> {
        super::super::blocking::made(AsyncSocket::create_tls_connection(address, tls))
    }

    /// Begins TLS in the middle of a conversation, see [`AsyncSocket::start_tls`].
    ///
    /// # Errors
    /// As there.
    pub fn start_tls(&self, tls: impl Into<Tls>) -> io::Result<()> {
        let tls = tls.into();
        self.flush()?;
        self.with_sys(|sys| may_begin(sys))?;
        if self.holds_received() {
            return Err(error::plaintext_left());
        }
        self.secure(&tls, None)
    }
}

/// What was agreed on, the same for both.
macro_rules! facts {
    ($socket:ident, $ask:expr) => {
        impl $socket {
            /// The certificates that the peer has shown, its own first, in DER; empty without TLS
            /// or when it has shown none.
            #[doc(alias = "getpeercert")]
            pub fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
                $ask(self, |channel| channel.session().peer_certificates()).unwrap_or_default()
            }

            /// The application protocol that was agreed on (ALPN, RFC 7301).
            #[doc(alias = "selected_alpn_protocol")]
            pub fn alpn(&self) -> Option<Vec<u8>> {
                $ask(self, |channel| channel.session().alpn()).flatten()
            }

            /// The version of TLS that is spoken; `None` without TLS, and before the handshake.
            #[doc(alias = "version")]
            pub fn protocol_version(&self) -> Option<TlsVersion> {
                $ask(self, |channel| channel.session().version()).flatten()
            }

            /// The name that the client has asked for (SNI, RFC 6066), on the server's side.
            pub fn server_name(&self) -> Option<String> {
                $ask(self, |channel| channel.session().asked_name().map(str::to_owned)).flatten()
            }

            /// Whether the handshake was a short one, with keys of an earlier session.
            #[doc(alias = "session_reused")]
            pub fn is_resumed(&self) -> bool {
                $ask(self, |channel| channel.session().is_resumed()).unwrap_or_default()
            }

            /// Whether the peer has said that nothing follows (close_notify).
            ///
            /// After an end of stream it tells whether that was the peer's wish, or whether
            /// somebody has cut the stream. Always true without TLS, where nobody can tell.
            pub fn peer_closed_cleanly(&self) -> bool {
                $ask(self, |channel| channel.session().has_peer_closed()).unwrap_or(true)
            }

            /// Handshakes that have failed on this asynchronous listener: those that went wrong,
            /// took too long, or made room for newer ones.
            pub fn failed_handshakes(&self) -> u64 {
                let gate = self.gate();
                gate.map_or(0, |gate| gate.failures())
            }

            fn gate(&self) -> Option<Arc<Gate>> {
                self.on_sys(|sys| sys.tls().and_then(Secure::gate)).flatten()
            }
        }
    };
}

fn of_async<R>(socket: &AsyncSocket, f: impl FnOnce(&mut Channel) -> R) -> Option<R> {
    socket.on_sys(|sys| sys.tls().and_then(|tls| tls.channel(f))).flatten()
}

fn of_blocking<R>(socket: &BlockingSocket, f: impl FnOnce(&mut Channel) -> R) -> Option<R> {
    socket.on_sys(|sys| sys.tls().and_then(|tls| tls.channel(f))).flatten()
}

facts!(AsyncSocket, of_async);
facts!(BlockingSocket, of_blocking);

impl AsyncSocket {
    fn on_sys<R>(&self, f: impl FnOnce(&Sys) -> R) -> Option<R> {
        self.core.with_sys(|sys| Ok(f(sys))).ok()
    }
}

impl BlockingSocket {
    fn on_sys<R>(&self, f: impl FnOnce(&Sys) -> R) -> Option<R> {
        self.with_sys(|sys| Ok(f(sys))).ok()
    }
}
