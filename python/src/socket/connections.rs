//! The verbs of connections: accept, connect, TLS.

use std::io;

use asyncoro::{
    AsyncSocket,
    addr::{Address, Target},
};
use pyo3::prelude::*;

use super::{
    calls::Called,
    convert::{none, number, outcome, wait},
    object::{Face, PySocket},
    settings::timeout_of,
};
use crate::{address, call::Outcome, error::raised, exiting, gil, once::interned};

/// EINPROGRESS, as Linux has it.
const IN_PROGRESS: i32 = 115;

#[pymethods]
impl PySocket {
    /// Accepts a connection, a socket of the same mode, and gives its address, too.
    fn accept(slf: &Bound<'_, Self>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            own.begin_listening(py)?;
            let socket = own.blocking(py)?;
            let (connection, from) = wait(py, || socket.accept())?;
            return accepted(py, Face::Blocking(connection), own, &from);
        }
        PySocket::own_call(slf, "AsyncSocket.accept", |own, starting| {
            let py = gil::py();
            let begun = own.get().begin_listening(py);
            match begun.and_then(|()| own.get().asynchronous(py)) {
                Ok(socket) => starting.poll(accept(socket, own.clone_ref(py))),
                Err(error) => starting.done(Err(error)),
            }
        })
    }

    /// Connects, and gives 0; ConnectionRefusedError and the like if it cannot.
    fn connect(slf: &Bound<'_, Self>, address: &Bound<'_, PyAny>) -> Called {
        if slf.get().inner(slf.py()).is_blocking() {
            return slf.get().connect_blocking(slf.py(), address, false);
        }
        let address = address.clone().unbind();
        PySocket::own_call(slf, "AsyncSocket.connect", move |own, starting| {
            let py = gil::py();
            match own.get().connecting(py, address.bind(py)) {
                Ok(connecting) => starting.poll(connecting.run(false)),
                Err(error) => starting.done(Err(error)),
            }
        })
    }

    /// Connects, with `timeout` seconds for each operation from now on, and gives None.
    #[pyo3(signature = (address, timeout = None, source_address = None))]
    fn create_connection(
        slf: &Bound<'_, Self>,
        address: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
        source_address: Option<&Bound<'_, PyAny>>,
    ) -> Called {
        let py = slf.py();
        let timeout = timeout.map(timeout_of).transpose()?;
        if slf.get().inner(py).is_blocking() {
            PySocket::prepare(slf, timeout, source_address)?;
            return slf.get().connect_blocking(py, address, true);
        }
        let address = address.clone().unbind();
        let source = source_address.map(|source| source.clone().unbind());
        PySocket::own_call(slf, "AsyncSocket.create_connection", move |own, starting| {
            let py = gil::py();
            let source = source.as_ref().map(|source| source.bind(py));
            let prepared = PySocket::prepare(own.bind(py), timeout, source);
            match prepared.and_then(|()| own.get().connecting(py, address.bind(py))) {
                Ok(connecting) => starting.poll(connecting.run(true)),
                Err(error) => starting.done(Err(error)),
            }
        })
    }

    /// Begins TLS on a connection with the options of the constructor; `server` is for the side
    /// that has accepted it.
    #[pyo3(signature = (server = false))]
    fn start_tls(slf: &Bound<'_, Self>, server: bool) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let fails = |error: std::io::Error| raised(py, &error);
        let tls: asyncoro::Tls = match server {
            true => (&own.inner(py).with_tls_options(|options| options.server(py))?).into(),
            false => (&own.inner(py).with_tls_options(|options| options.client(py, None))?).into(),
        };
        if own.inner(py).is_blocking() {
            own.inner(py).secure.set(true);
            let socket = own.blocking(py)?;
            exiting::detach(py, || socket.start_tls(tls)).map_err(fails)?;
            return Ok(py.None());
        }
        PySocket::call(slf, "AsyncSocket.start_tls", move |own, socket, starting| {
            own.get().inner(gil::py()).secure.set(true);
            starting.poll(start_tls(socket, tls))
        })
    }

    /// Returns the protocol that ALPN selected; None if there is none.
    fn selected_alpn_protocol(&self, py: Python<'_>) -> Option<String> {
        let chosen = match &*self.inner(py).face.borrow() {
            Face::Asynchronous(socket) => socket.alpn(),
            Face::Blocking(socket) => socket.alpn(),
            Face::Closed => None,
        };
        chosen.map(|name| String::from_utf8_lossy(&name).into_owned())
    }

    /// Returns the negotiated version of TLS, 'TLSv1.3' say; None if there is none.
    fn version(&self, py: Python<'_>) -> Option<&'static str> {
        let version = match &*self.inner(py).face.borrow() {
            Face::Asynchronous(socket) => socket.protocol_version(),
            Face::Blocking(socket) => socket.protocol_version(),
            Face::Closed => None,
        };
        version.map(|version| match version {
            asyncoro::TlsVersion::V1_2 => "TLSv1.2",
            _ => "TLSv1.3",
        })
    }
}

