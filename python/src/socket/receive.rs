//! The verbs that receive: in coroutines calls to be yielded or awaited, in threads calls that
//! wait.

use pyo3::{
    IntoPyObjectExt,
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyList, PyTuple},
};

use super::{
    PySocket,
    asynchronous::{self, Direction, Passed, bytes, number},
    blocking,
    flags::{self, Receiving},
    verbs::{Called, verb_of},
};
use crate::{
    call::{self, Outcome},
    view::View,
};

/// Checks a number of bytes to receive.
fn size(count: isize, verb: &str) -> PyResult<usize> {
    usize::try_from(count)
        .map_err(|_| PyValueError::new_err(format!("negative buffersize in {verb}")))
}

#[pymethods]
impl PySocket {
    /// Receives at most `count` bytes, once there are any; b'' at the end of the stream.
    #[pyo3(signature = (bufsize, flags = 0), text_signature = "($self, bufsize, flags=0, /)")]
    pub(super) fn recv(slf: &Bound<'_, Self>, bufsize: isize, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let max = size(bufsize, "recv")?;
        if flags != 0 {
            let arguments = (bufsize, flags).into_pyobject(py)?;
            return PySocket::receive(slf, "AsyncSocket.recv", max, flags, false, arguments, bytes);
        }
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            return match max {
                0 => bytes(py, b""),
                _ => blocking::recv(py, &socket, max),
            };
        }
        PySocket::call(slf, "AsyncSocket.recv", move |own, socket, starting| {
            let (py, own) = (call::py(), own.clone_ref(call::py()));
            if max == 0 {
                return starting.done(bytes(py, b""));
            }
            match max >= asynchronous::BULKY && own.get().inner(py).bulky.get() {
                true => starting.poll(asynchronous::recv_bulk(socket, own, max)),
                false => starting.poll(asynchronous::recv(socket, own, max)),
            }
        })
    }

    /// Receives into `buffer`, at most `nbytes` (0: as many as it holds); gives how many.
    #[pyo3(signature = (buffer, nbytes = 0, flags = 0))]
    fn recv_into(
        slf: &Bound<'_, Self>,
        buffer: &Bound<'_, PyAny>,
        nbytes: isize,
        flags: i32,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let into = View::writable(buffer)?;
        let max = room(&into, size(nbytes, "recv_into")?)?;
        if flags != 0 {
            let arguments = (buffer, max, flags).into_pyobject(py)?;
            let fill = move |py: Python<'_>, got: &[u8]| number(py, into.fill(got));
            let name = "AsyncSocket.recv_into";
            return PySocket::receive(slf, name, max, flags, false, arguments, fill);
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
    #[pyo3(signature = (bufsize, flags = 0))]
    pub(super) fn recvall(slf: &Bound<'_, Self>, bufsize: isize, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let count = size(bufsize, "recvall")?;
        flags::refuse_in_recvall(flags)?;
        if own.inner(py).is_blocking() {
            let socket = own.blocking(py)?;
            return match count {
                0 => bytes(py, b""),
                _ => blocking::recvall(py, &socket, count),
            };
        }
        PySocket::call(slf, "AsyncSocket.recvall", move |_, socket, starting| {
            let py = call::py();
            if count == 0 {
                return starting.done(bytes(py, b""));
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

    /// Receives a datagram of at most `bufsize` bytes, and its sender.
    #[pyo3(signature = (bufsize, flags = 0), text_signature = "($self, bufsize, flags=0, /)")]
    fn recvfrom(slf: &Bound<'_, Self>, bufsize: isize, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let max = size(bufsize, "recvfrom")?;
        let arguments = (bufsize, flags).into_pyobject(py)?;
        if own.is_stream(py) {
            let from_nobody = |py: Python<'_>, got: &[u8]| pair(py, PyBytes::new(py, got));
            let name = "AsyncSocket.recvfrom";
            return PySocket::receive(slf, name, max, flags, false, arguments, from_nobody);
        }
        if own.inner(py).is_foreign.get() || flags != 0 {
            return Self::pass(slf, "AsyncSocket.recvfrom", Direction::Receive, flags, arguments);
        }
        if own.inner(py).is_blocking() {
            return blocking::recvfrom(py, &own.blocking(py)?, max);
        }
        PySocket::start(slf, "AsyncSocket.recvfrom", move |socket| {
            asynchronous::recvfrom(socket, max)
        })
    }

    /// Receives a datagram into `buffer`; gives how many bytes came, and its sender.
    #[pyo3(signature = (buffer, nbytes = 0, flags = 0))]
    fn recvfrom_into(
        slf: &Bound<'_, Self>,
        buffer: &Bound<'_, PyAny>,
        nbytes: isize,
        flags: i32,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let into = View::writable(buffer)?;
        let max = room(&into, size(nbytes, "recvfrom_into")?)?;
        let arguments = (buffer, max, flags).into_pyobject(py)?;
        if own.is_stream(py) {
            let fill = move |py: Python<'_>, got: &[u8]| pair(py, into.fill(got));
            let name = "AsyncSocket.recvfrom_into";
            return PySocket::receive(slf, name, max, flags, false, arguments, fill);
        }
        if own.inner(py).is_foreign.get() || flags != 0 {
            return Self::pass(
                slf,
                "AsyncSocket.recvfrom_into",
                Direction::Receive,
                flags,
                arguments,
            );
        }
        if own.inner(py).is_blocking() {
            return blocking::recvfrom_into(py, &own.blocking(py)?, &into, max);
        }
        PySocket::start(slf, "AsyncSocket.recvfrom_into", move |socket| {
            asynchronous::recvfrom_into(socket, into, max)
        })
    }

    /// Receives bytes and ancillary data: gives (data, ancillary data, flags, address). With TLS,
    /// and of bytes that were read ahead, there is no ancillary data.
    #[pyo3(signature = (bufsize, ancbufsize = 0, flags = 0),
        text_signature = "($self, bufsize, ancbufsize=0, flags=0, /)")]
    fn recvmsg(slf: &Bound<'_, Self>, bufsize: isize, ancbufsize: isize, flags: i32) -> Called {
        let max = size(bufsize, "recvmsg")?;
        let arguments = (bufsize, ancbufsize, flags).into_pyobject(slf.py())?;
        let plain = |py: Python<'_>, got: &[u8]| message(py, PyBytes::new(py, got));
        PySocket::receive(slf, "AsyncSocket.recvmsg", max, flags, true, arguments, plain)
    }

    /// Receives as `recvmsg` does, into several buffers; gives the number of bytes in place of
    /// them.
    #[pyo3(signature = (buffers, ancbufsize = 0, flags = 0),
        text_signature = "($self, buffers, ancbufsize=0, flags=0, /)")]
    fn recvmsg_into(
        slf: &Bound<'_, Self>,
        buffers: &Bound<'_, PyAny>,
        ancbufsize: isize,
        flags: i32,
    ) -> Called {
        let buffers: Vec<_> = buffers.try_iter()?.collect::<PyResult<_>>()?;
        let views: Vec<_> = buffers.iter().map(View::writable).collect::<PyResult<_>>()?;
        let max = views.iter().map(View::len).sum();
        let arguments = (buffers, ancbufsize, flags).into_pyobject(slf.py())?;
        let fill = move |py: Python<'_>, got: &[u8]| {
            let mut filled = 0;
            for view in &views {
                filled += view.fill(&got[filled..]);
            }
            message(py, filled)
        };
        PySocket::receive(slf, "AsyncSocket.recvmsg_into", max, flags, true, arguments, fill)
    }
}

