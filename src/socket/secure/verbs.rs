//! What sockets offer of TLS: with it from the start, in the middle, and what was agreed on.

use std::{
    future::{self, Future},
    io,
    pin::Pin,
    sync::{Arc, Weak},
    task::Poll,
};

use rustls::pki_types::CertificateDer;

use super::{Gate, Secure, shake::shake};
use crate::{
    addr::{Address, Target, ToAddress},
    coro::{current, engine::Engine},
    error::{self, invalid_input},
    socket::{AsyncSocket, BlockingSocket, create, link::Link, ops::Flush, step::Verb},
    time,
    tls::{ClientTls, Tls, TlsVersion, session::Session},
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
        let (shown, connecting) = (target.to_string(), Connecting::new(tls.into(), &target));
        let made = async {
            let connecting = connecting?;
            // Not the public one, whose errors name the verb already.
            let socket = create::connection(target).await?;
            connecting.secure(&socket).await?;
            Ok(socket)
        };
        made.await.map_err(|error| error::context("create_tls_connection", shown, error))
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
        self.core.with_link(may_begin)?;
        refuse_leftover(self.has_received())?;
        begin(self, &tls, None)?;
        shake(self, tls.handshake_timeout(), None).await
    }

    /// The next connection whose handshake is done.
    pub(in super::super) async fn accept_secure(
        &self,
        tls: Tls,
        gate: Arc<Gate>,
    ) -> io::Result<(AsyncSocket, Address)> {
        let waiting = self.wait_at_gate(tls, gate);
        match self.timeout() {
            None => waiting.await,
            Some(timeout) => time::timeout(timeout, waiting)
                .await
                .unwrap_or_else(|_| Err(error::timed_out(0, false))),
        }
    }

    async fn wait_at_gate(&self, tls: Tls, gate: Arc<Gate>) -> io::Result<(AsyncSocket, Address)> {
        let mut accepting: Option<Accepting<'_>> = None;
        let waiting = gate.waiting();
        future::poll_fn(|cx| {
            let mut begun = 0;
            loop {
                if let Some((parts, from)) = gate.take() {
                    return Poll::Ready(Ok((AsyncSocket::from_parts(parts), from)));
                }
                if begun == MOST_BEGUN {
                    // A crowd: whoever is in a handshake already goes first, and the timers.
                    current::with(Engine::end_turn_now);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let next = accepting.get_or_insert_with(|| Box::pin(self.accept_plain()));
                match next.as_mut().poll(cx) {
                    Poll::Ready(Ok((socket, from))) => {
                        accepting = None;
                        begun += 1;
                        match begin(&socket, &tls, None) {
                            Ok(()) => gate.begin(socket, from, &tls),
                            Err(error) => return Poll::Ready(Err(error)),
                        }
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        waiting.wait(cx.waker());
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }
}

/// Most handshakes that one step of `accept` begins.
const MOST_BEGUN: u32 = 16;

type Accepting<'a> = Pin<Box<dyn Future<Output = io::Result<(AsyncSocket, Address)>> + 'a>>;

/// Begins a session on a socket that is connected.
fn begin(socket: &AsyncSocket, tls: &Tls, host: Option<&str>) -> io::Result<()> {
    let session = tls.session(host)?;
    socket.core.with_link_mut(|link| {
        link.may_speak_tls().begin(session, tls.handshake_timeout(), Weak::new());
    })
}

/// What a client that connects will speak, and to whom.
pub(in super::super) struct Connecting {
    pub(in super::super) tls: Tls,
    pub(in super::super) host: Option<String>,
}

impl Connecting {
    /// # Errors
    /// What is wrong with the configuration, before anything is connected.
    pub(in super::super) fn new(tls: Tls, target: &Target) -> io::Result<Connecting> {
        tls.client_config()?;
        Ok(Connecting { tls, host: host_of(target) })
    }

    /// Shakes hands on a socket that is connected now.
    pub(in super::super) async fn secure(self, socket: &AsyncSocket) -> io::Result<()> {
        begin(socket, &self.tls, self.host.as_deref())?;
        shake(socket, self.tls.handshake_timeout(), None).await
    }
}

/// What was asked for, as TLS names it.
fn host_of(target: &Target) -> Option<String> {
    match target {
        Target::Name { host, .. } => Some(host.to_string()),
        Target::Address(address) => Some(address.socket_addr()?.ip().to_string()),
    }
}

/// Whether TLS can be added to a socket of this kind at all.
fn may_speak(link: &Link, verb: &'static str) -> io::Result<()> {
    if !link.kind().is_stream() {
        return Err(error::wrong_kind(verb, link.kind().name()));
    }
    if link.tls().is_some_and(|tls| !tls.is_plain()) {
        return Err(invalid_input("the socket has its TLS already"));
    }
    Ok(())
}

fn may_intend(link: &Link) -> io::Result<()> {
    may_speak(link, "with_tls")?;
    if link.sys().peer_addr().is_ok() {
        let text = "with_tls is for sockets that listen or will connect; this one is connected: \
                    use start_tls";
        return Err(invalid_input(text));
    }
    Ok(())
}

fn may_begin(link: &Link) -> io::Result<()> {
    may_speak(link, "start_tls")?;
    link.sys().peer_addr()?;
    Ok(())
}

/// What came before TLS must not be taken for its.
fn refuse_leftover(is_left: bool) -> io::Result<()> {
    if is_left {
        return Err(invalid_input("start_tls with bytes received before TLS and not taken"));
    }
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
        self.with_link(may_intend)?;
        self.tls(|secure| secure.intend(tls));
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
        self.with_link(may_begin)?;
        refuse_leftover(self.has_received())?;
        self.shake_hands(&tls, None)
    }
}

/// What was agreed on, the same for both; also known of a socket that is closed.
macro_rules! facts {
    ($socket:ident) => {
        impl $socket {
            /// The certificates that the peer has shown, its own first, in DER; empty without TLS
            /// or when it has shown none.
            #[doc(alias = "getpeercert")]
            pub fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
                self.fact(Session::peer_certificates).unwrap_or_default()
            }

            /// The application protocol that was agreed on (ALPN, RFC 7301).
            #[doc(alias = "selected_alpn_protocol")]
            pub fn alpn(&self) -> Option<Vec<u8>> {
                self.fact(Session::alpn).flatten()
            }

            /// The version of TLS that is spoken; `None` without TLS, and before the handshake.
            #[doc(alias = "version")]
            pub fn protocol_version(&self) -> Option<TlsVersion> {
                self.fact(Session::version).flatten()
            }

            /// The name that the client has asked for (SNI, RFC 6066), on the server's side.
            pub fn server_name(&self) -> Option<String> {
                self.fact(|session| session.asked_name().map(str::to_owned)).flatten()
            }

            /// Whether the handshake was a short one, with keys of an earlier session.
            #[doc(alias = "session_reused")]
            pub fn is_resumed(&self) -> bool {
                self.fact(Session::is_resumed).unwrap_or_default()
            }

            /// Whether the peer has said that nothing follows (close_notify).
            ///
            /// After an end of stream it tells whether that was the peer's wish, or whether
            /// somebody has cut the stream. Always true without TLS, where nobody can tell.
            pub fn peer_closed_cleanly(&self) -> bool {
                self.fact(Session::has_peer_closed).unwrap_or(true)
            }

            /// Handshakes that have failed on this listener: those that went wrong, took too long,
            /// or made room for newer ones.
            pub fn failed_handshakes(&self) -> u64 {
                self.tls(Secure::gate).flatten().map_or(0, |gate| gate.failures())
            }

            fn fact<R>(&self, f: impl FnOnce(&Session) -> R) -> Option<R> {
                self.tls(|tls| tls.channel(|channel| f(channel.session()))).flatten()
            }
        }
    };
}

facts!(AsyncSocket);
facts!(BlockingSocket);

impl AsyncSocket {
    pub(in super::super) fn tls<R>(&self, f: impl FnOnce(&Secure) -> R) -> Option<R> {
        self.core.tls(f)
    }
}
