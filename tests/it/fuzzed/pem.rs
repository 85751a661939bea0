//! Certificates and keys from any bytes: either a configuration, or an error that says what is
//! wrong.
//!
//! An input is the content of the PEM file.

use std::io::{self, ErrorKind};

use asyncoro::Tls;

pub(crate) fn feed(input: &[u8]) {
    judge(Tls::server_from_pem(input, input).map(drop));
    judge(Tls::client().and_then(|client| client.ca_from_pem(input)).map(drop));
    let shows = Tls::client().and_then(|client| client.certificate_from_pem(input, input));
    judge(shows.map(drop));
}

fn judge(made: io::Result<()>) {
    if let Err(error) = made {
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::InvalidData | ErrorKind::InvalidInput), "{error:?}");
        assert!(!error.to_string().is_empty());
    }
}
