//! Who makes the ciphers: ring, or aws-lc-rs with the feature of that name.
//!
//! The choice is made here and when compiling. It is handed to rustls with each configuration, so
//! that a program may install another provider for its own use, or none.

use std::{io, sync::Arc};

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as chosen;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as chosen;
use rustls::{SupportedProtocolVersion, crypto::CryptoProvider, server::ProducesTickets};

use super::version::TlsVersion;
use crate::{error::invalid_input, fork::Global};

/// One for the process: its tables are the same for all.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: Global<Arc<CryptoProvider>> = Global::new();
    PROVIDER.get_or_make(|| Arc::new(chosen::default_provider())).clone()
}

/// Seals session tickets; its keys rotate.
pub(super) fn ticketer() -> io::Result<Arc<dyn ProducesTickets>> {
    chosen::Ticketer::new().map_err(io::Error::other)
}

/// Which versions to speak.
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
