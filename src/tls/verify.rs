//! How a client verifies a server.
//!
//! rustls's own verifier (webpki) checks chain, name and dates. A pinned certificate, one that is
//! byte-equal to one that was given, is checked before that, and only its dates are, since the user
//! has named this very certificate. So the usual self-signed certificate works, which webpki would
//! refuse as an authority that acts as a server. The signature of the handshake, which proves that
//! the peer has the key, is always verified, also with `danger_accept_any_certificate`.

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

/// The certificates that a client accepts.
#[derive(Debug)]
enum Trust {
    /// Those with a chain to a root, and pinned ones.
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

    /// Makes the verifier of `danger_accept_any_certificate`.
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

/// Replaces webpki's `CaUsedAsEndEntity`, which it reports for a self-signed authority before it
/// looks at the issuer, by the more helpful `UnknownIssuer`.
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
