//! Defines `AsyncSocket`: a socket of the crate over a regular one of Python's.
//!
//! The regular socket owns the descriptor, and gets every call that is not defined here. A
//! connection that was accepted has none until one is asked for. The asynchronous face belongs to
//! the scheduler's thread once a verb has been called there; other threads that close it, or drop
//! it, leave that to the scheduler.
//!
//! - this file: making one; `regular.rs`: the regular socket under it;
//! - `mode.rs`: from one mode to the other; `settings.rs`: timeout and message limit;
//! - `end.rs`: closing, dropping, giving the regular socket back;
//! - `shared.rs`: others over the same regular socket;
//! - `receive.rs`, `send.rs`, `verbs.rs` (connections): the calls that are yielded or awaited, or
//!   wait in a thread; `flags.rs`: which flags are obeyed by whom;
//! - `asynchronous.rs` and `blocking.rs`: what they do in either mode;
//! - `quick.rs`: quick entries of them;
//! - `tls.rs`: the options for TLS.

mod asynchronous;
mod blocking;
mod end;
mod flags;
mod mode;
mod quick;
mod receive;
mod regular;
mod send;
mod settings;
mod shared;
mod tls;
mod verbs;

use std::{
    cell::{Cell, RefCell},
    future::Future,
    os::fd::{AsFd, AsRawFd, RawFd},
    path::PathBuf,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use asyncoro::{AsyncSocket, BlockingSocket};
use pyo3::{
    exceptions::{PyRuntimeError, PyTypeError},
    prelude::*,
    types::{PyDict, PyInt, PyString, PyType},
};

pub(crate) use self::{
    quick::make_fast,
    shared::{close_over, release_over},
};
use self::{settings::Settings, tls::Said};
use crate::{address, call, engine, error::raised, gil::Gil, view::View};

/// The crate's socket, by mode.
enum Face {
    Asynchronous(AsyncSocket),
    Blocking(BlockingSocket),
    Closed,
}

pub(crate) struct Inner {
    face: RefCell<Face>,
    /// The regular socket, if there is one yet.
    regular: Cell<Option<Py<PyAny>>>,
    /// The settings, unless they are the usual ones.
    settings: Cell<Option<Box<Settings>>>,
    /// The options for TLS, if any were given.
    said: Cell<Option<Rc<Said>>>,
    /// Whether TLS was begun.
    secure: Cell<bool>,
    /// Whether the last `recv` got much.
    bulky: Cell<bool>,
    /// Whether the asynchronous face belongs to the scheduler's thread.
    bound: Cell<bool>,
    is_stream: bool,
    /// How many files of it there are (`makefile`), and whether it is closed with the last one.
    files: Cell<u32>,
    closes_with_files: Cell<bool>,
    /// The number of its family, once it was asked for; 0 before that.
    family: Cell<i32>,
    /// Whether it has addresses that the crate does not know, of netlink say, and is no stream.
    is_foreign: Cell<bool>,
}

/// A socket for coroutines, with the methods of a regular one; `yield` or `await` what would block.
/// With `blocking=True`, one for threads.
///
/// >>> sock = AsyncSocket(socket.socket())
/// >>> await sock.connect(('localhost', 8010))
/// >>> await sock.send_msg(b'hello')
/// >>> reply = await sock.recv_msg()
#[pyclass(frozen, weakref, subclass, name = "AsyncSocket", module = "asyncoro")]
pub(crate) struct PySocket {
    inner: Gil<Inner>,
}

/// A socket of any type but SOCK_STREAM, without the verbs of streams.
#[pyclass(frozen, extends = PySocket, name = "DatagramSocket", module = "asyncoro")]
pub(crate) struct PyDatagramSocket;

impl Inner {
    fn new(face: Face, regular: Option<Py<PyAny>>, is_stream: bool, settings: Settings) -> Inner {
        let inner = Inner {
            face: RefCell::new(face),
            regular: Cell::new(regular),
            settings: Cell::new(None),
            said: Cell::new(None),
            secure: Cell::new(false),
            bulky: Cell::new(false),
            bound: Cell::new(false),
            is_stream,
            files: Cell::new(0),
            closes_with_files: Cell::new(false),
            family: Cell::new(0),
            is_foreign: Cell::new(false),
        };
        inner.set(settings);
        inner
    }

    /// Returns the regular socket, if there is one yet.
    fn known_regular(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let regular = self.regular.take()?;
        let again = regular.clone_ref(py);
        self.regular.set(Some(regular));
        Some(again)
    }

    /// Returns whether its options ask for TLS.
    fn is_secure(&self) -> bool {
        self.has_said().is_some_and(|said| said.is_secure())
    }

    fn has_said(&self) -> Option<Rc<Said>> {
        let said = self.said.take();
        self.said.set(said.clone());
        said
    }

    /// Calls `f` with the options for TLS.
    fn said<R>(&self, f: impl FnOnce(&Said) -> PyResult<R>) -> PyResult<R> {
        f(&self.has_said().unwrap_or_default())
    }

    fn is_closed(&self) -> bool {
        matches!(*self.face.borrow(), Face::Closed)
    }

    fn is_blocking(&self) -> bool {
        matches!(*self.face.borrow(), Face::Blocking(_))
    }
}

impl PySocket {
    fn inner<'py>(&'py self, py: Python<'py>) -> &'py Inner {
        self.inner.get(py)
    }

    /// Makes the socket of an accepted connection.
    fn accepted(
        py: Python<'_>,
        face: Face,
        listener: &Inner,
        secure: bool,
    ) -> PyResult<Py<PySocket>> {
        let message_limit = listener.settings().message_limit;
        let is_blocking = matches!(face, Face::Blocking(_));
        let settings = Settings { message_limit, ..Settings::of_new(py, is_blocking) };
        let inner = Inner::new(face, None, listener.is_stream, settings);
        inner.bound.set(!inner.is_blocking());
        inner.secure.set(secure);
        PySocket::make(py, inner)
    }

    /// Makes the object of the class that has the verbs of its type.
    fn make(py: Python<'_>, inner: Inner) -> PyResult<Py<PySocket>> {
        let is_stream = inner.is_stream;
        let base = PyClassInitializer::from(PySocket { inner: Gil::new(inner) });
        if is_stream {
            return Py::new(py, base);
        }
        Ok(Bound::new(py, base.add_subclass(PyDatagramSocket))?.into_super().unbind())
    }

    /// Returns the asynchronous face if it belongs to the scheduler's thread already.
    #[inline]
    fn bound_asynchronous(&self, py: Python<'_>) -> Option<AsyncSocket> {
        let inner = self.inner(py);
        match &*inner.face.borrow() {
            Face::Asynchronous(socket) if inner.bound.get() => Some(socket.clone()),
            _ => None,
        }
    }

    /// Returns the asynchronous face for a verb.
    fn asynchronous(&self, py: Python<'_>) -> PyResult<AsyncSocket> {
        let inner = self.inner(py);
        match &*inner.face.borrow() {
            Face::Asynchronous(socket) => {
                if !inner.bound.get() {
                    inner.bound.set(engine::is_here());
                }
                Ok(socket.clone())
            }
            Face::Blocking(_) => Err(PyRuntimeError::new_err("the socket is a blocking one")),
            Face::Closed => Err(crate::error::closed()),
        }
    }

    /// Returns the blocking face for a verb, whose waits in this thread signals can end.
    fn blocking(&self, py: Python<'_>) -> PyResult<BlockingSocket> {
        match &*self.inner(py).face.borrow() {
            Face::Blocking(socket) => {
                blocking::heed_signals();
                Ok(socket.clone())
            }
            Face::Asynchronous(_) => Err(PyRuntimeError::new_err("the socket is asynchronous")),
            Face::Closed => Err(crate::error::closed()),
        }
    }

    /// Returns the regular socket, made if need be, after one attempt to flush the queue.
    fn regular(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.flush_once(py)?;
        let inner = self.inner(py);
        if let Some(regular) = inner.known_regular(py) {
            return Ok(regular);
        }
        let regular = self.make_regular(py)?;
        inner.regular.set(Some(regular.clone_ref(py)));
        Ok(regular)
    }

    /// Makes one attempt to flush the queue.
    fn flush_once(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner(py);
        let queued = match &*inner.face.borrow() {
            Face::Closed => return Err(crate::error::closed()),
            Face::Asynchronous(socket) if engine::is_here() && inner.bound.get() => {
                Some(socket.clone())
            }
            _ => None,
        };
        if let Some(socket) = queued {
            let flushed = poll_once(async move { socket.flush().await });
            if let Poll::Ready(Err(error)) = flushed {
                return Err(raised(py, &error));
            }
        }
        Ok(())
    }

    /// Returns whether it listens.
    fn is_listening(&self, py: Python<'_>) -> bool {
        let listens = match &*self.inner(py).face.borrow() {
            Face::Asynchronous(socket) => socket.options().is_listener(),
            Face::Blocking(socket) => socket.options().is_listener(),
            Face::Closed => return false,
        };
        listens.unwrap_or(false)
    }

    fn number(&self, py: Python<'_>) -> RawFd {
        match &*self.inner(py).face.borrow() {
            Face::Asynchronous(socket) => socket.as_fd().as_raw_fd(),
            Face::Blocking(socket) => socket.as_fd().as_raw_fd(),
            Face::Closed => -1,
        }
    }
}

impl PySocket {
    /// Checks that this is the scheduler's thread, which its sockets belong to.
    fn check_here(&self, py: Python<'_>) -> PyResult<()> {
        if engine::is_here() || !self.inner(py).bound.get() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "the file of a socket for coroutines is for coroutines: use \
             AsyncSocket(sock, blocking=True) in a thread",
        ))
    }
}

