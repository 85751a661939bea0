//! The provider of cryptography: ring, or aws-lc-rs with the feature of that name.
//!
//! The choice is made at compile time and passed to rustls with each configuration, so that a
//! program may install another provider for its own use, or none.

use std::{io, sync::Arc};

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as chosen;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as chosen;
use rustls::{SupportedProtocolVersion, crypto::CryptoProvider, server::ProducesTickets};

use super::version::TlsVersion;
use crate::{error::invalid_input, fork::Global};

/// Returns the provider, of which a process has one.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: Global<Arc<CryptoProvider>> = Global::new();
    PROVIDER.get_or_make(|| Arc::new(chosen::default_provider())).clone()
}

/// Makes an encrypter of session tickets, which rotates its keys.
pub(super) fn ticketer() -> io::Result<Arc<dyn ProducesTickets>> {
    chosen::Ticketer::new().map_err(io::Error::other)
}

/// The versions of TLS that a configuration allows.
#[derive(Clone, Debug)]
pub(super) struct Versions(Vec<TlsVersion>);

impl Versions {
    pub(super) fn new(versions: &[TlsVersion]) -> io::Result<Versions> {
        if versions.is_empty() {
            return Err(invalid_input("no version of TLS given; there are TLSv1.2 and TLSv1.3"));
        }
        Ok(Versions(versions.to_vec()))
    }

    pub(super) fn supported(&self) -> Vec<&'static SupportedProtocolVersion> {
        self.0.iter().map(|version| version.supported()).collect()
    }
}

impl Default for Versions {
    fn default() -> Versions {
        Versions(vec![TlsVersion::V1_2, TlsVersion::V1_3])
    }
}
