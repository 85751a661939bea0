//! The count of a listener's failed handshakes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{addr::Address, log};

/// How far a server's handshake has come. Under pressure the lower ones are ended first: the client
/// has sent nothing; it has sent part of its first message; it was not looked at yet; it was
/// answered.
pub(super) const SILENT: u8 = 0;
pub(super) const BEGUN: u8 = 1;
pub(crate) const NEW: u8 = 2;
pub(super) const ANSWERED: u8 = 3;

/// Counts the handshakes that have failed on a listener.
#[derive(Default)]
pub(crate) struct Listener {
    failures: AtomicU64,
}

impl Listener {
    /// Returns the number of handshakes that have failed.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Counts a failed handshake and logs the reason.
    pub(crate) fn count(&self, why: &str, from: Option<&Address>) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let from = from.map_or_else(|| "a client".to_owned(), Address::to_string);
        log::info(format_args!("the TLS handshake of {from} has failed: {why}"));
    }
}
