//! Makes sockets: over a regular one, or connected to an address.

use std::{path::PathBuf, rc::Rc};

use asyncoro::AsyncSocket;
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyDict, PyInt, PyString, PyType},
};

use super::{
    object::{Face, Inner, PySocket},
    settings::Settings,
    tls::TlsOptions,
};
use crate::{address, call, engine, error::raised, gil};

#[pymethods]
impl PySocket {
    #[new]
    #[pyo3(signature = (sock, blocking = false, keyfile = None, certfile = None, ssl_version = None,
        *, cafile = None, server_name = None, alpn = None, danger_unverified = false))]
    #[allow(clippy::too_many_arguments, reason = "the signature is pycos's, and four more")]
    fn new(
        py: Python<'_>,
        sock: &Bound<'_, PyAny>,
        blocking: bool,
        keyfile: Option<PathBuf>,
        certfile: Option<PathBuf>,
        ssl_version: Option<&Bound<'_, PyAny>>,
        cafile: Option<PathBuf>,
        server_name: Option<Bound<'_, PyString>>,
        alpn: Option<Vec<String>>,
        danger_unverified: bool,
    ) -> PyResult<Py<PySocket>> {
        let files = TlsOptions { keyfile, certfile, cafile, ..TlsOptions::default() };
        let options = files.with(py, ssl_version, server_name, alpn, danger_unverified)?;
        if let Ok(socket) = sock.cast::<PySocket>() {
            options.check(py, socket.get().is_listening(py))?;
            PySocket::set_mode(socket, blocking)?;
            if options.is_secure() {
                socket.get().inner(py).tls.set(Some(Rc::new(options)));
            }
            return Ok(socket.clone().unbind());
        }
        refuse_ssl(sock)?;
        if sock.is_instance_of::<PyInt>() {
            return Err(PyTypeError::new_err(
                "AsyncSocket converts a regular socket, not a number: for a descriptor's pass \
                 socket.socket(fileno=number)",
            ));
        }
        PySocket::convert(py, sock, blocking, options)
    }

    #[classmethod]
    #[pyo3(signature = (**_options))]
    fn __init_subclass__(
        _cls: &Bound<'_, PyType>,
        _options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "AsyncSocket is no base for classes: it may give another object than a new one, so \
             keep one in an attribute",
        ))
    }

    /// Tells what is wrong with its options for TLS, as those of a server.
    fn _check_server(&self, py: Python<'_>) -> PyResult<()> {
        self.inner(py).with_tls_options(|options| options.check(py, true))
    }
}

/// Connects a new socket to a host and port, IPv6 and IPv4 in a race; `yield` or `await` it.
#[pyfunction]
#[pyo3(signature = (address, *, keyfile = None, certfile = None, ssl_version = None, cafile = None,
    server_name = None, alpn = None, danger_unverified = false))]
#[allow(clippy::too_many_arguments, reason = "the options of AsyncSocket")]
pub(crate) fn connect(
    py: Python<'_>,
    address: &Bound<'_, PyAny>,
    keyfile: Option<PathBuf>,
    certfile: Option<PathBuf>,
    ssl_version: Option<&Bound<'_, PyAny>>,
    cafile: Option<PathBuf>,
    server_name: Option<Bound<'_, PyString>>,
    alpn: Option<Vec<String>>,
    danger_unverified: bool,
) -> PyResult<Py<PyAny>> {
    let files = TlsOptions { keyfile, certfile, cafile, ..TlsOptions::default() };
    let options = files.with(py, ssl_version, server_name, alpn, danger_unverified)?;
    let to = address::read(address, None)?;
    let tls = if options.is_secure() { Some(options.client(py, None)?) } else { None };
    let connecting = async move {
        let made = match &tls {
            Some(tls) => AsyncSocket::create_tls_connection(to, tls).await,
            None => AsyncSocket::create_connection(to).await,
        };
        let py = gil::py();
        let socket = made.map_err(|error| raised(py, &error))?;
        let face = Face::Asynchronous(socket);
        let inner = Inner::new(face, None, true, Settings::of_new(py, false));
        inner.bound.set(engine::here());
        inner.secure.set(tls.is_some());
        Ok(PySocket::make(py, inner)?.into_any())
    };
    call::make(py, "asyncoro.create_connection", None, |starting| starting.poll(connecting))
}

/// Refuses objects of `ssl`, which do TLS themselves.
fn refuse_ssl(sock: &Bound<'_, PyAny>) -> PyResult<()> {
    let class = sock.get_type();
    let is_ssl = class.module().is_ok_and(|module| module == "ssl");
    if is_ssl {
        return Err(PyTypeError::new_err(format!(
            "AsyncSocket does TLS itself: give it a regular socket and certfile (and keyfile, \
             cafile), not an ssl.{}",
            class.name()?
        )));
    }
    Ok(())
}
