//! A server's configuration: the methods of [`ServerTls`].
//!
//! The certificates are in the resolver (`names.rs`), which rustls asks in each handshake, so a
//! reload can exchange them in a configuration that is in use. The authorities of clients are in
//! rustls's configuration: a reload that changes them builds a new one, with new keys for session
//! tickets, so that a client that is no longer trusted cannot resume its session.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use rustls::ServerConfig;

use self::{material::Material, settings::ServerSettings};
use super::{
    alpn::alpn_names, identity::Identity, names::ByName, provider::Versions, trust::Authorities,
    version::TlsVersion,
};
use crate::primitives::{Mutex, lock};

mod material;
mod settings;

/// The TLS configuration of a server; [`Tls::server`](crate::Tls::server) begins one.
///
/// Clones share the configuration, and with it session tickets and [`reload`](Self::reload); every
/// other method returns a new one. It is `Send` and `Sync`.
///
/// ```no_run
/// use asyncoro::Tls;
///
/// # fn main() -> std::io::Result<()> {
/// let tls = Tls::server("example.org.pem", "example.org.key")?
///     .and_certificate("example.net.pem", "example.net.key")?
///     .accept_client_certificates("clients-ca.pem")?
///     .alpn(["h2", "http/1.1"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServerTls {
    shared: Arc<Shared>,
}

struct Shared {
    settings: ServerSettings,
    resolver: Arc<ByName>,
    current: Mutex<Current>,
    /// Held through a reload, which reads files, so that only one runs at a time.
    reloading: Mutex<()>,
}

struct Current {
    material: Material,
    config: Option<Arc<ServerConfig>>,
}

impl ServerTls {
    pub(super) fn from_files(chain: &Path, key: &Path) -> io::Result<ServerTls> {
        Ok(ServerTls::of(Identity::from_files("Tls::server", chain, key)?))
    }

    pub(super) fn from_pem(chain: &[u8], key: &[u8]) -> io::Result<ServerTls> {
        Ok(ServerTls::of(Identity::from_pem("Tls::server_from_pem", chain, key)?))
    }

