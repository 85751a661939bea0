//! Certificates of the tests' own making, and what an error has inside.

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

    /// A client that shows it.
    pub(super) fn shown_by(&self, client: ClientTls) -> ClientTls {
        client.certificate_from_pem(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }
}

/// What a certificate for this name says, with a subject of its own.
pub(super) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, format!("subject {}", number()));
    params
}

/// Another one with each call.
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

    /// A client that trusts it.
    pub(super) fn client(&self) -> ClientTls {
        Tls::client().unwrap().ca_from_pem(self.pem.as_bytes()).unwrap()
    }
}

/// A directory that goes with the test.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Directory {
        let name = format!("asyncoro-it-tls-{}-{}", process::id(), number());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    /// Writes a file; its path as text.
    pub(super) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    /// Where a program may write.
    pub(super) fn path(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The failure of TLS in an error, however often it was wrapped.
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
