//! The verbs that pass descriptors over Unix sockets, with the shapes of `socket.send_fds` and
//! `socket.recv_fds`.
//!
//! The regular socket sends and receives, since only the system knows of flags and senders. The
//! numbers of descriptors that have come are known to nobody else: whatever is not given to the
//! program is closed.

use std::{io, mem};

use asyncoro::{AsyncSocket, error::WrongKind, socket2::Domain};
use pyo3::{
    exceptions::{PyOSError, PyValueError},
    prelude::*,
    types::{PyBytes, PyList, PyTuple},
};

use super::{
    calls::Called,
    convert::size,
    flagged::{Asked, message, receive, receive_waiting},
    flags::{self, CMSG_CLOEXEC, CTRUNC},
    object::PySocket,
    passed::{self, Passed},
    regular::Direction,
};
use crate::{
    call::Outcome,
    error::raised,
    gil::{self, py},
    once::Once,
    view::View,
};

// As Linux has them.
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const SCM_PIDFD: i32 = 4;
const EINVAL: i32 = 22;
/// Bytes before the descriptors in ancillary data.
const HEADER: usize = 16;
/// The most descriptors of a call.
const MOST: usize = 253;

/// Bytes of ancillary data for what the owner of a socket may have asked for beside descriptors:
/// the sender's credentials, say. Without room for it the descriptors would be cut.
const BESIDE: usize = 256;

#[pymethods]
impl PySocket {
    /// Sends bytes from several buffers, and descriptors with the first of them, over a Unix
    /// socket; gives how many bytes.
    #[pyo3(signature = (buffers, fds, flags = 0, address = None))]
    fn send_fds(
        slf: &Bound<'_, Self>,
        buffers: &Bound<'_, PyAny>,
        fds: &Bound<'_, PyAny>,
        flags: i32,
        address: Option<&Bound<'_, PyAny>>,
    ) -> Called {
        const NAME: &str = "send_fds";
        let (py, own) = (slf.py(), slf.get());
        own.check_passes_fds(py, NAME)?;
        let buffers: Vec<_> = buffers.try_iter()?.collect::<PyResult<_>>()?;
        let lengths: Vec<usize> =
            buffers.iter().map(|buffer| Ok(View::of(buffer)?.len())).collect::<PyResult<_>>()?;
        let fds: Vec<i32> =
            fds.try_iter()?.map(|fd| fd?.extract::<i32>()).collect::<PyResult<_>>()?;
        if fds.len() > MOST {
            let text = format!(
                "Invalid argument: a call passes at most {MOST} descriptors, not {}",
                fds.len()
            );
            return Err(PyOSError::new_err((EINVAL, text)));
        }
        if own.is_stream(py) && !fds.is_empty() && lengths.iter().sum::<usize>() == 0 {
            let text = "descriptors go along with a byte, and there is none to send";
            return Err(PyValueError::new_err(text));
        }
        let rights: Vec<u8> = fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
        let rights = (SOL_SOCKET, SCM_RIGHTS, PyBytes::new(py, &rights));
        let rights = if fds.is_empty() { Vec::new() } else { vec![rights] };
        let arguments = (buffers, rights, flags, address).into_pyobject(py)?.unbind();
        let passed = Passed { verb: "sendmsg", arguments, direction: Direction::Send, flags };
        if own.inner(py).is_blocking() {
            return passed.call_waiting(py, own);
        }
        PySocket::call(slf, "AsyncSocket.send_fds", move |own, socket, starting| {
            match own.get().check_passes_fds(gil::py(), NAME) {
                Ok(()) => starting.poll(passed::run(socket, own.clone_ref(gil::py()), passed)),
                Err(error) => starting.done(Err(error)),
            }
        })
    }

