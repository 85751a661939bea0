//! Parses certificates and keys from PEM, with errors that say what the file holds instead.
//!
//! Sections of other kinds are skipped, so a chain and its key may be in one file, and text around
//! sections is allowed.

use std::{fs, io, path::Path};

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error, PemObject},
};

use crate::error::context;
use crate::error::invalid_data;

/// Reads a file. Errors keep the system's kind, and name the file.
pub(super) fn read(verb: &'static str, path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| context(verb, path.display(), error))
}

/// Parses all certificates, at least one.
pub(super) fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, Error> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(certificates) if certificates.is_empty() => {
            Err(invalid_data(missing("no certificate in it", pem)))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(invalid_data(broken(error))),
    }
}

/// Parses the first private key.
pub(super) fn key(pem: &[u8]) -> io::Result<PrivateKeyDer<'static>> {
    if is_encrypted(pem) {
        let advice = "decrypt it first, with `openssl pkey -in FILE -out PLAIN`";
        return Err(invalid_data(format!("the private key in it is encrypted; {advice}")));
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        Error::NoItemsFound => invalid_data(missing("no private key in it", pem)),
        error => invalid_data(broken(error)),
    })
}

/// Tells whether a key is encrypted: PKCS#8 says so in its label, the older forms in a header (RFC
/// 1421, 4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    let mut lines = text.lines().map(str::trim_end);
    lines.any(|line| {
        line == "-----BEGIN ENCRYPTED PRIVATE KEY-----" || line == "Proc-Type: 4,ENCRYPTED"
    })
}

/// Makes the text of an error: what is missing, and what there is instead.
fn missing(what: &str, pem: &[u8]) -> String {
    let there = match pem {
        [] => "it is empty".to_owned(),
        [0x30, ..] => "it looks like DER, PEM is wanted".to_owned(),
        _ => match labels(pem) {
            labels if labels.is_empty() => "it is not PEM".to_owned(),
            labels => format!("it holds {}", labels.join(", ")),
        },
    };
    format!("{what}; {there}")
}

/// Returns the labels of the sections, each once.
fn labels(pem: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(pem);
    let begins = text.lines().filter_map(|line| line.trim_end().strip_prefix("-----BEGIN "));
    let mut labels: Vec<_> =
        begins.filter_map(|rest| rest.strip_suffix("-----")).map(str::to_owned).collect();
    labels.sort();
    labels.dedup();
    labels
}

fn broken(error: Error) -> String {
    match error {
        Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(&end_marker).into_owned();
            format!("bad PEM: the line that ends the section {label} is missing")
        }
        Error::IllegalSectionStart { line } => {
            let line = String::from_utf8_lossy(&line).into_owned();
            format!("bad PEM: a section cannot begin with {:?}", line.trim_end())
        }
        Error::Base64Decode(_) => "bad PEM: a section that is not base64".to_owned(),
        error => format!("bad PEM: {error}"),
    }
}
