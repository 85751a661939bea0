//! A client's configuration: the methods of [`ClientTls`].

use std::{
    fmt, io,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, WebPkiServerVerifier},
    pki_types::ServerName,
    sign::SingleCertAndKey,
};

use super::{
    alpn::{alpn_names, check_alpn},
    defaults::{HANDSHAKE_TIMEOUT, REMEMBERED_SESSIONS},
    identity::Identity,
    provider::{Versions, provider},
    trust::{self, Authorities},
    verify::Verifier,
    version::TlsVersion,
};
use crate::error::{invalid_data, invalid_input};

/// The TLS configuration of a client; [`Tls::client`](crate::Tls::client) begins one.
///
/// The client verifies the server: its certificate must lead to a trusted root, be for the name
/// that was asked for, and be valid now. Clones share the configuration, and with it the sessions
/// that can be resumed; each method returns a new one.
///
/// ```no_run
/// use asyncoro::{Tls, TlsVersion};
///
/// # fn main() -> std::io::Result<()> {
/// let tls = Tls::client()?
///     .ca_file("ca.pem")?
///     .certificate("client.pem", "client.key")?
///     .alpn(["h2", "http/1.1"])
///     .versions(&[TlsVersion::V1_3])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClientTls {
    shared: Arc<Shared>,
}

struct Shared {
    settings: ClientSettings,
    config: OnceLock<Arc<ClientConfig>>,
}

#[derive(Clone)]
struct ClientSettings {
    authorities: Vec<Authorities>,
    system_roots: bool,
    accept_anything: bool,
    identity: Option<Identity>,
    alpn: Vec<Vec<u8>>,
    versions: Versions,
    name: Option<ServerName<'static>>,
    timeout: Duration,
    resumption: bool,
}

impl ClientTls {
    pub(super) fn new() -> ClientTls {
        ClientTls::with(ClientSettings {
            authorities: Vec::new(),
            system_roots: false,
            accept_anything: false,
            identity: None,
            alpn: Vec::new(),
            versions: Versions::default(),
            name: None,
            timeout: HANDSHAKE_TIMEOUT,
            resumption: true,
        })
    }

    /// Trusts the certificates in a PEM file, instead of the system's roots.
    ///
    /// It can be called several times. A server's certificate that is itself in the file, byte for
    /// byte, is pinned: it is accepted for any name and without a chain, while it is valid. So a
    /// self-signed certificate of `openssl req -x509` works if its file is given here. Every other
    /// certificate in the file is an authority, whether it is a root or not.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::client()?.ca_file("ca.pem")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's, with the file's name, if it cannot be read. `InvalidData` if there is no
    /// certificate in it or one that cannot be parsed.
    pub fn ca_file(self, path: impl AsRef<Path>) -> io::Result<Self> {
        let authorities = Authorities::from_file("ClientTls::ca_file", path.as_ref())?;
        Ok(self.change(|settings| settings.authorities.push(authorities)))
    }

    /// Does what [`ca_file`](Self::ca_file) does, with PEM in memory.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let ca = std::fs::read("ca.pem")?;
    /// let tls = asyncoro::Tls::client()?.ca_from_pem(&ca)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidData` if there is no certificate in it or one that cannot be parsed.
    pub fn ca_from_pem(self, pem: &[u8]) -> io::Result<Self> {
        let authorities = Authorities::from_pem("ClientTls::ca_from_pem", pem)?;
        Ok(self.change(|settings| settings.authorities.push(authorities)))
    }

    /// Trusts the system's roots as well as the certificates that are given.
    ///
    /// They are trusted anyway if no certificates are given, so this is for use with
    /// [`ca_file`](Self::ca_file). The environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR`
    /// replace the system's own locations. The roots are read once per process, by the first
    /// connection that needs them.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::client()?.ca_file("company.pem")?.system_roots();
    /// # Ok(())
    /// # }
    /// ```
    pub fn system_roots(self) -> Self {
        self.change(|settings| settings.system_roots = true)
    }