    /// Receives at most `bufsize` bytes over a Unix socket, and at most `maxfds` descriptors that
    /// come with them: gives (data, descriptors, flags, address). The descriptors are closed on
    /// exec. If some of them were lost, there are none, and the flags have MSG_CTRUNC.
    #[pyo3(signature = (bufsize, maxfds, flags = 0))]
    fn recv_fds(slf: &Bound<'_, Self>, bufsize: isize, maxfds: isize, flags: i32) -> Called {
        const NAME: &str = "recv_fds";
        let (py, own) = (slf.py(), slf.get());
        own.check_passes_fds(py, NAME)?;
        let max = size(bufsize, NAME)?;
        let Ok(most) = usize::try_from(maxfds) else {
            return Err(PyValueError::new_err("negative maxfds in recv_fds"));
        };
        let direction = Direction::Receive;
        let room = HEADER + most.min(MOST) * mem::size_of::<i32>() + BESIDE;
        let arguments = (bufsize, room, flags | CMSG_CLOEXEC).into_pyobject(py)?.unbind();
        let passed = Passed { verb: "recvmsg", arguments, direction, flags: flags | CMSG_CLOEXEC };
        let asked = Asked { max, ancillary: true, passed };
        if own.inner(py).is_blocking() {
            return arrived(py, receive_waiting(py, own, &asked, message)?, most, flags);
        }
        PySocket::call(slf, "AsyncSocket.recv_fds", move |own, socket, starting| {
            let own = own.clone_ref(gil::py());
            if let Err(error) = own.get().check_passes_fds(gil::py(), NAME) {
                return starting.done(Err(error));
            }
            starting.poll(recv_fds(socket, own, asked, most, flags))
        })
    }
}

impl PySocket {
    /// Refuses sockets over which no descriptors can go.
    fn check_passes_fds(&self, py: Python<'_>, verb: &'static str) -> PyResult<()> {
        if self.speaks_tls(py) {
            return Err(flags::not_with_tls("passing of descriptors"));
        }
        match self.family(py)? {
            None | Some(Domain::UNIX) => Ok(()),
            Some(_) => {
                let wrong = WrongKind { verb, socket: "socket that is not a Unix socket" };
                Err(raised(py, &io::Error::new(io::ErrorKind::InvalidInput, wrong)))
            }
        }
    }
}

async fn recv_fds(
    socket: AsyncSocket,
    own: Py<PySocket>,
    asked: Asked,
    most: usize,
    flags: i32,
) -> Outcome {
    let received = receive(socket, own, asked, message).await?;
    arrived(py(), received, most, flags)
}

/// Converts the result of `recvmsg`: in place of ancillary data there are descriptors, at most
/// `most`.
fn arrived(py: Python<'_>, received: Py<PyAny>, most: usize, asked: i32) -> Outcome {
    let received = received.into_bound(py).cast_into::<PyTuple>()?;
    let mut fds = Open { py, fds: Vec::new() };
    let mut beside = Open { py, fds: Vec::new() };
    for part in received.get_item(1)?.try_iter()? {
        let (level, kind, data): (i32, i32, Bound<'_, PyBytes>) = part?.extract()?;
        match (level, kind) {
            (SOL_SOCKET, SCM_RIGHTS) => fds.add(data.as_bytes()),
            // Of who has asked for it, and is not to have it from this verb.
            (SOL_SOCKET, SCM_PIDFD) => beside.add(data.as_bytes()),
            _ => {}
        }
    }
    let mut flags: i32 = received.get_item(2)?.extract()?;
    flags &= !(CMSG_CLOEXEC & !asked);
    if fds.fds.len() > most {
        flags |= CTRUNC;
    }
    let given: &[i32] = if flags & CTRUNC == 0 { &fds.fds } else { &[] };
    let (data, address) = (received.get_item(0)?, received.get_item(3)?);
    let made = (data, PyList::new(py, given)?, flags, address).into_pyobject(py)?;
    if flags & CTRUNC == 0 {
        fds.leave();
    }
    Ok(made.into_any().unbind())
}

/// Descriptors that are closed unless the program gets them.
struct Open<'py> {
    py: Python<'py>,
    fds: Vec<i32>,
}

impl Open<'_> {
    /// Adds those of ancillary data. What is left of one that was cut is none.
    fn add(&mut self, data: &[u8]) {
        let (whole, _) = data.as_chunks();
        self.fds.extend(whole.iter().map(|number| i32::from_ne_bytes(*number)));
    }

    /// Leaves them to the program.
    fn leave(mut self) {
        self.fds.clear();
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        static CLOSE: Once = Once::new();
        for fd in mem::take(&mut self.fds) {
            let close = CLOSE.import(self.py, "os", "close");
            if let Err(error) = close.and_then(|close| close.call1((fd,))) {
                error.write_unraisable(self.py, None);
            }
        }
    }
}
