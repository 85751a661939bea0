//! The Python object of a socket: the crate's socket and what is known of it.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use asyncoro::{AsyncSocket, BlockingSocket, socket2::Domain};
use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::{
    settings::{Settings, duration},
    tls::TlsOptions,
};
use crate::{
    engine::{self, Home},
    error::{closed, raised},
    gil::{Gil, py},
    guest::Guest,
};

/// The crate's socket, by mode.
pub(super) enum Face {
    Asynchronous(AsyncSocket),
    Blocking(BlockingSocket),
    Closed,
}

pub(super) struct Inner {
    pub(super) face: RefCell<Face>,
    /// The regular socket, if there is one yet.
    pub(super) regular: Cell<Option<Py<PyAny>>>,
    /// The settings, unless they are the usual ones.
    pub(super) settings: Cell<Option<Box<Settings>>>,
    /// The options for TLS, if any were given.
    pub(super) tls: Cell<Option<Rc<TlsOptions>>>,
    /// Whether TLS was begun.
    pub(super) secure: Cell<bool>,
    /// Whether the last `recv` got much.
    pub(super) bulky: Cell<bool>,
    /// The scheduler that the asynchronous face belongs to.
    pub(super) bound: Cell<Home>,
    pub(super) is_stream: bool,
    /// How many files of it there are (`makefile`), and whether it is closed with the last one.
    pub(super) files: Cell<u32>,
    pub(super) closes_with_files: Cell<bool>,
    /// The number of its family, once it was asked for; 0 before that.
    pub(super) family: Cell<i32>,
    /// Whether it has addresses that the crate does not know, of netlink say, and is no stream.
    pub(super) is_foreign: Cell<bool>,
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
    pub(super) fn new(
        face: Face,
        regular: Option<Py<PyAny>>,
        is_stream: bool,
        settings: Settings,
    ) -> Inner {
        let inner = Inner {
            face: RefCell::new(face),
            regular: Cell::new(regular),
            settings: Cell::new(None),
            tls: Cell::new(None),
            secure: Cell::new(false),
            bulky: Cell::new(false),
            bound: Cell::new(Home::NONE),
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
    pub(super) fn known_regular(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let regular = self.regular.take()?;
        let again = regular.clone_ref(py);
        self.regular.set(Some(regular));
        Some(again)
    }

    /// Returns whether its options ask for TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.tls_options().is_some_and(|tls| tls.is_secure())
    }

    pub(super) fn tls_options(&self) -> Option<Rc<TlsOptions>> {
        let tls = self.tls.take();
        self.tls.set(tls.clone());
        tls
    }

    /// Calls `f` with the options for TLS.
    pub(super) fn with_tls_options<R>(
        &self,
        f: impl FnOnce(&TlsOptions) -> PyResult<R>,
    ) -> PyResult<R> {
        f(&self.tls_options().unwrap_or_default())
    }

    pub(super) fn settings(&self) -> Settings {
        let kept = self.settings.take();
        let settings = kept.as_deref().copied();
        self.settings.set(kept);
        settings.unwrap_or(Settings::usual(self.is_blocking()))
    }

    /// Sets them, with an effect from the next verb on.
    pub(super) fn set(&self, settings: Settings) {
        let is_usual = settings == Settings::usual(self.is_blocking());
        self.settings.set((!is_usual).then(|| Box::new(settings)));
        let (timeout, limit) = (duration(settings.timeout), settings.message_limit);
        match &*self.face.borrow() {
            Face::Asynchronous(socket) => {
                socket.set_timeout(timeout);
                socket.set_message_limit(limit);
            }
            Face::Blocking(socket) => {
                socket.set_timeout(timeout);
                socket.set_message_limit(limit);
            }
            Face::Closed => {}
        }
    }

    /// Stores all of them before the face is gone, which tells the usual ones.
    pub(super) fn keep_all(&self) {
        self.settings.set(Some(Box::new(self.settings())));
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.face.borrow(), Face::Closed)
    }

    pub(super) fn is_blocking(&self) -> bool {
        matches!(*self.face.borrow(), Face::Blocking(_))
    }
}

impl PySocket {
    pub(super) fn inner<'py>(&'py self, py: Python<'py>) -> &'py Inner {
        self.inner.get(py)
    }

    /// Makes the socket of an accepted connection.
    pub(super) fn accepted(
        py: Python<'_>,
        face: Face,
        listener: &Inner,
        secure: bool,
    ) -> PyResult<Py<PySocket>> {
        let message_limit = listener.settings().message_limit;
        let is_blocking = matches!(face, Face::Blocking(_));
        let settings = Settings { message_limit, ..Settings::of_new(py, is_blocking) };
        let inner = Inner::new(face, None, listener.is_stream, settings);
        if !inner.is_blocking() {
            inner.bound.set(engine::here());
        }
        inner.secure.set(secure);
        PySocket::make(py, inner)
    }

    /// Makes the object of the class that has the verbs of its type.
    pub(super) fn make(py: Python<'_>, inner: Inner) -> PyResult<Py<PySocket>> {
        let is_stream = inner.is_stream;
        let base = PyClassInitializer::from(PySocket { inner: Gil::new(inner) });
        if is_stream {
            return Py::new(py, base);
        }
        Ok(Bound::new(py, base.add_subclass(PyDatagramSocket))?.into_super().unbind())
    }