    /// Sets the certificate, from PEM files, to show to a server that asks for one.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::client()?.certificate("client.pem", "client.key")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Tls::server`](crate::Tls::server).
    pub fn certificate(self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> io::Result<Self> {
        let verb = "ClientTls::certificate";
        let identity = Identity::from_files(verb, chain.as_ref(), key.as_ref())?;
        Ok(self.change(|settings| settings.identity = Some(identity)))
    }

    /// Does what [`certificate`](Self::certificate) does, with PEM in memory.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let both = std::fs::read("client.pem")?;
    /// let tls = asyncoro::Tls::client()?.certificate_from_pem(&both, &both)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidData`, as for [`Tls::server`](crate::Tls::server).
    pub fn certificate_from_pem(self, chain: &[u8], key: &[u8]) -> io::Result<Self> {
        let identity = Identity::from_pem("ClientTls::certificate_from_pem", chain, key)?;
        Ok(self.change(|settings| settings.identity = Some(identity)))
    }

    /// Offers these application protocols ([RFC 7301]), in order of preference.
    ///
    /// A name has 1 to 255 bytes; another length is an error (`InvalidInput`) when a connection is
    /// made.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::client()?.alpn(["h2", "http/1.1"]);
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
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::client()?.versions(&["TLSv1.3".parse()?])?;
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

    /// Sets the server name to ask for and to verify, instead of the host that the client connects
    /// to.
    ///
    /// A DNS name is sent to the server (SNI), an IP address is not.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let tls = asyncoro::Tls::client()?.server_name("db.example.org")?;
    /// assert!(asyncoro::Tls::client()?.server_name("not a name").is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if it is neither a DNS name nor an IP address.
    pub fn server_name(self, name: &str) -> io::Result<Self> {
        let parsed = ServerName::try_from(name.to_owned());
        let parsed = parsed.map_err(|_| {
            invalid_input(format!(
                "ClientTls::server_name {name:?}: neither a DNS name nor an IP address"
            ))
        })?;
        Ok(self.change(|settings| settings.name = Some(parsed)))
    }

    /// Sets how long a handshake may take; the default is 10 s.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use std::time::Duration;
    /// let tls = asyncoro::Tls::client()?.handshake_timeout(Duration::from_secs(3));
    /// # Ok(())
    /// # }
    /// ```
    pub fn handshake_timeout(self, timeout: Duration) -> Self {
        self.change(|settings| settings.timeout = timeout)
    }

    /// Sets whether sessions are remembered and resumed, which saves sending and verifying
    /// certificates; the default is `true`.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let each_time_in_full = asyncoro::Tls::client()?.session_resumption(false);
    /// # Ok(())
    /// # }
    /// ```
    pub fn session_resumption(self, resume: bool) -> Self {
        self.change(|settings| settings.resumption = resume)
    }

    /// Accepts any certificate of any server, so that anyone between client and server can read and
    /// change everything.
    ///
    /// Chain, name and dates are not checked. It is still verified that the server has the key of
    /// the certificate it shows. This is for experiments; give a self-signed certificate to
    /// [`ca_file`](Self::ca_file) instead.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let reckless = asyncoro::Tls::client()?.danger_accept_any_certificate();
    /// # Ok(())
    /// # }
    /// ```
    pub fn danger_accept_any_certificate(self) -> Self {
        self.change(|settings| settings.accept_anything = true)
    }

    pub(super) fn config(&self) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = self.shared.config.get() {
            return Ok(config.clone());
        }
        let config = Arc::new(self.shared.settings.build()?);
        Ok(self.shared.config.get_or_init(|| config).clone())
    }

    pub(super) fn name(&self) -> Option<&ServerName<'static>> {
        self.shared.settings.name.as_ref()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.shared.settings.timeout
    }

    fn with(settings: ClientSettings) -> ClientTls {
        ClientTls { shared: Arc::new(Shared { settings, config: OnceLock::new() }) }
    }

    fn change(self, change: impl FnOnce(&mut ClientSettings)) -> ClientTls {
        let mut settings = self.shared.settings.clone();
        change(&mut settings);
        ClientTls::with(settings)
    }
}

impl ClientSettings {
    fn build(&self) -> io::Result<ClientConfig> {
        check_alpn(&self.alpn)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&self.versions.supported())
            .map_err(invalid_data)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier()?));
        let mut config = match &self.identity {
            Some(identity) => {
                let identity = SingleCertAndKey::from(identity.certified.clone());
                builder.with_client_cert_resolver(Arc::new(identity))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.clone();
        config.resumption = match self.resumption {
            true => Resumption::in_memory_sessions(REMEMBERED_SESSIONS),
            false => Resumption::disabled(),
        };
        Ok(config)
    }

    fn verifier(&self) -> io::Result<Verifier> {
        if self.accept_anything {
            return Ok(Verifier::of_anything());
        }
        let webpki = WebPkiServerVerifier::builder_with_provider(self.roots()?, provider());
        let webpki = webpki.build().map_err(invalid_data)?;
        let given = self.authorities.iter().flat_map(|authorities| &authorities.certificates);
        Ok(Verifier::new(given.cloned().collect(), webpki))
    }

    fn roots(&self) -> io::Result<Arc<RootCertStore>> {
        if self.authorities.is_empty() {
            return trust::system_roots();
        }
        let mut roots = match self.system_roots {
            true => RootCertStore::clone(&*trust::system_roots()?),
            false => RootCertStore::empty(),
        };
        trust::add(&mut roots, &self.authorities)?;
        Ok(Arc::new(roots))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.shared.settings;
        f.debug_struct("ClientTls")
            .field("server_name", &settings.name)
            .field("accepts_any_certificate", &settings.accept_anything)
            .finish_non_exhaustive()
    }
}