impl PySocket {
    /// Receives from a stream with flags, and converts what has come. `arguments` are those of the
    /// regular socket's method, which is called for what only the system knows: some flags, and
    /// `ancillary` data where there may be any.
    #[allow(clippy::too_many_arguments, reason = "those of a method, and what it gives")]
    fn receive<'py, C>(
        slf: &Bound<'py, Self>,
        name: &'static str,
        max: usize,
        flags: i32,
        ancillary: bool,
        arguments: Bound<'py, PyTuple>,
        convert: C,
    ) -> Called
    where
        C: FnOnce(Python<'_>, &[u8]) -> Outcome + 'static,
    {
        let (py, own) = (slf.py(), slf.get());
        let direction = Direction::Receive;
        if !own.is_stream(py) {
            return PySocket::pass(slf, name, direction, flags, arguments);
        }
        if own.inner(py).is_blocking() {
            let Some(how) = own.receives_how(py, flags, ancillary) else {
                return PySocket::pass(slf, name, direction, flags, arguments);
            };
            let got = blocking::receive(py, &own.blocking(py)?, max, how)?;
            return convert(py, &got);
        }
        let passed =
            Passed { verb: verb_of(name), arguments: arguments.unbind(), direction, flags };
        PySocket::call(slf, name, move |own, socket, starting| {
            let py = call::py();
            match own.get().receives_how(py, flags, ancillary) {
                Some(how) => starting.poll(asynchronous::receive(socket, max, how, convert)),
                None => starting.poll(asynchronous::passed(socket, own.clone_ref(py), passed)),
            }
        })
    }

    /// Returns how to receive with these flags; `None` if the system is to do it.
    fn receives_how(&self, py: Python<'_>, flags: i32, ancillary: bool) -> Option<Receiving> {
        let how = Receiving::of(flags)?;
        // A thread's look at what has come is the system's, too.
        let looks = how == Receiving::PeekAtOnce && self.inner(py).is_blocking();
        let is_systems = (ancillary || looks) && !self.has_received(py) && !self.speaks_tls(py);
        (!is_systems).then_some(how)
    }
}

/// Makes the result of a stream, which knows no sender.
fn pair<'py, T>(py: Python<'py>, got: T) -> Outcome
where
    T: IntoPyObjectExt<'py>,
{
    Ok((got.into_py_any(py)?, py.None()).into_pyobject(py)?.into_any().unbind())
}

/// Makes the result of `recvmsg` without ancillary data.
fn message<'py, T>(py: Python<'py>, got: T) -> Outcome
where
    T: IntoPyObjectExt<'py>,
{
    let parts = (got.into_py_any(py)?, PyList::empty(py), 0, py.None());
    Ok(parts.into_pyobject(py)?.into_any().unbind())
}

/// Returns how many bytes to receive into a buffer; 0 asks for all of it.
fn room(into: &View, max: usize) -> PyResult<usize> {
    if max > into.len() {
        return Err(PyValueError::new_err("buffer too small for requested bytes"));
    }
    Ok(if max == 0 { into.len() } else { max })
}
