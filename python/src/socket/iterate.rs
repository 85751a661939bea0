//! Iteration over what comes in: `async for line in sock.lines()` in a coroutine, `for` in a
//! thread.
//!
//! An iterator only says what to receive next. What has come is kept by the socket, so one that is
//! dropped, or whose next value is no longer waited for, loses nothing.

use asyncoro::{AsyncSocket, BlockingSocket};
use pyo3::{
    exceptions::{PyStopAsyncIteration, PyTypeError},
    prelude::*,
};

use super::{
    calls::Called,
    convert::{bytes, size, wait},
    object::{Face, PySocket},
};
use crate::{
    call::Outcome,
    error::{closed, raised},
    fresh,
    gil::py,
};

#[derive(Clone, Copy)]
enum Pieces {
    Messages,
    Lines { max: usize },
}

impl Pieces {
    /// Returns the method that goes through them.
    fn name(self) -> &'static str {
        match self {
            Pieces::Messages => "AsyncSocket.messages",
            Pieces::Lines { .. } => "AsyncSocket.lines",
        }
    }

    /// Receives the next one.
    async fn recv(self, socket: AsyncSocket) -> Outcome {
        let got = match self {
            Pieces::Messages => socket.recv_msg().await,
            Pieces::Lines { max } => socket.recv_line(max).await,
        };
        match (got, self) {
            (Ok(Some(message)), Pieces::Messages) => fresh::bytearray(py(), message),
            (Ok(Some(line)), Pieces::Lines { .. }) => bytes(py(), &line),
            (Ok(None), _) => Err(PyStopAsyncIteration::new_err(())),
            (Err(error), _) => Err(raised(py(), &error)),
        }
    }

    /// Receives the next one, in a thread; `None` is the end of the stream.
    fn recv_waiting(self, py: Python<'_>, socket: &BlockingSocket) -> Option<Outcome> {
        let got = wait(py, || match self {
            Pieces::Messages => socket.recv_msg(),
            Pieces::Lines { max } => socket.recv_line(max),
        });
        match (got.transpose()?, self) {
            (Ok(message), Pieces::Messages) => Some(fresh::bytearray_detached(py, message)),
            (Ok(line), Pieces::Lines { .. }) => Some(bytes(py, &line)),
            (Err(error), _) => Some(Err(error)),
        }
    }
}

/// The messages or the lines of a socket, up to the end of the stream.
#[pyclass(frozen, name = "Incoming", module = "asyncoro")]
pub(crate) struct PyIncoming {
    socket: Py<PySocket>,
    pieces: Pieces,
}

#[pymethods]
impl PySocket {
    /// Goes through the messages of `send_msg` up to the end of the stream: `async for` in a
    /// coroutine, `for` in a thread.
    fn messages(slf: Py<Self>) -> PyIncoming {
        PyIncoming { socket: slf, pieces: Pieces::Messages }
    }

    /// Goes through lines of at most `max` bytes, as `recv_line` receives them, up to the end of
    /// the stream: `async for` in a coroutine, `for` in a thread.
    #[pyo3(signature = (max = 65536))]
    fn lines(slf: Py<Self>, max: isize) -> PyResult<PyIncoming> {
        Ok(PyIncoming { socket: slf, pieces: Pieces::Lines { max: size(max, "lines")? } })
    }
}

#[pymethods]
impl PyIncoming {
    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Receives the next one; StopAsyncIteration at the end of the stream. A generator may yield
    /// it.
    fn __anext__(&self, py: Python<'_>) -> Called {
        let pieces = self.pieces;
        // A value that is no call would be lost.
        if self.socket.get().inner(py).is_blocking() {
            return Err(PyTypeError::new_err(OF_THREADS));
        }
        PySocket::start(self.socket.bind(py), pieces.name(), move |socket| pieces.recv(socket))
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Receives the next one, in a thread; `None` ends the iteration.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let own = self.socket.get();
        match &*own.inner(py).face.borrow() {
            Face::Blocking(_) => {}
            Face::Asynchronous(_) => return Err(PyTypeError::new_err(OF_COROUTINES)),
            Face::Closed => return Err(closed()),
        }
        self.pieces.recv_waiting(py, &own.blocking(py)?).transpose()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let socket = self.socket.bind(py).repr()?;
        Ok(format!("<{}() of {socket}>", self.pieces.name()))
    }
}

/// The errors of the other kind of `for` than the socket's mode has.
const OF_THREADS: &str =
    "the socket is a blocking one: `for`, without `async`, goes through what it receives";
const OF_COROUTINES: &str = "the socket is one for coroutines: `async for` goes through what it \
                             receives, and a generator yields recv_msg() or recv_line() again and \
                             again";