    /// Adds a certificate from PEM files, for clients that ask for one of its names (SNI).
    ///
    /// Its names are the DNS names of its subject alternative name; `*.example.org` matches one
    /// label before `.example.org`. An exact name takes precedence over a wildcard. Clients that
    /// ask for no name, or for one that no certificate has, get the first certificate.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::server("example.org.pem", "example.org.key")?
    ///     .and_certificate("example.net.pem", "example.net.key")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Tls::server`](crate::Tls::server).
    pub fn and_certificate(
        self,
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> io::Result<Self> {
        let verb = "ServerTls::and_certificate";
        let identity = Identity::from_files(verb, chain.as_ref(), key.as_ref())?;
        Ok(self.change_material(|material| material.identities.push(identity)))
    }

    /// Adds a certificate as [`and_certificate`](Self::and_certificate) does, with PEM in memory.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let both = std::fs::read("example.net.pem")?;
    /// let tls = asyncoro::Tls::server("example.org.pem", "example.org.key")?
    ///     .and_certificate_from_pem(&both, &both)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidData`, as for [`Tls::server`](crate::Tls::server).
    pub fn and_certificate_from_pem(self, chain: &[u8], key: &[u8]) -> io::Result<Self> {
        let identity = Identity::from_pem("ServerTls::and_certificate_from_pem", chain, key)?;
        Ok(self.change_material(|material| material.identities.push(identity)))
    }

    /// Refuses clients that have no certificate from an authority in this PEM file.
    ///
    /// It can be called several times, for several files. Files given to
    /// [`accept_client_certificates`](Self::accept_client_certificates) add up with these, and the
    /// last call decides whether a certificate is required.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::server("chain.pem", "key.pem")?
    ///     .require_client_certificates("clients-ca.pem")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's, with the file's name, if it cannot be read. `InvalidData` if there is no
    /// certificate in it or one that cannot be parsed.
    pub fn require_client_certificates(self, ca_file: impl AsRef<Path>) -> io::Result<Self> {
        let verb = "ServerTls::require_client_certificates";
        Ok(self.trust(Authorities::from_file(verb, ca_file.as_ref())?, true))
    }

    /// Does what [`require_client_certificates`](Self::require_client_certificates) does, with PEM
    /// in memory.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let ca = std::fs::read("clients-ca.pem")?;
    /// let tls = asyncoro::Tls::server("chain.pem", "key.pem")?
    ///     .require_client_certificates_from_pem(&ca)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidData` if there is no certificate in it or one that cannot be parsed.
    pub fn require_client_certificates_from_pem(self, ca: &[u8]) -> io::Result<Self> {
        let verb = "ServerTls::require_client_certificates_from_pem";
        Ok(self.trust(Authorities::from_pem(verb, ca)?, true))
    }

    /// Asks clients for a certificate from an authority in this PEM file; they may have none.
    ///
    /// A certificate that a client shows is verified, and a bad one ends the handshake.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::server("chain.pem", "key.pem")?
    ///     .accept_client_certificates("clients-ca.pem")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`require_client_certificates`](Self::require_client_certificates).
    pub fn accept_client_certificates(self, ca_file: impl AsRef<Path>) -> io::Result<Self> {
        let verb = "ServerTls::accept_client_certificates";
        Ok(self.trust(Authorities::from_file(verb, ca_file.as_ref())?, false))
    }

    /// Does what [`accept_client_certificates`](Self::accept_client_certificates) does, with PEM in
    /// memory.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let ca = std::fs::read("clients-ca.pem")?;
    /// let tls = asyncoro::Tls::server("chain.pem", "key.pem")?
    ///     .accept_client_certificates_from_pem(&ca)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidData` if there is no certificate in it or one that cannot be parsed.
    pub fn accept_client_certificates_from_pem(self, ca: &[u8]) -> io::Result<Self> {
        let verb = "ServerTls::accept_client_certificates_from_pem";
        Ok(self.trust(Authorities::from_pem(verb, ca)?, false))
    }

    /// Sets the application protocols ([RFC 7301]), in order of preference.
    ///
    /// A client that offers only other protocols is refused; one that offers none is served. A name
    /// has 1 to 255 bytes; another length is an error (`InvalidInput`) when a listener takes the
    /// configuration.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::server("chain.pem", "key.pem")?.alpn(["h2", "http/1.1"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [RFC 7301]: https://www.rfc-editor.org/rfc/rfc7301
    pub fn alpn<P: AsRef<[u8]>>(self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.change(|settings| settings.alpn = alpn_names(protocols))
    }

    /// Restricts the versions of TLS to these.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// use asyncoro::{Tls, TlsVersion};
    /// let tls = Tls::server("chain.pem", "key.pem")?.versions(&[TlsVersion::V1_3])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if `versions` is empty.
    pub fn versions(self, versions: &[TlsVersion]) -> io::Result<Self> {
        let versions = Versions::new(versions)?;
        Ok(self.change(|settings| settings.versions = versions))
    }

    /// Sets how many session tickets a TLS 1.3 client gets after its handshake; the default is 2.
    ///
    /// A client uses each for one later connection. With 0 no session is resumed, in TLS 1.2
    /// neither.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let each_time_in_full = asyncoro::Tls::server("chain.pem", "key.pem")?.session_tickets(0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn session_tickets(self, count: usize) -> Self {
        self.change(|settings| settings.tickets = count)
    }

    /// Sets how long a handshake may take; the default is 10 s.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// use std::time::Duration;
    /// let tls = asyncoro::Tls::server("chain.pem", "key.pem")?
    ///     .handshake_timeout(Duration::from_secs(3));
    /// # Ok(())
    /// # }
    /// ```
    pub fn handshake_timeout(self, timeout: Duration) -> Self {
        self.change(|settings| settings.timeout = timeout)
    }

