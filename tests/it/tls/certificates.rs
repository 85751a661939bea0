//! Helpers: certificates, and the TLS error inside an `io::Error`.

use std::{
    error::Error,
    fs, io,
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use asyncoro::{ClientTls, ServerTls, Tls};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A certificate and its key, as PEM.
pub(super) struct Made {
    pub(super) chain: String,
    pub(super) key: String,
}

impl Made {
    pub(super) fn self_signed(params: &CertificateParams) -> Made {
        let key = KeyPair::generate().unwrap();
        Made { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    pub(super) fn server(&self) -> ServerTls {
        Tls::server_from_pem(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }

    /// Makes a client that shows it.
    pub(super) fn shown_by(&self, client: ClientTls) -> ClientTls {
        client.certificate_from_pem(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }
}

/// Makes the parameters of a certificate for this name, with a unique subject.
pub(super) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, format!("subject {}", number()));
    params
}

/// Returns another number with each call.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A certificate authority.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Authority {
        let mut params = params("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    pub(super) fn issue(&self, name: &str) -> Made {
        self.sign(&params(name))
    }

    pub(super) fn sign(&self, params: &CertificateParams) -> Made {
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Made { chain, key: key.serialize_pem() }
    }

    /// Makes a client that trusts it.
    pub(super) fn client(&self) -> ClientTls {
        Tls::client().unwrap().ca_from_pem(self.pem.as_bytes()).unwrap()
    }
}

/// A directory that is removed at the end of the test.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Directory {
        let name = format!("asyncoro-it-tls-{}-{}", process::id(), number());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    /// Writes a file; returns its path.
    pub(super) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    /// Returns a path in the directory.
    pub(super) fn path(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the TLS error inside an error, however often it was wrapped.
#[track_caller]
pub(super) fn inside(error: &io::Error) -> &rustls::Error {
    let mut next: &(dyn Error + 'static) = error;
    loop {
        if let Some(found) = next.downcast_ref() {
            return found;
        }
        let inner = match next.downcast_ref::<io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => next.source(),
        };
        next = inner.unwrap_or_else(|| panic!("no error of rustls in {error:?}"));
    }
}
