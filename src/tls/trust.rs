//! The certificate authorities to trust: those that were given, and those of the system.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{RootCertStore, pki_types::CertificateDer};

use super::pem;
use crate::error::invalid_data;
use crate::{error::context, fork::Global};

/// The certificates of one CA file, or of PEM in memory.
#[derive(Clone)]
pub(super) struct Authorities {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    file: Option<PathBuf>,
}

impl Authorities {
    pub(super) fn from_file(verb: &'static str, path: &Path) -> io::Result<Authorities> {
        let pem = pem::read(verb, path)?;
        let certificates = usable(&pem).map_err(|error| context(verb, path.display(), error))?;
        Ok(Authorities { certificates, file: Some(path.to_owned()) })
    }

    pub(super) fn from_pem(verb: &'static str, pem: &[u8]) -> io::Result<Authorities> {
        let place = "the certificates given as bytes";
        let certificates = usable(pem).map_err(|error| context(verb, place, error))?;
        Ok(Authorities { certificates, file: None })
    }

    /// Reads the file read_again; what was given as bytes stays.
    pub(super) fn read_again(&self, verb: &'static str) -> io::Result<Authorities> {
        match &self.file {
            Some(path) => Authorities::from_file(verb, path),
            None => Ok(self.clone()),
        }
    }
}

/// Adds the authorities to `roots`.
pub(super) fn add(roots: &mut RootCertStore, given: &[Authorities]) -> io::Result<()> {
    for certificate in given.iter().flat_map(|authorities| &authorities.certificates) {
        roots.add(certificate.clone()).map_err(invalid_data)?;
    }
    Ok(())
}

/// Returns the system's roots, which are read once per process. The environment variables
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's own locations.
pub(super) fn system_roots() -> io::Result<Arc<RootCertStore>> {
    static ROOTS: Global<Arc<RootCertStore>> = Global::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let roots = Arc::new(read_system_roots()?);
    Ok(ROOTS.get_or_make(|| roots).clone())
}

/// Reads the system's roots; leaves out those that cannot be read or parsed, if there are others.
fn read_system_roots() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let why: String = found.errors.iter().map(|error| format!("; {error}")).collect();
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!(
            "the system has no root certificates to verify a server with{why}; install them \
             (the package ca-certificates), or give some with ClientTls::ca_file"
        ),
    ))
}

/// Parses the certificates in `pem`, and checks that each can be an authority.
fn usable(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates = pem::certificates(pem)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(invalid_data)?;
    }
    Ok(certificates)
}