impl PySocket {
    /// Adds TLS to a listener whose options ask for it.
    fn begin_listening(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner(py);
        if inner.secure.get() || !inner.is_secure() {
            return Ok(());
        }
        let tls = inner.with_tls_options(|options| options.server(py))?;
        self.cover(py, (&tls).into())
    }

    /// Adds TLS to the face, from its connecting or accepting on.
    fn cover(&self, py: Python<'_>, tls: asyncoro::Tls) -> PyResult<()> {
        let inner = self.inner(py);
        let fails = |error: std::io::Error| raised(py, &error);
        let covered = match inner.face.replace(Face::Closed) {
            Face::Asynchronous(socket) => {
                let spare = socket.clone();
                match socket.with_tls(tls) {
                    Ok(covered) => (Face::Asynchronous(covered), Ok(())),
                    Err(error) => (Face::Asynchronous(spare), Err(fails(error))),
                }
            }
            Face::Blocking(socket) => {
                let spare = socket.clone();
                match socket.with_tls(tls) {
                    Ok(covered) => (Face::Blocking(covered), Ok(())),
                    Err(error) => (Face::Blocking(spare), Err(fails(error))),
                }
            }
            Face::Closed => (Face::Closed, Err(crate::error::closed())),
        };
        inner.face.replace(covered.0);
        covered.1?;
        inner.secure.set(true);
        Ok(())
    }

    /// Sets what `create_connection` is given.
    fn prepare(
        slf: &Bound<'_, Self>,
        timeout: Option<Option<f64>>,
        source: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        if let Some(timeout) = timeout {
            PySocket::change_timeout(slf, timeout)?;
        }
        if let Some(source) = source {
            slf.get().regular(slf.py())?.call_method1(slf.py(), "bind", (source,))?;
        }
        Ok(())
    }

    fn connect_blocking(&self, py: Python<'_>, address: &Bound<'_, PyAny>, quiet: bool) -> Called {
        let inner = self.inner(py);
        let socket = self.blocking(py)?;
        let connected = self.regular(py)?.call_method1(py, interned!(py, "connect"), (address,));
        connected.map_err(|error| address::with_address(py, error, address))?;
        if inner.is_secure() {
            let host = host_of(address);
            let tls = inner.with_tls_options(|options| options.client(py, host.as_deref()))?;
            let begun = exiting::detach(py, || socket.start_tls(&tls));
            begun.map_err(|error| raised(py, &error))?;
            inner.secure.set(true);
        }
        if quiet { Ok(py.None()) } else { number(py, 0) }
    }

    /// Begins to connect.
    fn connecting(&self, py: Python<'_>, address: &Bound<'_, PyAny>) -> PyResult<Connecting> {
        let inner = self.inner(py);
        if inner.is_secure() && !inner.secure.get() {
            let tls = inner.with_tls_options(|options| options.client(py, None))?;
            self.cover(py, (&tls).into())?;
        }
        let socket = self.asynchronous(py)?;
        if self.is_foreign(py)? {
            let began = self.regular(py)?.call_method1(py, "connect_ex", (address,))?;
            let code: i32 = began.extract(py)?;
            if ![0, IN_PROGRESS].contains(&code) {
                return Err(raised(py, &std::io::Error::from_raw_os_error(code)));
            }
            return Ok(Connecting { socket, to: None });
        }
        Ok(Connecting { socket, to: Some(address::read(address, self.family(py)?)?) })
    }
}

/// Returns the host of an address, to be verified.
fn host_of(address: &Bound<'_, PyAny>) -> Option<String> {
    let host = address.get_item(0).ok()?;
    address::encoded(host.cast().ok()?).ok()
}

async fn accept(socket: AsyncSocket, listener: Py<PySocket>) -> Outcome {
    outcome(socket.accept().await, |py, (connection, from)| {
        accepted(py, Face::Asynchronous(connection), listener.get(), &from)
    })
}

/// Makes the result of an accepted connection.
pub(super) fn accepted(py: Python<'_>, face: Face, listener: &PySocket, from: &Address) -> Outcome {
    let listener = listener.inner(py);
    let connection = PySocket::accepted(py, face, listener, listener.secure.get())?;
    Ok((connection, address::show(py, from)?).into_pyobject(py)?.into_any().unbind())
}

/// A connection that is about to be made.
struct Connecting {
    socket: AsyncSocket,
    /// `None` if the regular socket has begun it, to an address that the crate has not.
    to: Option<Target>,
}

impl Connecting {
    /// Connects; gives None if `quiet`, else 0.
    async fn run(self, quiet: bool) -> Outcome {
        let connected = match self.to {
            Some(to) => self.socket.connect(to).await,
            None => connected(self.socket).await,
        };
        outcome(connected, |py, ()| if quiet { Ok(py.None()) } else { number(py, 0) })
    }
}

/// Waits for a connection that the system makes.
async fn connected(socket: AsyncSocket) -> io::Result<()> {
    socket.writable().await?;
    socket.take_error()?.map_or(Ok(()), Err)
}

async fn start_tls(socket: AsyncSocket, tls: asyncoro::Tls) -> Outcome {
    outcome(socket.start_tls(tls).await, none)
}
