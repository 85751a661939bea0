//! Configuration of TLS 1.3 and 1.2: certificates, trust, protocols.
//!
//! [`Tls::server`] begins a server's configuration, [`Tls::client`] a client's. Both are values:
//! each method takes one and returns a new one, clones share it, and sockets take any
//! `impl Into<Tls>`. Nothing here touches a socket or waits; a method that names files reads them
//! at once, and [`ServerTls::reload`] reads them again. rustls's configuration is built once for
//! each value, by its first connection, so that session tickets and remembered sessions serve all
//! its connections. rustls's process-wide provider is neither used nor set.
//!
//! # Defaults, and why
//!
//! - **TLS 1.2 and 1.3.** 1.0 and 1.1 are forbidden ([RFC 8996]), and rustls does not implement
//!   them. 1.2 stays because many peers have nothing newer, and rustls's 1.2 has only suites with
//!   forward secrecy and authenticated encryption.
//! - **rustls's cipher suites and groups**, in its order: its authors know best when one must be
//!   removed. ring implements them, or aws-lc-rs with the feature of that name.
//! - **A client always verifies** chain, name and dates, against the system's roots if none are
//!   given. Only [`ClientTls::danger_accept_any_certificate`] turns that off.
//! - **A server asks for no client certificate**, since few clients have one.
//! - **Two session tickets** after a TLS 1.3 handshake: clients use a ticket once, and two allow
//!   for two connections at a time. Their keys are replaced every 6 hours, so a ticket is valid for
//!   12 at most and a stolen key decrypts little. The keys are in memory: a restart loses them.
//! - **256 sessions are remembered**, by a client for its servers, and by a server for TLS 1.2
//!   clients that take no tickets. This bounds the memory; the oldest are forgotten first.
//! - **No early data** (0-RTT): it can be replayed, and no verb of a socket could distinguish it.
//! - **10 seconds for a handshake**: enough for three round trips with retransmissions over a bad
//!   link, and silent peers are dropped.
//! - **256 handshakes at once** on an asynchronous listener: this bounds what unauthenticated peers
//!   can cost.
//!
//! [RFC 8996]: https://www.rfc-editor.org/rfc/rfc8996

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;

use crate::error::{invalid_data, invalid_input};

use self::session::Session;

mod alpn;
mod client;
mod defaults;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod identity;
mod names;
mod pem;
mod provider;
mod server;
pub(crate) mod session;
#[cfg(test)]
mod tests;
mod trust;
mod verify;
pub(crate) mod version;

pub use client::ClientTls;
pub use server::ServerTls;
pub use version::TlsVersion;

/// The TLS configuration of a server or of a client.
///
/// [`Tls::server`] and [`Tls::client`] begin one. Sockets take `impl Into<Tls>`: a [`ServerTls`] or
/// a [`ClientTls`], or a reference to one, converts into it. A clone is cheap and shares
/// everything.
///
/// ```no_run
/// use asyncoro::Tls;
///
/// # fn main() -> std::io::Result<()> {
/// let server = Tls::server("chain.pem", "key.pem")?;
/// let client = Tls::client()?.ca_file("ca.pem")?;
/// let either: [Tls; 2] = [Tls::from(&server), Tls::from(client)];
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls(Side);

#[derive(Clone)]
enum Side {
    Server(ServerTls),
    Client(ClientTls),
}

