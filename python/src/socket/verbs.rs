//! The verbs of `AsyncSocket`: in coroutines calls to be yielded or awaited, in threads calls that
//! wait.

use std::future::Future;

use asyncoro::{AsyncSocket, socket2::Domain};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyTuple};

use super::{
    Face, PySocket,
    asynchronous::{self, Connecting, Direction, Passed},
    blocking,
    settings::timeout_of,
};
use crate::{
    address,
    call::{self, Started, Starting},
    error::raised,
    exiting,
    once::interned,
    view::{Data, View},
};

/// MSG_PEEK and EINPROGRESS, as Linux has them.
const PEEK: i32 = 2;
const IN_PROGRESS: i32 = 115;

type Called = PyResult<Py<PyAny>>;

/// Checks a number of bytes to receive.
fn size(count: isize, verb: &str) -> PyResult<usize> {
    usize::try_from(count)
        .map_err(|_| PyValueError::new_err(format!("negative buffersize in {verb}")))
}

#[pymethods]
impl PySocket {
    /// Receives at most `count` bytes, once there are any; b'' at the end of the stream.
    #[pyo3(signature = (count, flags = 0))]
    pub(super) fn recv(slf: &Bound<'_, Self>, count: isize, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let max = size(count, "recv")?;
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            return match flags {
                0 if max == 0 => asynchronous::bytes(py, b""),
                0 => blocking::recv(py, &socket, max),
                PEEK => blocking::peek(py, &socket, max),
                _ => own.regular(py)?.call_method1(py, "recv", (count, flags)),
            };
        }
        match flags {
            0 => PySocket::call(slf, "AsyncSocket.recv", move |own, socket, starting| {
                let (py, own) = (call::py(), own.clone_ref(call::py()));
                if max == 0 {
                    return starting.done(asynchronous::bytes(py, b""));
                }
                match max >= asynchronous::BULKY && own.get().inner(py).bulky.get() {
                    true => starting.poll(asynchronous::recv_bulk(socket, own, max)),
                    false => starting.poll(asynchronous::recv(socket, own, max)),
                }
            }),
            PEEK => PySocket::start(slf, "AsyncSocket.recv", move |socket| {
                asynchronous::peek(socket, max)
            }),
            _ => {
                let arguments = (count, flags).into_pyobject(py)?;
                PySocket::pass(slf, "AsyncSocket.recv", Direction::Receive, arguments)
            }
        }
    }

    /// Receives into `buffer`, at most `count` bytes (0: as many as it holds); gives how many.
    #[pyo3(signature = (buffer, count = 0, flags = 0))]
    fn recv_into(
        slf: &Bound<'_, Self>,
        buffer: &Bound<'_, PyAny>,
        count: isize,
        flags: i32,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let into = View::writable(buffer)?;
        let max = room(&into, size(count, "recv_into")?)?;
        if flags != 0 {
            let arguments = (buffer, max, flags);
            return own.regular(py)?.call_method1(py, "recv_into", arguments);
        }
        if own.inner(py).is_blocking() {
            return blocking::recv_into(py, &own.blocking(py)?, &into, max);
        }
        PySocket::start(slf, "AsyncSocket.recv_into", move |socket| {
            asynchronous::recv_into(socket, into, max)
        })
    }

    /// Receives exactly `count` bytes, a bytearray; b'' if the stream ends before. After a timeout
    /// a coroutine gets what had come.
    #[pyo3(signature = (count, flags = 0))]
    pub(super) fn recvall(slf: &Bound<'_, Self>, count: isize, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let count = size(count, "recvall")?;
        if flags != 0 {
            return Err(PyValueError::new_err("recvall takes no flags"));
        }
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            return match count {
                0 => asynchronous::bytes(py, b""),
                _ => blocking::recvall(py, &socket, count),
            };
        }
        PySocket::call(slf, "AsyncSocket.recvall", move |_, socket, starting| {
            let py = call::py();
            if count == 0 {
                return starting.done(asynchronous::bytes(py, b""));
            }
            match asynchronous::recvall_now(py, &socket, count) {
                Some(outcome) => starting.done(outcome),
                None => starting.poll(asynchronous::recvall(socket, count)),
            }
        })
    }

    /// Receives a message of `send_msg`, a bytearray; b'' for an empty one, and at the end of the
    /// stream.
    fn recv_msg(slf: &Bound<'_, Self>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            return blocking::recv_msg(py, &own.blocking(py)?);
        }
        PySocket::call(slf, "AsyncSocket.recv_msg", move |_, socket, starting| {
            match asynchronous::recv_msg_now(call::py(), &socket) {
                Some(outcome) => starting.done(outcome),
                None => starting.poll(asynchronous::recv_msg(socket)),
            }
        })
    }

    /// Receives a datagram of at most `count` bytes, and its sender.
    #[pyo3(signature = (count, flags = 0))]
    fn recvfrom(slf: &Bound<'_, Self>, count: isize, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let max = size(count, "recvfrom")?;
        if own.inner(py).is_foreign.get() {
            let arguments = (count, flags).into_pyobject(py)?;
            return Self::pass(slf, "AsyncSocket.recvfrom", Direction::Receive, arguments);
        }
        if flags != 0 {
            return own.regular(py)?.call_method1(py, "recvfrom", (count, flags));
        }
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            if own.is_stream(py) {
                let got = blocking::recv(py, &socket, max)?;
                return Ok((got, py.None()).into_pyobject(py)?.into_any().unbind());
            }
            return blocking::recvfrom(py, &socket, max);
        }
        PySocket::call(slf, "AsyncSocket.recvfrom", move |own, socket, starting| {
            let py = call::py();
            if own.get().is_stream(py) {
                let own = own.clone_ref(py);
                return starting.poll(asynchronous::recvfrom_stream(socket, own, max));
            }
            starting.poll(asynchronous::recvfrom(socket, max))
        })
    }

    /// Receives a datagram into `buffer`; gives how many bytes came, and its sender.
    #[pyo3(signature = (buffer, count = 0, flags = 0))]
    fn recvfrom_into(
        slf: &Bound<'_, Self>,
        buffer: &Bound<'_, PyAny>,
        count: isize,
        flags: i32,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let into = View::writable(buffer)?;
        let max = room(&into, size(count, "recvfrom_into")?)?;
        if own.inner(py).is_foreign.get() {
            let arguments = (buffer, max, flags).into_pyobject(py)?;
            return Self::pass(slf, "AsyncSocket.recvfrom_into", Direction::Receive, arguments);
        }
        if flags != 0 || own.is_stream(py) {
            let arguments = (buffer, max, flags);
            return own.regular(py)?.call_method1(py, "recvfrom_into", arguments);
        }
        if own.inner(py).is_blocking() {
            return blocking::recvfrom_into(py, &own.blocking(py)?, &into, max);
        }
        PySocket::start(slf, "AsyncSocket.recvfrom_into", move |socket| {
            asynchronous::recvfrom_into(socket, into, max)
        })
    }

    /// Sends some of `data`; gives how many bytes.
    #[pyo3(signature = (data, flags = 0))]
    fn send(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if flags != 0 {
            return own.regular(py)?.call_method1(py, "send", (data, flags));
        }
        let data = View::of(data)?;
        if own.inner(py).is_blocking() {
            return blocking::send(py, &own.blocking(py)?, &data);
        }
        PySocket::start(slf, "AsyncSocket.send", move |socket| asynchronous::send(socket, data))
    }

    /// Sends all of `data`; less than 16 KiB are sent at the end of the scheduler's turn, with what
    /// else is queued. After a timeout a coroutine gets how many were sent, if any.
    #[pyo3(signature = (data, flags = 0))]
    pub(super) fn sendall(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if flags != 0 {
            return Err(PyValueError::new_err("sendall takes no flags"));
        }
        if own.inner(py).is_blocking() {
            return blocking::sendall(py, &own.blocking(py)?, &View::of(data)?);
        }
        let data = Data::of(data)?;
        PySocket::call(slf, "AsyncSocket.sendall", move |_, socket, starting| {
            if let Some(outcome) = asynchronous::sendall_now(call::py(), &socket, &data) {
                return starting.done(outcome);
            }
            match data.hold(call::py()) {
                Ok(data) => starting.poll(asynchronous::sendall(socket, data)),
                Err(error) => starting.done(Err(error)),
            }
        })
    }

    /// Sends `data` as a message: its length in 4 bytes, big-endian, then its bytes.
    pub(super) fn send_msg(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let data = Data::of(data)?;
        if data.lend(py, |data| u32::try_from(data.len()).is_err()) {
            return Err(PyValueError::new_err("a message has at most 4 GiB - 1"));
        }
        if own.inner(py).is_blocking() {
            return blocking::send_msg(py, &own.blocking(py)?, &data.hold(py)?);
        }
        PySocket::call(slf, "AsyncSocket.send_msg", move |_, socket, starting| {
            if let Some(outcome) = asynchronous::send_msg_now(call::py(), &socket, &data) {
                return starting.done(outcome);
            }
            match data.hold(call::py()) {
                Ok(data) => starting.poll(asynchronous::send_msg(socket, data)),
                Err(error) => starting.done(Err(error)),
            }
        })
    }

    /// Sends a datagram: `sendto(data, address)` or `sendto(data, flags, address)`.
    #[pyo3(signature = (data, *rest))]
    fn sendto(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, rest: &Bound<'_, PyTuple>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_foreign.get() {
            let arguments = [data.clone()].into_iter().chain(rest.iter());
            let arguments = PyTuple::new(py, arguments.collect::<Vec<_>>())?;
            return Self::pass(slf, "AsyncSocket.sendto", Direction::Send, arguments);
        }
        let to = match rest.len() {
            1 => rest.get_item(0)?,
            2 if rest.get_item(0)?.extract::<i32>()? == 0 => rest.get_item(1)?,
            _ => {
                let arguments = [data.clone()].into_iter().chain(rest.iter());
                let arguments = PyTuple::new(py, arguments.collect::<Vec<_>>())?;
                return own.regular(py)?.call_method1(py, "sendto", arguments);
            }
        };
        let data = View::of(data)?;
        let to = address::read(&to, own.family(py)?)?;
        if own.inner(py).is_blocking() {
            return blocking::sendto(py, &own.blocking(py)?, &data, to);
        }
        PySocket::start(slf, "AsyncSocket.sendto", move |socket| {
            asynchronous::sendto(socket, data, to)
        })
    }

    /// Waits until all that was queued is in the kernel.
    fn flush(slf: &Bound<'_, Self>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            return blocking::flush(py, &own.blocking(py)?);
        }
        PySocket::start(slf, "AsyncSocket.flush", asynchronous::flush)
    }

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
    fn own_call<O>(slf: &Bound<'_, Self>, name: &'static str, operation: O) -> Called
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
    fn call<O>(slf: &Bound<'_, Self>, name: &'static str, operation: O) -> Called
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
    fn start<V, F>(slf: &Bound<'_, Self>, name: &'static str, verb: V) -> Called
    where
        V: FnOnce(AsyncSocket) -> F + 'static,
        F: Future<Output = call::Outcome> + 'static,
    {
        PySocket::call(slf, name, |_, socket, starting| starting.poll(verb(socket)))
    }

    /// Makes a call of a method of the regular socket, which may wait; `name` is of the form
    /// `AsyncSocket.recv`.
    fn pass<'py>(
        slf: &Bound<'py, Self>,
        name: &'static str,
        direction: Direction,
        arguments: Bound<'py, PyTuple>,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let verb = name.rsplit('.').next().expect("a name has a last part");
        if own.inner(py).is_blocking() {
            return own.regular(py)?.call_method1(py, verb, arguments);
        }
        let arguments = arguments.unbind();
        PySocket::call(slf, name, move |own, socket, starting| {
            match own.get().regular(call::py()) {
                Ok(regular) => {
                    let passed = Passed { regular, verb, arguments, direction };
                    starting.poll(asynchronous::passed(socket, passed))
                }
                Err(error) => starting.done(Err(error)),
            }
        })
    }

    fn is_stream(&self, py: Python<'_>) -> bool {
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
    fn family(&self, py: Python<'_>) -> PyResult<Option<Domain>> {
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

/// Returns how many bytes to receive into a buffer; 0 asks for all of it.
fn room(into: &View, max: usize) -> PyResult<usize> {
    if max > into.len() {
        return Err(PyValueError::new_err("buffer too small for requested bytes"));
    }
    Ok(if max == 0 { into.len() } else { max })
}