    /// Sets how many handshakes an asynchronous listener may have in progress at once; the default
    /// is 256, the minimum 1.
    ///
    /// At that number, a new handshake replaces the oldest one.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::server("chain.pem", "key.pem")?.handshakes(1024);
    /// # Ok(())
    /// # }
    /// ```
    pub fn handshakes(self, max: usize) -> Self {
        self.change(|settings| settings.handshakes = max.max(1))
    }

    /// Reads all files again: certificates, keys, and client authorities.
    ///
    /// It takes effect for handshakes that begin from now on, in all clones and all sockets that
    /// were given this configuration; existing connections are not affected. What was given as
    /// bytes stays. If client authorities have changed, no earlier session can be resumed. Since it
    /// reads files, call it through [`pool::run`](crate::pool::run) in a coroutine.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::server("chain.pem", "key.pem")?;
    /// // When the certificate was renewed:
    /// if let Err(error) = tls.reload() {
    ///     eprintln!("still with the old certificate: {error}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the methods that the files were given to. Then nothing has changed.
    pub fn reload(&self) -> io::Result<()> {
        let _one_at_a_time = lock(&self.shared.reloading);
        self.replace(self.material().read_again("ServerTls::reload")?);
        Ok(())
    }

    /// Replaces the first certificate, for the handshakes that begin from now on, as
    /// [`reload`](Self::reload) does.
    ///
    /// If the first came from files, a later `reload` no longer reads them.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::server("chain.pem", "key.pem")?;
    /// let renewed = std::fs::read("renewed.pem")?;
    /// tls.reload_from_pem(&renewed, &renewed)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidData`, as for [`Tls::server`](crate::Tls::server). Then nothing has changed.
    pub fn reload_from_pem(&self, chain: &[u8], key: &[u8]) -> io::Result<()> {
        let _one_at_a_time = lock(&self.shared.reloading);
        let mut material = self.material();
        material.identities[0] = Identity::from_pem("ServerTls::reload_from_pem", chain, key)?;
        self.replace(material);
        Ok(())
    }

    pub(super) fn config(&self) -> io::Result<Arc<ServerConfig>> {
        let mut current = lock(&self.shared.current);
        if let Some(config) = &current.config {
            return Ok(config.clone());
        }
        let resolver = self.shared.resolver.clone();
        let config = Arc::new(self.shared.settings.build(&current.material, resolver)?);
        current.config = Some(config.clone());
        Ok(config)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.shared.settings.timeout
    }

    pub(super) fn max_handshakes(&self) -> usize {
        self.shared.settings.handshakes
    }

    fn of(identity: Identity) -> ServerTls {
        ServerTls::with(ServerSettings::default(), Material::new(identity))
    }

    fn with(settings: ServerSettings, material: Material) -> ServerTls {
        let resolver = Arc::new(ByName::new(&material.identities));
        let current = Mutex::new(Current { material, config: None });
        let reloading = Mutex::new(());
        ServerTls { shared: Arc::new(Shared { settings, resolver, current, reloading }) }
    }

    fn change(self, change: impl FnOnce(&mut ServerSettings)) -> ServerTls {
        let mut settings = self.shared.settings.clone();
        change(&mut settings);
        ServerTls::with(settings, self.material())
    }

    fn change_material(self, change: impl FnOnce(&mut Material)) -> ServerTls {
        let mut material = self.material();
        change(&mut material);
        ServerTls::with(self.shared.settings.clone(), material)
    }

    fn trust(self, authorities: Authorities, required: bool) -> ServerTls {
        self.change_material(|material| {
            material.client_authorities.push(authorities);
            material.certificate_required = required;
        })
    }

    fn material(&self) -> Material {
        lock(&self.shared.current).material.clone()
    }

    fn replace(&self, material: Material) {
        let mut current = lock(&self.shared.current);
        if !material.trusts_the_same_clients(&current.material) {
            current.config = None;
        }
        self.shared.resolver.replace(&material.identities);
        current.material = material;
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identities = self.material().identities;
        let names: Vec<_> = identities.iter().flat_map(|identity| &identity.names).collect();
        f.debug_struct("ServerTls").field("names", &names).finish_non_exhaustive()
    }
}
