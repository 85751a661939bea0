//! The options for TLS that a program passes, and the crate's configurations made of them.
//!
//! A server's `certfile` is its own chain; a client's alone is the authority that it trusts, as in
//! pycos, and with `keyfile` the client's own certificate.
//!
//! Files are read when they are given, so that their errors are raised there, and what was made of
//! them is kept for the first verb.

use std::{
    cell::{Cell, OnceCell},
    error::Error,
    io,
    path::PathBuf,
};

use asyncoro::{ClientTls, ServerTls, Tls, TlsVersion, error::Context};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::PyString,
};

use crate::{
    address::encoded,
    error::{insecure, of_file, raised},
    gil::Gil,
};

/// `ssl.PROTOCOL_TLS`, `_TLS_CLIENT` and `_TLS_SERVER`: all versions that are offered.
const ANY: [i64; 3] = [2, 16, 17];
/// `ssl.PROTOCOL_TLSv1_2`.
const ONLY_1_2: i64 = 5;

/// The `ssl_version` of sockets that are made without one.
static USUAL_VERSION: Gil<Cell<Option<i64>>> = Gil::new(Cell::new(None));

/// Sets the `ssl_version` of sockets that are made without one from now on.
pub(super) fn set_usual_version(py: Python<'_>, version: &Bound<'_, PyAny>) -> PyResult<()> {
    let number = if version.is_none() { None } else { Some(version_of(version)?) };
    USUAL_VERSION.get(py).set(number);
    Ok(())
}

/// Returns it; `None` at first.
pub(super) fn usual_version(py: Python<'_>) -> Option<i64> {
    USUAL_VERSION.get(py).get()
}

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

/// The options for TLS.
#[derive(Default)]
pub(crate) struct TlsOptions {
    pub(crate) keyfile: Option<PathBuf>,
    pub(crate) certfile: Option<PathBuf>,
    pub(crate) cafile: Option<PathBuf>,
    pub(crate) server_name: Option<String>,
    pub(crate) alpn: Vec<String>,
    pub(crate) unverified: bool,
    pub(crate) versions: Option<[TlsVersion; 1]>,
    /// What `server` has made.
    pub(super) server: OnceCell<ServerTls>,
    /// What `client` has made, without a name.
    pub(super) client: OnceCell<ClientTls>,
}

impl TlsOptions {
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

    /// Adds what a program passes beside files; without a version, that of [`set_usual_version`].
    pub(crate) fn with(
        self,
        py: Python<'_>,
        version: Option<&Bound<'_, PyAny>>,
        server_name: Option<Bound<'_, PyString>>,
        alpn: Option<Vec<String>>,
        unverified: bool,
    ) -> PyResult<TlsOptions> {
        let server_name = server_name.map(|name| encoded(&name)).transpose()?;
        let number = match version.filter(|version| !version.is_none()) {
            None => usual_version(py),
            Some(version) => Some(version_of(version)?),
        };
        let versions = (number == Some(ONLY_1_2)).then_some([TlsVersion::V1_2]);
        Ok(TlsOptions { server_name, alpn: alpn.unwrap_or_default(), unverified, versions, ..self })
    }

    /// Reads the files as a server does, or else as the role allows that they show: with a key both
    /// roles need a pair that fits, and one file may be a client's authorities or a server's chain.
    pub(crate) fn check(&self, py: Python<'_>, is_server: bool) -> PyResult<()> {
        if !self.is_secure() {
            return Ok(());
        }
        if is_server || self.certfile.is_some() && self.keyfile.is_some() {
            return self.server(py).map(drop);
        }
        match self.client(py, None) {
            Err(_) if self.certfile.is_some() && self.server(py).is_ok() => Ok(()),
            made => made.map(drop),
        }
    }

    pub(crate) fn server(&self, py: Python<'_>) -> PyResult<ServerTls> {
        if let Some(made) = self.server.get() {
            return Ok(made.clone());
        }
        let Some(chain) = &self.certfile else {
            return Err(PyValueError::new_err("a TLS server needs certfile, its chain"));
        };
        let key = self.keyfile.as_ref().unwrap_or(chain);
        let fails = |error: io::Error| self.failed(py, &error);
        let mut tls = Tls::server(chain, key).map_err(fails)?;
        if let Some(authority) = &self.cafile {
            tls = tls.require_client_certificates(authority).map_err(fails)?;
        }
        if let Some(versions) = &self.versions {
            tls = tls.versions(versions).map_err(fails)?;
        }
        if !self.alpn.is_empty() {
            tls = tls.alpn(&self.alpn);
        }
        Ok(self.server.get_or_init(|| tls).clone())
    }

    /// Makes a client's configuration; `host` is verified if no `server_name` was given.
    pub(crate) fn client(&self, py: Python<'_>, host: Option<&str>) -> PyResult<ClientTls> {
        let tls = match self.client.get() {
            Some(made) => made.clone(),
            None => {
                let made = self.new_client(py)?;
                self.client.get_or_init(|| made).clone()
            }
        };
        match host {
            Some(host) if self.server_name.is_none() => {
                tls.server_name(host).map_err(|error| self.failed(py, &error))
            }
            _ => Ok(tls),
        }
    }

    fn new_client(&self, py: Python<'_>) -> PyResult<ClientTls> {
        let fails = |error: io::Error| self.failed(py, &error);
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
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name).map_err(fails)?;
        }
        if self.unverified {
            tls = tls.danger_accept_any_certificate();
        }
        Ok(if self.alpn.is_empty() { tls } else { tls.alpn(&self.alpn) })
    }

    /// Makes the exception of a file that cannot be used: that of `open`, or SSLError, with the
    /// option that it was given by.
    fn failed(&self, py: Python<'_>, error: &io::Error) -> PyErr {
        let context = error.get_ref().and_then(|inner| inner.downcast_ref::<Context>());
        let Some(context) = context else { return raised(py, error) };
        let options =
            [("certfile", &self.certfile), ("keyfile", &self.keyfile), ("cafile", &self.cafile)];
        let is_it = |path: &PathBuf| path.display().to_string() == context.address;
        let given = options.iter().find_map(|(option, path)| {
            path.as_ref().filter(|path| is_it(path)).map(|path| (*option, path))
        });
        if let Some((_, path)) = given
            && let Some(raised) = of_file(error, path)
        {
            return raised;
        }
        let option = given.map_or("certfile and keyfile", |(option, _)| option);
        let reason = context.source().map(ToString::to_string).unwrap_or_default();
        insecure(py, &format!("{option}: {}: {reason}", context.address))
    }
}