impl Tls {
    /// Begins a server's configuration, with its certificate chain and private key from PEM files.
    ///
    /// The chain has the server's own certificate first, then those that lead to a root; the root
    /// itself may be left out. The key is PKCS#8, PKCS#1 or SEC1, not encrypted. It may be in the
    /// same file: give its path twice. An expired certificate is accepted here; clients will refuse
    /// it.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::server("chain.pem", "key.pem")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's, with the file's name, if a file cannot be read. `InvalidData` if a file has
    /// no certificate or key, if they cannot be parsed, or if the key is not that of the first
    /// certificate (both files are named).
    pub fn server(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> io::Result<ServerTls> {
        ServerTls::from_files(chain.as_ref(), key.as_ref())
    }

    /// Begins a server's configuration, with its certificate chain and private key as PEM in
    /// memory.
    ///
    /// ```
    /// let error = asyncoro::Tls::server_from_pem(b"no PEM", b"nor here").unwrap_err();
    /// assert!(error.to_string().contains("no certificate"));
    /// ```
    ///
    /// # Errors
    /// `InvalidData`, as for [`Tls::server`].
    pub fn server_from_pem(chain: &[u8], key: &[u8]) -> io::Result<ServerTls> {
        ServerTls::from_pem(chain, key)
    }

    /// Begins a client's configuration, which verifies servers against the system's roots.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::client()?.alpn(["http/1.1"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// None today. The system's roots are read by the first connection that needs them.
    pub fn client() -> io::Result<ClientTls> {
        Ok(ClientTls::new())
    }

    /// Returns rustls's configuration for a server's session. Call it for each handshake: a reload
    /// of the client authorities makes a new one.
    pub(crate) fn server_config(&self) -> io::Result<Arc<rustls::ServerConfig>> {
        match &self.0 {
            Side::Server(server) => server.config(),
            Side::Client(_) => Err(invalid_input(
                "this TLS configuration is a client's (Tls::client); the accepting side needs a \
                 server's (Tls::server)",
            )),
        }
    }

    /// Returns rustls's configuration for a client's session.
    pub(crate) fn client_config(&self) -> io::Result<Arc<rustls::ClientConfig>> {
        match &self.0 {
            Side::Client(client) => client.config(),
            Side::Server(_) => Err(invalid_input(
                "this TLS configuration is a server's (Tls::server); the connecting side needs a \
                 client's (Tls::client)",
            )),
        }
    }

    /// Returns the server name that a client has set to replace the host it connects to.
    pub(crate) fn name(&self) -> Option<&ServerName<'static>> {
        match &self.0 {
            Side::Client(client) => client.name(),
            Side::Server(_) => None,
        }
    }

    /// Begins a session: a server's, or a client's with `host`, unless another name was set.
    pub(crate) fn session(&self, host: Option<&str>) -> io::Result<Session> {
        if self.is_server() {
            return Session::server(self.server_config()?).map_err(invalid_data);
        }
        let name = match (self.name(), host) {
            (Some(name), _) => name.clone(),
            (None, Some(host)) => ServerName::try_from(host.to_owned())
                .map_err(|_| invalid_input(format!("{host:?} is no name that TLS can verify")))?,
            (None, None) => {
                let text = "the name that the server must prove is not known; set it with \
                            ClientTls::server_name";
                return Err(invalid_input(text));
            }
        };
        Session::client(self.client_config()?, name).map_err(invalid_data)
    }

    pub(crate) fn is_server(&self) -> bool {
        matches!(self.0, Side::Server(_))
    }

    /// Returns how long a handshake may take, from its first byte to its last.
    pub(crate) fn handshake_timeout(&self) -> Duration {
        match &self.0 {
            Side::Server(server) => server.timeout(),
            Side::Client(client) => client.timeout(),
        }
    }

    /// Returns how many handshakes a listener may have in progress at once; 1 for a client.
    pub(crate) fn handshakes(&self) -> usize {
        match &self.0 {
            Side::Server(server) => server.max_handshakes(),
            Side::Client(_) => 1,
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Side::Server(server) => server.fmt(f),
            Side::Client(client) => client.fmt(f),
        }
    }
}

impl From<ServerTls> for Tls {
    fn from(server: ServerTls) -> Tls {
        Tls(Side::Server(server))
    }
}

impl From<&ServerTls> for Tls {
    fn from(server: &ServerTls) -> Tls {
        server.clone().into()
    }
}

impl From<ClientTls> for Tls {
    fn from(client: ClientTls) -> Tls {
        Tls(Side::Client(client))
    }
}

impl From<&ClientTls> for Tls {
    fn from(client: &ClientTls) -> Tls {
        client.clone().into()
    }
}

impl From<&Tls> for Tls {
    fn from(tls: &Tls) -> Tls {
        tls.clone()
    }
}
