//! The verbs of `AsyncSocket`: in coroutines calls to be yielded or awaited, in threads calls that
//! wait.

use std::future::Future;

use asyncoro::{AsyncSocket, addr::Target};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyTuple};

use super::{
    Face, PySocket,
    asynchronous::{self, Direction, Passed},
    blocking,
    settings::timeout_of,
};
use crate::{
    address,
    call::{self, Keeping},
    engine,
    error::raised,
    once::interned,
    view::View,
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
        let socket = own.asynchronous(py)?;
        match flags {
            0 if max == 0 => call::done(py, "recv", asynchronous::bytes(py, b"")),
            0 => {
                let kept = slf.clone().unbind();
                match max >= asynchronous::BULKY && own.inner(py).bulky.get() {
                    true => call::start(py, "recv", asynchronous::recv_bulk(socket, kept, max)),
                    false => call::start(py, "recv", asynchronous::recv(socket, kept, max)),
                }
            }
            PEEK => PySocket::start(slf, "recv", asynchronous::peek(socket, max)),
            _ => {
                let regular = own.regular(py)?;
                let arguments = (count, flags).into_pyobject(py)?.unbind();
                let direction = Direction::Receive;
                let passed = Passed { regular, verb: "recv", arguments, direction };
                PySocket::start(slf, "recv", asynchronous::passed(socket, passed))
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
        PySocket::start(slf, "recv_into", asynchronous::recv_into(own.asynchronous(py)?, into, max))
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
        if count == 0 {
            return call::done(py, "recvall", asynchronous::bytes(py, b""));
        }
        let is_there = |socket: &AsyncSocket| asynchronous::recvall_now(py, socket, count);
        if let Some(call) = own.now(py, "recvall", is_there)? {
            return Ok(call);
        }
        let receiving = asynchronous::recvall(own.asynchronous(py)?, count);
        PySocket::start(slf, "recvall", receiving)
    }

    /// Receives a message of `send_msg`, a bytearray; b'' for an empty one, and at the end of the
    /// stream.
    fn recv_msg(slf: &Bound<'_, Self>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            return blocking::recv_msg(py, &own.blocking(py)?);
        }
        let is_there = |socket: &AsyncSocket| asynchronous::recv_msg_now(py, socket);
        if let Some(call) = own.now(py, "recv_msg", is_there)? {
            return Ok(call);
        }
        PySocket::start(slf, "recv_msg", asynchronous::recv_msg(own.asynchronous(py)?))
    }

    /// Receives a datagram of at most `count` bytes, and its sender.
    #[pyo3(signature = (count, flags = 0))]
    fn recvfrom(slf: &Bound<'_, Self>, count: isize, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let max = size(count, "recvfrom")?;
        if own.inner(py).is_foreign.get() {
            let arguments = (count, flags).into_pyobject(py)?;
            return Self::pass(slf, "recvfrom", Direction::Receive, arguments);
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
        let socket = own.asynchronous(py)?;
        if own.is_stream(py) {
            let kept = slf.clone().unbind();
            return call::start(py, "recvfrom", asynchronous::recvfrom_stream(socket, kept, max));
        }
        PySocket::start(slf, "recvfrom", asynchronous::recvfrom(socket, max))
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
            return Self::pass(slf, "recvfrom_into", Direction::Receive, arguments);
        }
        if flags != 0 || own.is_stream(py) {
            let arguments = (buffer, max, flags);
            return own.regular(py)?.call_method1(py, "recvfrom_into", arguments);
        }
        if own.inner(py).is_blocking() {
            return blocking::recvfrom_into(py, &own.blocking(py)?, &into, max);
        }
        let receiving = asynchronous::recvfrom_into(own.asynchronous(py)?, into, max);
        PySocket::start(slf, "recvfrom_into", receiving)
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
        PySocket::start(slf, "send", asynchronous::send(own.asynchronous(py)?, data))
    }

    /// Sends all of `data`; less than 16 KiB are sent at the end of the scheduler's turn, with what
    /// else is queued. After a timeout a coroutine gets how many were sent, if any.
    #[pyo3(signature = (data, flags = 0))]
    pub(super) fn sendall(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if flags != 0 {
            return Err(PyValueError::new_err("sendall takes no flags"));
        }
        let queued = |socket: &AsyncSocket| asynchronous::sendall_now(socket, data);
        if let Some(call) = own.now(py, "sendall", queued)? {
            return Ok(call);
        }
        let data = View::of(data)?;
        if own.inner(py).is_blocking() {
            return blocking::sendall(py, &own.blocking(py)?, &data);
        }
        let socket = own.asynchronous(py)?;
        if data.len() == 0 {
            return call::done(py, "sendall", Ok(py.None()));
        }
        PySocket::start(slf, "sendall", asynchronous::sendall(socket, data))
    }

    /// Sends `data` as a message: its length in 4 bytes, big-endian, then its bytes.
    pub(super) fn send_msg(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let queued = |socket: &AsyncSocket| asynchronous::send_msg_now(socket, data);
        if let Some(call) = own.now(py, "send_msg", queued)? {
            return Ok(call);
        }
        let data = View::of(data)?;
        if u32::try_from(data.len()).is_err() {
            return Err(PyValueError::new_err("a message has at most 4 GiB - 1"));
        }
        if own.inner(py).is_blocking() {
            return blocking::send_msg(py, &own.blocking(py)?, &data);
        }
        PySocket::start(slf, "send_msg", asynchronous::send_msg(own.asynchronous(py)?, data))
    }

    /// Sends a datagram: `sendto(data, address)` or `sendto(data, flags, address)`.
    #[pyo3(signature = (data, *rest))]
    fn sendto(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, rest: &Bound<'_, PyTuple>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_foreign.get() {
            let arguments = [data.clone()].into_iter().chain(rest.iter());
            let arguments = PyTuple::new(py, arguments.collect::<Vec<_>>())?;
            return Self::pass(slf, "sendto", Direction::Send, arguments);
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
        let to = address::read(&to)?;
        if own.inner(py).is_blocking() {
            return blocking::sendto(py, &own.blocking(py)?, &data, to);
        }
        PySocket::start(slf, "sendto", asynchronous::sendto(own.asynchronous(py)?, data, to))
    }

    /// Waits until all that was queued is in the kernel.
    fn flush(slf: &Bound<'_, Self>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            return blocking::flush(py, &own.blocking(py)?);
        }
        PySocket::start(slf, "flush", asynchronous::flush(own.asynchronous(py)?))
    }

    /// Accepts a connection, a socket of the same mode, and gives its address, too.
    fn accept(slf: &Bound<'_, Self>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        own.begin_listening(py)?;
        if own.inner(py).is_blocking() {
            return blocking::accept(py, &own.blocking(py)?, own.inner(py));
        }
        let accepting = asynchronous::accept(own.asynchronous(py)?, slf.clone().unbind());
        PySocket::start(slf, "accept", accepting)
    }

    /// Connects, and gives 0; ConnectionRefusedError and the like if it cannot.
    fn connect(slf: &Bound<'_, Self>, address: &Bound<'_, PyAny>) -> Called {
        Self::connect_to(slf, address, false)
    }

    /// Connects, with `timeout` seconds for each operation from now on, and gives None.
    #[pyo3(signature = (address, timeout = None, source_address = None))]
    fn create_connection(
        slf: &Bound<'_, Self>,
        address: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
        source_address: Option<&Bound<'_, PyAny>>,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if let Some(timeout) = timeout {
            PySocket::change_timeout(slf, timeout_of(timeout)?)?;
        }
        if let Some(source) = source_address {
            own.regular(py)?.call_method1(py, "bind", (source,))?;
        }
        Self::connect_to(slf, address, true)
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
        own.inner(py).secure.set(true);
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            py.detach(|| socket.start_tls(tls)).map_err(fails)?;
            return Ok(py.None());
        }
        let socket = own.asynchronous(py)?;
        PySocket::start(slf, "start_tls", async move {
            match socket.start_tls(tls).await {
                Ok(()) => Ok(call::py().None()),
                Err(error) => Err(raised(call::py(), &error)),
            }
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
    /// Begins a call that keeps the socket alive.
    fn start<F>(slf: &Bound<'_, Self>, verb: &str, future: F) -> Called
    where
        F: Future<Output = call::Outcome> + 'static,
    {
        let own = slf.clone().into_any().unbind();
        call::start(slf.py(), verb, Keeping::new(future, own))
    }

    /// Calls a method of the regular socket, which may wait.
    fn pass<'py>(
        slf: &Bound<'py, Self>,
        verb: &'static str,
        direction: Direction,
        arguments: Bound<'py, PyTuple>,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let regular = own.regular(py)?;
        if own.inner(py).is_blocking() {
            return regular.call_method1(py, verb, arguments);
        }
        let passed = Passed { regular, verb, arguments: arguments.unbind(), direction };
        PySocket::start(slf, verb, asynchronous::passed(own.asynchronous(py)?, passed))
    }

    /// Makes a call of an asynchronous socket if it is done at once.
    fn now(
        &self,
        py: Python<'_>,
        verb: &str,
        attempt: impl FnOnce(&AsyncSocket) -> Option<call::Outcome>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let inner = self.inner(py);
        // Cloned out of the cell: dropping an earlier call may run any code.
        let socket = match &*inner.face.borrow() {
            Face::Asynchronous(socket) if inner.bound.get() => socket.clone(),
            _ => return Ok(None),
        };
        call::now(py, verb, || attempt(&socket))
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

    fn connect_to(slf: &Bound<'_, Self>, address: &Bound<'_, PyAny>, quiet: bool) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let inner = own.inner(py);
        let secure = inner.is_secure();
        if inner.is_blocking() {
            let socket = own.blocking(py)?;
            own.regular(py)?.call_method1(py, interned!(py, "connect"), (address,))?;
            if secure {
                let host = host_of(address);
                let tls = inner.said(|said| said.client(py, host.as_deref()))?;
                let begun = py.detach(|| socket.start_tls(&tls));
                begun.map_err(|error| raised(py, &error))?;
                inner.secure.set(true);
            }
            return if quiet { Ok(py.None()) } else { asynchronous::number(py, 0) };
        }
        if !call::is_inside() {
            return call::outside("connect");
        }
        if secure && !inner.secure.get() {
            let tls = inner.said(|said| said.client(py, None))?;
            own.cover(py, (&tls).into())?;
        }
        let socket = own.asynchronous(py)?;
        inner.bound.set(engine::is_here());
        if own.is_foreign(py)? {
            let began = own.regular(py)?.call_method1(py, "connect_ex", (address,))?;
            let code: i32 = began.extract(py)?;
            if ![0, IN_PROGRESS].contains(&code) {
                return Err(raised(py, &std::io::Error::from_raw_os_error(code)));
            }
            return PySocket::start(slf, "connect", asynchronous::connected(socket));
        }
        let to: Target = address::read(address)?;
        let connecting = asynchronous::connect(socket, to);
        match quiet {
            true => PySocket::start(slf, "create_connection", asynchronous::quietly(connecting)),
            false => PySocket::start(slf, "connect", connecting),
        }
    }

    /// Returns whether the crate has no addresses of its family.
    pub(super) fn is_foreign(&self, py: Python<'_>) -> PyResult<bool> {
        use asyncoro::socket2::Domain;
        let domain = match &*self.inner(py).face.borrow() {
            Face::Asynchronous(socket) => socket.options().domain(),
            Face::Blocking(socket) => socket.options().domain(),
            Face::Closed => return Ok(false),
        };
        let domain = domain.map_err(|error| raised(py, &error))?;
        Ok(![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain))
    }
}

/// Returns the host of an address, to be verified.
fn host_of(address: &Bound<'_, PyAny>) -> Option<String> {
    address.get_item(0).ok()?.extract().ok()
}

/// Returns how many bytes to receive into a buffer; 0 asks for all of it.
fn room(into: &View, max: usize) -> PyResult<usize> {
    if max > into.len() {
        return Err(PyValueError::new_err("buffer too small for requested bytes"));
    }
    Ok(if max == 0 { into.len() } else { max })
}
