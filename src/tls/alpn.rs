//! The protocol names of the ALPN extension (RFC 7301).

use std::io;

use crate::error::invalid_input;

/// Converts protocol names to rustls's form.
pub(super) fn alpn_names<P: AsRef<[u8]>>(names: impl IntoIterator<Item = P>) -> Vec<Vec<u8>> {
    names.into_iter().map(|name| name.as_ref().to_vec()).collect()
}

/// Checks that each name has 1 to 255 bytes (RFC 7301, 3.1).
pub(super) fn check_alpn(names: &[Vec<u8>]) -> io::Result<()> {
    match names.iter().find(|name| name.is_empty() || name.len() > 255) {
        Some(name) => Err(invalid_input(format!(
            "an ALPN protocol's name has 1 to 255 bytes, this one {}",
            name.len()
        ))),
        None => Ok(()),
    }
}
