//! The verbs of connections: accept, connect, TLS; and how a verb becomes a call.

use std::future::Future;

use asyncoro::{AsyncSocket, socket2::Domain};
use pyo3::{prelude::*, types::PyTuple};

use super::{
    Face, PySocket,
    asynchronous::{self, Connecting, Direction, Passed},
    blocking, flags,
    settings::timeout_of,
};
use crate::{
    address,
    call::{self, Started, Starting},
    error::raised,
    exiting,
    once::interned,
};

/// EINPROGRESS, as Linux has it.
const IN_PROGRESS: i32 = 115;

pub(super) type Called = PyResult<Py<PyAny>>;

/// Returns the method of a name as `AsyncSocket.recv`.
pub(super) fn verb_of(name: &'static str) -> &'static str {
    name.rsplit('.').next().expect("a name has a last part")
}

#[pymethods]
impl PySocket {
    /// Accepts a connection, a socket of the same mode, and gives its address, too.
    fn accept(slf: &Bound<'_, Self>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            own.begin_listening(py)?;
            return blocking::accept(py, &own.blocking(py)?, own.inner(py));
        }
        PySocket::own_call(slf, "AsyncSocket.accept", |own, starting| {
            let py = call::py();
            let begun = own.get().begin_listening(py);
            match begun.and_then(|()| own.get().asynchronous(py)) {
                Ok(socket) => starting.poll(asynchronous::accept(socket, own.clone_ref(py))),
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
            let py = call::py();
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
            let py = call::py();
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
            true => (&own.inner(py).said(|said| said.server(py))?).into(),
            false => (&own.inner(py).said(|said| said.client(py, None))?).into(),
        };
        if own.inner(py).is_blocking() {
            own.inner(py).secure.set(true);
            let socket = own.blocking(py)?;
            exiting::detach(py, || socket.start_tls(tls)).map_err(fails)?;
            return Ok(py.None());
        }
        PySocket::call(slf, "AsyncSocket.start_tls", move |own, socket, starting| {
            own.get().inner(call::py()).secure.set(true);
            starting.poll(asynchronous::start_tls(socket, tls))
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
    /// Makes a call, which keeps the socket alive.
    pub(super) fn own_call<O>(slf: &Bound<'_, Self>, name: &'static str, operation: O) -> Called
    where
        O: FnOnce(&Py<PySocket>, Starting<'_, '_>) -> Started + 'static,
    {
        if slf.get().inner(slf.py()).is_closed() {
            return Err(crate::error::closed());
        }
        call::make(slf.py(), name, Some(slf.as_any()), |starting| {
            operation(starting.of::<PySocket>(), starting)
        })
    }

    /// Makes a call of the asynchronous face.
    pub(super) fn call<O>(slf: &Bound<'_, Self>, name: &'static str, operation: O) -> Called
    where
        O: FnOnce(&Py<PySocket>, AsyncSocket, Starting<'_, '_>) -> Started + 'static,
    {
        PySocket::own_call(slf, name, |own, starting| {
            let socket = own.get();
            if let Some(socket) = socket.bound_asynchronous(call::py()) {
                return operation(own, socket, starting);
            }
            match socket.asynchronous(call::py()) {
                Ok(socket) => operation(own, socket, starting),
                Err(error) => starting.done(Err(error)),
            }
        })
    }

    /// Makes a call that is a future of the asynchronous face.
    pub(super) fn start<V, F>(slf: &Bound<'_, Self>, name: &'static str, verb: V) -> Called
    where
        V: FnOnce(AsyncSocket) -> F + 'static,
        F: Future<Output = call::Outcome> + 'static,
    {
        PySocket::call(slf, name, |_, socket, starting| starting.poll(verb(socket)))
    }

    /// Makes a call of a method of the regular socket, which may wait; `name` is of the form
    /// `AsyncSocket.recv`.
    pub(super) fn pass<'py>(
        slf: &Bound<'py, Self>,
        name: &'static str,
        direction: Direction,
        flags: i32,
        arguments: Bound<'py, PyTuple>,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let verb = verb_of(name);
        if own.inner(py).is_blocking() {
            return own.regular_for(py, direction, flags)?.call_method1(py, verb, arguments);
        }
        let passed = Passed { verb, arguments: arguments.unbind(), direction, flags };
        PySocket::call(slf, name, move |own, socket, starting| {
            starting.poll(asynchronous::passed(socket, own.clone_ref(call::py()), passed))
        })
    }

    /// Returns the regular socket for a call that receives or sends: a blocking socket's behind its
    /// queue. An error if it would bypass TLS, or bytes that were read ahead.
    pub(super) fn regular_for(
        &self,
        py: Python<'_>,
        direction: Direction,
        flags: i32,
    ) -> PyResult<Py<PyAny>> {
        match direction {
            Direction::Receive => {
                flags::refuse_to_receive(flags, self.speaks_tls(py), self.has_received(py))?;
            }
            Direction::Send if self.speaks_tls(py) => {
                return Err(flags::not_with_tls("sending in this way"));
            }
            Direction::Send if self.inner(py).is_blocking() => {
                blocking::flush(py, &self.blocking(py)?)?;
            }
            Direction::Send => {}
        }
        self.regular(py)
    }

    /// Returns whether TLS is spoken, or will be once it is connected.
    pub(super) fn speaks_tls(&self, py: Python<'_>) -> bool {
        self.inner(py).secure.get() || self.inner(py).is_secure()
    }

    /// Returns whether bytes were received that nobody has taken.
    pub(super) fn has_received(&self, py: Python<'_>) -> bool {
        match &*self.inner(py).face.borrow() {
            Face::Asynchronous(socket) => socket.has_received(),
            Face::Blocking(socket) => socket.has_received(),
            Face::Closed => false,
        }
    }

    pub(super) fn is_stream(&self, py: Python<'_>) -> bool {
        self.inner(py).is_stream
    }

    /// Adds TLS to a listener whose options ask for it.
    fn begin_listening(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner(py);
        if inner.secure.get() || !inner.is_secure() {
            return Ok(());
        }
        let tls = inner.said(|said| said.server(py))?;
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
            let tls = inner.said(|said| said.client(py, host.as_deref()))?;
            let begun = exiting::detach(py, || socket.start_tls(&tls));
            begun.map_err(|error| raised(py, &error))?;
            inner.secure.set(true);
        }
        if quiet { Ok(py.None()) } else { asynchronous::number(py, 0) }
    }

    /// Begins to connect.
    fn connecting(&self, py: Python<'_>, address: &Bound<'_, PyAny>) -> PyResult<Connecting> {
        let inner = self.inner(py);
        if inner.is_secure() && !inner.secure.get() {
            let tls = inner.said(|said| said.client(py, None))?;
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

    /// Returns whether the crate has no addresses of its family.
    pub(super) fn is_foreign(&self, py: Python<'_>) -> PyResult<bool> {
        let ours = [Domain::IPV4, Domain::IPV6, Domain::UNIX];
        Ok(self.family(py)?.is_some_and(|family| !ours.contains(&family)))
    }

    /// Returns its family; `None` once it is closed.
    pub(super) fn family(&self, py: Python<'_>) -> PyResult<Option<Domain>> {
        let inner = self.inner(py);
        if inner.family.get() == 0 {
            let family = match &*inner.face.borrow() {
                Face::Asynchronous(socket) => socket.options().domain(),
                Face::Blocking(socket) => socket.options().domain(),
                Face::Closed => return Ok(None),
            };
            inner.family.set(family.map_err(|error| raised(py, &error))?.into());
        }
        Ok(Some(inner.family.get().into()))
    }
}

/// Returns the host of an address, to be verified.
fn host_of(address: &Bound<'_, PyAny>) -> Option<String> {
    let host = address.get_item(0).ok()?;
    address::encoded(host.cast().ok()?).ok()
}