/// Polls a future once.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = std::pin::pin!(future);
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

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
        let alpn = alpn.unwrap_or_default();
        let unverified = danger_unverified;
        let server_name = server_name.map(|name| address::encoded(&name)).transpose()?;
        let files = Said { keyfile, certfile, cafile, ..Said::default() };
        let mut said = Said { server_name, alpn, unverified, ..files };
        said.set_version(py, ssl_version)?;
        if let Ok(socket) = sock.cast::<PySocket>() {
            said.check(py, socket.get().is_listening(py))?;
            PySocket::set_mode(socket, blocking)?;
            if said.is_secure() {
                socket.get().inner(py).said.set(Some(Rc::new(said)));
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
        PySocket::convert(py, sock, blocking, said)
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

    /// Returns the descriptor's number, after one attempt to flush the queue; -1 once it is closed.
    fn fileno(&self, py: Python<'_>) -> RawFd {
        // The next verb reports its failure.
        let _ = self.flush_once(py);
        self.number(py)
    }

    /// Returns whether TLS is spoken, or will be.
    fn _asks_for_tls(&self, py: Python<'_>) -> bool {
        self.speaks_tls(py)
    }

    /// Raises an error if somebody else who used the connection would bypass it: bytes that were
    /// read ahead, TLS.
    fn _check_bypass(&self, py: Python<'_>, what: &str) -> PyResult<()> {
        if self.speaks_tls(py) {
            return Err(flags::not_with_tls(what));
        }
        if self.has_received(py) {
            return Err(PyRuntimeError::new_err(format!(
                "bytes were received that nobody has taken, and {what} would not have them: recv() \
                 them first"
            )));
        }
        Ok(())
    }

    /// Receives into `buffer`: waits in a thread; of a socket for coroutines it takes what is
    /// there, or raises BlockingIOError.
    fn _read_into(slf: &Bound<'_, Self>, buffer: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            return slf.call_method1("recv_into", (buffer,)).map(Bound::unbind);
        }
        own.check_here(py)?;
        let into = View::writable(buffer)?;
        asynchronous::read_into(py, &own.asynchronous(py)?, &into)
    }

    /// Sends some of `data`: waits in a thread; of a socket for coroutines it sends what the system
    /// takes, or raises BlockingIOError.
    fn _write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            return slf.call_method1("send", (data,)).map(Bound::unbind);
        }
        own.check_here(py)?;
        asynchronous::write(py, &own.asynchronous(py)?, &View::of(data)?)
    }

    /// Returns the regular socket, which stays in use, after one attempt to flush the queue.
    fn _regular(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.regular(py)
    }

    /// Tells what is wrong with its options for TLS, as those of a server.
    fn _check_server(&self, py: Python<'_>) -> PyResult<()> {
        self.inner(py).said(|said| said.check(py, true))
    }

    fn __hash__(slf: &Bound<'_, Self>) -> usize {
        slf.as_ptr().addr() >> 4
    }

    fn __eq__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> bool {
        slf.is(other)
    }

    fn __lt__(&self, py: Python<'_>, other: &Bound<'_, PySocket>) -> bool {
        self.number(py) < other.get().number(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let inner = self.inner(py);
        let mode = match &*inner.face.borrow() {
            Face::Asynchronous(_) => "asynchronous",
            Face::Blocking(_) => "blocking",
            Face::Closed => "closed",
        };
        format!("<AsyncSocket {mode} fd={}>", self.number(py))
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
    let alpn = alpn.unwrap_or_default();
    let unverified = danger_unverified;
    let server_name = server_name.map(|name| address::encoded(&name)).transpose()?;
    let files = Said { keyfile, certfile, cafile, ..Said::default() };
    let mut said = Said { server_name, alpn, unverified, ..files };
    said.set_version(py, ssl_version)?;
    let to = address::read(address, None)?;
    let tls = if said.is_secure() { Some(said.client(py, None)?) } else { None };
    let connecting = async move {
        let made = match &tls {
            Some(tls) => AsyncSocket::create_tls_connection(to, tls).await,
            None => AsyncSocket::create_connection(to).await,
        };
        let py = call::py();
        let socket = made.map_err(|error| raised(py, &error))?;
        let face = Face::Asynchronous(socket);
        let inner = Inner::new(face, None, true, Settings::of_new(py, false));
        inner.bound.set(true);
        inner.secure.set(tls.is_some());
        Ok(Py::new(py, PySocket { inner: Gil::new(inner) })?.into_any())
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
