//! The options for TLS that a program passes, and the crate's configurations made of them.
//!
//! A server's `certfile` is its own chain; a client's alone is the authority that it trusts, as in
//! pycos, and with `keyfile` the client's own certificate.

use std::{cell::Cell, path::PathBuf};

use asyncoro::{ClientTls, ServerTls, Tls, TlsVersion};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::PyType,
};

use super::PySocket;
use crate::{error::raised, gil::Gil};

/// `ssl.PROTOCOL_TLS`, `_TLS_CLIENT` and `_TLS_SERVER`: all versions that are offered.
const ANY: [i64; 3] = [2, 16, 17];
/// `ssl.PROTOCOL_TLSv1_2`.
const ONLY_1_2: i64 = 5;

/// The `ssl_version` of sockets that are made without one.
static USUAL_VERSION: Gil<Cell<Option<i64>>> = Gil::new(Cell::new(None));

/// Reads an `ssl_version`.
fn version_of(version: &Bound<'_, PyAny>) -> PyResult<i64> {
    let number: i64 = version.extract().map_err(|_| {
        PyTypeError::new_err("ssl_version is None or one of ssl's PROTOCOL_ constants")
    })?;
    if number != ONLY_1_2 && !ANY.contains(&number) {
        return Err(PyValueError::new_err(
            "this ssl_version is not offered: TLS 1.2 and 1.3 are (None, PROTOCOL_TLS), or \
             1.2 alone (PROTOCOL_TLSv1_2)",
        ));
    }
    Ok(number)
}

#[pymethods]
impl PySocket {
    /// Sets the `ssl_version` of sockets that are made without one from now on.
    #[classmethod]
    fn set_ssl_version(cls: &Bound<'_, PyType>, version: &Bound<'_, PyAny>) -> PyResult<()> {
        let number = if version.is_none() { None } else { Some(version_of(version)?) };
        USUAL_VERSION.get(cls.py()).set(number);
        Ok(())
    }

    /// Returns what `set_ssl_version` was given; None at first.
    #[classmethod]
    fn get_ssl_version(cls: &Bound<'_, PyType>) -> Option<i64> {
        USUAL_VERSION.get(cls.py()).get()
    }
}

/// The options for TLS.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) keyfile: Option<PathBuf>,
    pub(crate) certfile: Option<PathBuf>,
    pub(crate) cafile: Option<PathBuf>,
    pub(crate) server_name: Option<String>,
    pub(crate) alpn: Vec<String>,
    pub(crate) unverified: bool,
    pub(crate) versions: Option<[TlsVersion; 1]>,
}

impl Said {
    /// Returns whether an option asks for TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.certfile.is_some()
            || self.keyfile.is_some()
            || self.cafile.is_some()
            || self.server_name.is_some()
            || self.unverified
    }

    /// Returns whether any option was given.
    pub(crate) fn is_any(&self) -> bool {
        self.is_secure() || !self.alpn.is_empty() || self.versions.is_some()
    }

    /// Sets the versions; without one, those of [`set_usual_version`].
    pub(crate) fn set_version(
        &mut self,
        py: Python<'_>,
        version: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let number = match version.filter(|version| !version.is_none()) {
            None => USUAL_VERSION.get(py).get(),
            Some(version) => Some(version_of(version)?),
        };
        self.versions = (number == Some(ONLY_1_2)).then_some([TlsVersion::V1_2]);
        Ok(())
    }

    pub(crate) fn server(&self, py: Python<'_>) -> PyResult<ServerTls> {
        let Some(chain) = &self.certfile else {
            return Err(PyValueError::new_err("a TLS server needs certfile, its chain"));
        };
        let key = self.keyfile.as_ref().unwrap_or(chain);
        let fails = |error: std::io::Error| raised(py, &error);
        let mut tls = Tls::server(chain, key).map_err(fails)?;
        if let Some(authority) = &self.cafile {
            tls = tls.require_client_certificates(authority).map_err(fails)?;
        }
        if let Some(versions) = &self.versions {
            tls = tls.versions(versions).map_err(fails)?;
        }
        Ok(if self.alpn.is_empty() { tls } else { tls.alpn(&self.alpn) })
    }

    /// Makes a client's configuration; `host` is verified if no `server_name` was given.
    pub(crate) fn client(&self, py: Python<'_>, host: Option<&str>) -> PyResult<ClientTls> {
        let fails = |error: std::io::Error| raised(py, &error);
        let mut tls = Tls::client().map_err(fails)?;
        match (&self.certfile, &self.keyfile) {
            (Some(chain), Some(key)) => tls = tls.certificate(chain, key).map_err(fails)?,
            (Some(authority), None) => tls = tls.ca_file(authority).map_err(fails)?,
            (None, Some(_)) => return Err(PyValueError::new_err("keyfile needs certfile")),
            (None, None) => {}
        }
        if let Some(authority) = &self.cafile {
            tls = tls.ca_file(authority).map_err(fails)?;
        }
        if let Some(versions) = &self.versions {
            tls = tls.versions(versions).map_err(fails)?;
        }
        if let Some(name) = self.server_name.as_deref().or(host) {
            tls = tls.server_name(name).map_err(fails)?;
        }
        if self.unverified {
            tls = tls.danger_accept_any_certificate();
        }
        Ok(if self.alpn.is_empty() { tls } else { tls.alpn(&self.alpn) })
    }
}
