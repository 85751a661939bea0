//! How a client verifies a server.
//!
//! rustls's own verifier (webpki) checks chain, name and dates. Before it is asked we look whether
//! the server's certificate is pinned, that is, byte-equal to one that was given: then its dates
//! are checked, and nothing else, since whoever gave it has named this very certificate. That is
//! how the usual self-signed certificate works, which webpki would refuse as an authority that
//! poses as a server. The signature of the handshake, which shows that the peer has the key, is
//! verified in each case, with `danger` too.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{self, WebPkiSupportedAlgorithms},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_cert::{Certificate, der::Decode};

use super::provider::provider;

#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Which certificates are good.
#[derive(Debug)]
enum Trust {
    /// Those with a chain to a root, and those that are pinned.
    Known {
        pinned: Vec<CertificateDer<'static>>,
        webpki: Arc<WebPkiServerVerifier>,
    },
    Anything,
}

impl Verifier {
    pub(super) fn new(
        pinned: Vec<CertificateDer<'static>>,
        webpki: Arc<WebPkiServerVerifier>,
    ) -> Verifier {
        Verifier::with(Trust::Known { pinned, webpki })
    }

    /// For `danger_accept_any_certificate`.
    pub(super) fn of_anything() -> Verifier {
        Verifier::with(Trust::Anything)
    }

    fn with(trust: Trust) -> Verifier {
        Verifier { trust, algorithms: provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (pinned, webpki) = match &self.trust {
            Trust::Anything => return Ok(ServerCertVerified::assertion()),
            Trust::Known { pinned, webpki } => (pinned, webpki),
        };
        if pinned.iter().any(|pin| pin == certificate) {
            return check_dates(certificate, now);
        }
        let verdict = webpki.verify_server_cert(certificate, intermediates, name, ocsp, now);
        verdict.map_err(|error| plainer(error, certificate))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn check_dates(
    certificate: &CertificateDer<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let parsed = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let validity = parsed.tbs_certificate.validity;
    let not_before = UnixTime::since_unix_epoch(validity.not_before.to_unix_duration());
    let not_after = UnixTime::since_unix_epoch(validity.not_after.to_unix_duration());
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    Ok(ServerCertVerified::assertion())
}

/// webpki says of a self-signed authority `CaUsedAsEndEntity`, before it looks who has issued it.
/// The reason that helps is that we do not know its issuer.
fn plainer(error: Error, certificate: &CertificateDer<'_>) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::Other(_)) if is_self_issued(certificate) => {
            CertificateError::UnknownIssuer.into()
        }
        error => error,
    }
}

fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    Certificate::from_der(certificate)
        .is_ok_and(|parsed| parsed.tbs_certificate.issuer == parsed.tbs_certificate.subject)
}