    /// Returns the asynchronous face if it belongs to this thread's scheduler already.
    #[inline]
    pub(super) fn bound_asynchronous(&self, py: Python<'_>) -> Option<AsyncSocket> {
        let inner = self.inner(py);
        match &*inner.face.borrow() {
            Face::Asynchronous(socket) if inner.bound.get().is_here() => Some(socket.clone()),
            _ => None,
        }
    }

    /// Returns the asynchronous face for a verb.
    pub(crate) fn asynchronous(&self, py: Python<'_>) -> PyResult<AsyncSocket> {
        let inner = self.inner(py);
        match &*inner.face.borrow() {
            Face::Asynchronous(socket) => {
                let bound = inner.bound.get();
                if !bound.is_here() {
                    if bound.exists(py) {
                        return Err(elsewhere());
                    }
                    inner.bound.set(engine::here());
                }
                Ok(socket.clone())
            }
            Face::Blocking(_) => Err(PyRuntimeError::new_err("the socket is a blocking one")),
            Face::Closed => Err(closed()),
        }
    }

    /// Returns the blocking face for a verb, whose waits in this thread signals can end.
    pub(super) fn blocking(&self, py: Python<'_>) -> PyResult<BlockingSocket> {
        match &*self.inner(py).face.borrow() {
            Face::Blocking(socket) => {
                heed_signals();
                Ok(socket.clone())
            }
            Face::Asynchronous(_) => Err(PyRuntimeError::new_err("the socket is asynchronous")),
            Face::Closed => Err(closed()),
        }
    }

    /// Returns whether it is a socket for threads.
    pub(crate) fn is_blocking(&self, py: Python<'_>) -> bool {
        self.inner(py).is_blocking()
    }

    /// Makes one attempt to flush the queue.
    pub(super) fn flush_once(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner(py);
        let queued = match &*inner.face.borrow() {
            Face::Closed => return Err(closed()),
            Face::Asynchronous(socket) if inner.bound.get().is_here() => Some(socket.clone()),
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
    pub(super) fn is_listening(&self, py: Python<'_>) -> bool {
        let listens = match &*self.inner(py).face.borrow() {
            Face::Asynchronous(socket) => socket.options().is_listener(),
            Face::Blocking(socket) => socket.options().is_listener(),
            Face::Closed => return false,
        };
        listens.unwrap_or(false)
    }

    pub(super) fn number(&self, py: Python<'_>) -> RawFd {
        match &*self.inner(py).face.borrow() {
            Face::Asynchronous(socket) => socket.as_fd().as_raw_fd(),
            Face::Blocking(socket) => socket.as_fd().as_raw_fd(),
            Face::Closed => -1,
        }
    }

    /// Checks that this is the scheduler's thread, which its sockets belong to.
    pub(super) fn check_here(&self, py: Python<'_>) -> PyResult<()> {
        let bound = self.inner(py).bound.get();
        if bound.is_here() || !bound.exists(py) {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "the file of a socket for coroutines is for coroutines: use \
             AsyncSocket(sock, blocking=True) in a thread",
        ))
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

/// Lets signals end the waits of this thread: Python's handlers run, and what one raises ends the
/// verb.
fn heed_signals() {
    thread_local! {
        static HEEDS: Cell<bool> = const { Cell::new(false) };
    }
    if !HEEDS.replace(true) {
        BlockingSocket::on_interrupt(|| {
            // Nobody gets the GIL of an interpreter that is ending.
            let heeded = Python::try_attach(|py| py.check_signals());
            heeded.unwrap_or(Ok(())).map_err(io::Error::other)
        });
    }
}

/// Returns the error of a verb of a socket that another thread's scheduler has.
#[cold]
fn elsewhere() -> PyErr {
    PyRuntimeError::new_err(
        "this socket belongs to the coroutines of another thread, or of another event loop, which \
         have used it: each uses sockets of its own",
    )
}

/// Polls a future once.
#[inline(always)]
pub(super) fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    poll_pinned(std::pin::pin!(future))
}

/// Polls a future once.
#[inline(always)]
pub(super) fn poll_pinned<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    Guest::entered(py(), || future.poll(&mut Context::from_waker(Waker::noop())))
}

#[pymethods]
impl PySocket {
    /// Returns whether bytes were received that nobody has taken. `select` does not see them.
    #[pyo3(name = "has_received")]
    fn asks_has_received(&self, py: Python<'_>) -> bool {
        self.has_received(py)
    }

    /// Returns the descriptor's number, after one attempt to flush the queue; -1 once it is closed.
    fn fileno(&self, py: Python<'_>) -> RawFd {
        // The next verb reports its failure.
        let _ = self.flush_once(py);
        self.number(py)
    }

    /// The descriptor's number, as old programs log it; nothing is flushed.
    #[getter]
    fn _fileno(&self, py: Python<'_>) -> RawFd {
        self.number(py)
    }

    /// Returns whether TLS is spoken, or will be.
    fn _asks_for_tls(&self, py: Python<'_>) -> bool {
        self.speaks_tls(py)
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
