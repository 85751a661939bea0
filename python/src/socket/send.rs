//! The verbs that send: in coroutines calls to be yielded or awaited, in threads calls that wait.

use std::{io, net::Shutdown};

use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyTuple},
};

use super::{
    PySocket,
    asynchronous::{self, Direction},
    blocking, flags,
    verbs::Called,
};
use crate::{
    address, call,
    error::raised,
    exiting,
    view::{Data, View},
};

/// EINVAL, as Linux has it.
const EINVAL: i32 = 22;

#[pymethods]
impl PySocket {
    /// Sends some of `data`; gives how many bytes.
    #[pyo3(signature = (data, flags = 0), text_signature = "($self, data, flags=0, /)")]
    fn send(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let data_given = data;
        let data = View::of(data)?;
        if !flags::is_plain(flags) {
            let arguments = (data_given, flags).into_pyobject(py)?;
            return PySocket::send_with(slf, "AsyncSocket.send", data, flags, arguments);
        }
        if own.inner(py).is_blocking() {
            return blocking::send(py, &own.blocking(py)?, &data);
        }
        PySocket::start(slf, "AsyncSocket.send", move |socket| asynchronous::send(socket, data))
    }

    /// Sends all of `data`; less than 16 KiB are sent at the end of the scheduler's turn, with what
    /// else is queued. After a timeout a coroutine gets how many were sent, if any.
    #[pyo3(signature = (data, flags = 0), text_signature = "($self, data, flags=0, /)")]
    pub(super) fn sendall(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if !flags::is_plain(flags) {
            return PySocket::pass_all(slf, View::of(data)?, flags);
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
    #[pyo3(signature = (data, *rest), text_signature = "($self, data, /, *rest)")]
    fn sendto(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, rest: &Bound<'_, PyTuple>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let flags = if rest.len() == 2 { rest.get_item(0)?.extract()? } else { 0 };
        let to = match rest.len() {
            1 => Some(rest.get_item(0)?),
            2 if flags == 0 => Some(rest.get_item(1)?),
            _ => None,
        };
        let is_ours = !own.inner(py).is_foreign.get() && !own.is_stream(py);
        let Some(to) = to.filter(|_| is_ours) else {
            let arguments = [data.clone()].into_iter().chain(rest.iter());
            let arguments = PyTuple::new(py, arguments.collect::<Vec<_>>())?;
            return Self::pass(slf, "AsyncSocket.sendto", Direction::Send, flags, arguments);
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

    /// Sends bytes from several buffers, with ancillary data; gives how many bytes. With TLS there
    /// can be no ancillary data.
    #[pyo3(signature = (buffers, ancdata = None, flags = 0, address = None),
        text_signature = "($self, buffers, ancdata=(), flags=0, address=None, /)")]
    fn sendmsg(
        slf: &Bound<'_, Self>,
        buffers: &Bound<'_, PyAny>,
        ancdata: Option<&Bound<'_, PyAny>>,
        flags: i32,
        address: Option<&Bound<'_, PyAny>>,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        let buffers: Vec<_> = buffers.try_iter()?.collect::<PyResult<_>>()?;
        let ancdata: Vec<_> = match ancdata {
            Some(ancdata) => ancdata.try_iter()?.collect::<PyResult<_>>()?,
            None => Vec::new(),
        };
        let address = address.filter(|address| !address.is_none());
        let is_plain = ancdata.is_empty() && address.is_none();
        if own.is_stream(py) && is_plain {
            let joined = PyBytes::new(py, b"").call_method1("join", (&buffers,))?;
            return PySocket::send(slf, &joined, flags);
        }
        let arguments = match address {
            Some(address) => (buffers, ancdata, flags, address).into_pyobject(py)?,
            None => (buffers, ancdata, flags).into_pyobject(py)?.into_any().cast_into()?,
        };
        PySocket::pass(slf, "AsyncSocket.sendmsg", Direction::Send, flags, arguments)
    }

    /// Waits until all that was queued is in the kernel.
    fn flush(slf: &Bound<'_, Self>) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            return blocking::flush(py, &own.blocking(py)?);
        }
        PySocket::start(slf, "AsyncSocket.flush", asynchronous::flush)
    }

    /// Ends a direction of a connection (SHUT_RD, SHUT_WR) or both. What is queued is sent first:
    /// what cannot be sent at once is sent in the background, and the end follows it. A later verb
    /// raises the error if that fails. In a thread it waits.
    fn shutdown(&self, py: Python<'_>, how: i32) -> PyResult<()> {
        let ends = match how {
            0 => Shutdown::Read,
            1 => Shutdown::Write,
            2 => Shutdown::Both,
            _ => return Err(raised(py, &io::Error::from_raw_os_error(EINVAL))),
        };
        if self.inner(py).is_blocking() {
            let socket = self.blocking(py)?;
            let ended = exiting::detach(py, || socket.shutdown(ends));
            return ended.map_err(|error| raised(py, &error));
        }
        if !self.is_stream(py) || !self.inner(py).bound.get() {
            return self.regular(py)?.call_method1(py, "shutdown", (how,)).map(drop);
        }
        let socket = self.asynchronous(py)?;
        asynchronous::shutdown(py, socket, ends)
    }
}

impl PySocket {
    /// Sends with flags.
    fn send_with<'py>(
        slf: &Bound<'py, Self>,
        name: &'static str,
        data: View,
        flags: i32,
        arguments: Bound<'py, PyTuple>,
    ) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if !own.is_stream(py) {
            return PySocket::pass(slf, name, Direction::Send, flags, arguments);
        }
        if flags::is_at_once(flags) {
            if own.inner(py).is_blocking() {
                return blocking::send_at_once(py, &own.blocking(py)?, &data);
            }
            return PySocket::start(slf, name, move |socket| {
                asynchronous::send_at_once(socket, data)
            });
        }
        PySocket::pass(slf, name, Direction::Send, flags, arguments)
    }

    /// Sends all of `data` by the regular socket, behind what is queued.
    fn pass_all(slf: &Bound<'_, Self>, data: View, flags: i32) -> Called {
        let (py, own) = (slf.py(), slf.get());
        if own.inner(py).is_blocking() {
            let data = PyBytes::new(py, data.bytes());
            let regular = own.regular_for(py, Direction::Send, flags)?;
            return regular.call_method1(py, "sendall", (data, flags));
        }
        PySocket::call(slf, "AsyncSocket.sendall", move |own, socket, starting| {
            let own = own.clone_ref(call::py());
            starting.poll(asynchronous::pass_all(socket, own, data, flags))
        })
    }
}
