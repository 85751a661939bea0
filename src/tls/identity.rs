//! A certificate chain with its private key, and the files that they came from.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{Error, InconsistentKeys, pki_types::CertificateDer, sign::CertifiedKey};

use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{pem, provider::provider};
use crate::error::context;
use crate::error::invalid_data;

/// A certificate chain and its private key.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    /// The DNS names of the first certificate, in lower case.
    pub(super) names: Vec<String>,
    /// The files of chain and key, unless they were given as bytes.
    files: Option<(PathBuf, PathBuf)>,
}

impl Identity {
    pub(super) fn from_files(verb: &'static str, chain: &Path, key: &Path) -> io::Result<Identity> {
        let chain_pem = pem::read(verb, chain)?;
        let key_pem = pem::read(verb, key)?;
        let chain_place = chain.display();
        let key_place = key.display();
        let identity = Identity::new(verb, (&chain_pem, &chain_place), (&key_pem, &key_place))?;
        Ok(Identity { files: Some((chain.to_owned(), key.to_owned())), ..identity })
    }

    pub(super) fn from_pem(verb: &'static str, chain: &[u8], key: &[u8]) -> io::Result<Identity> {
        Identity::new(verb, (chain, &"the chain given as bytes"), (key, &"the key given as bytes"))
    }

    /// Reads the files read_again; what was given as bytes stays.
    pub(super) fn read_again(&self, verb: &'static str) -> io::Result<Identity> {
        match &self.files {
            Some((chain, key)) => Identity::from_files(verb, chain, key),
            None => Ok(self.clone()),
        }
    }

    fn new(
        verb: &'static str,
        (chain_pem, chain_place): (&[u8], &dyn fmt::Display),
        (key_pem, key_place): (&[u8], &dyn fmt::Display),
    ) -> io::Result<Identity> {
        let in_chain = |error| context(verb, chain_place, error);
        let in_key = |error| context(verb, key_place, error);
        let chain = pem::certificates(chain_pem).map_err(in_chain)?;
        let key = pem::key(key_pem).map_err(in_key)?;
        let key = provider().key_provider.load_private_key(key);
        let key = key.map_err(|error| in_key(invalid_data(error)))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                let both = format!("{chain_place} and {key_place}");
                let reason = "the key is not that of the first certificate";
                return Err(context(verb, both, invalid_data(reason)));
            }
            Err(error) => return Err(in_chain(invalid_data(error))),
        }
        let names = names_of(&certified.cert[0]).map_err(in_chain)?;
        Ok(Identity { certified: Arc::new(certified), names, files: None })
    }
}

/// Returns the DNS names of `certificate`, in lower case.
fn names_of(certificate: &CertificateDer<'_>) -> io::Result<Vec<String>> {
    let parsed = Certificate::from_der(certificate).map_err(unreadable)?;
    let names = parsed.tbs_certificate.get::<SubjectAltName>().map_err(unreadable)?;
    let names = names.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    });
    Ok(dns.collect())
}

fn unreadable(error: x509_cert::der::Error) -> io::Error {
    invalid_data(format!("a certificate that cannot be read: {error}"))
}
