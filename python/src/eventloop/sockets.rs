//! The coroutines `sock_recv` and so on: calls over regular sockets.
//!
//! Each makes one attempt at once, and again whenever its socket is ready. Nothing is received
//! before its task goes on: one that is cancelled has taken no bytes from the socket.
//!
//! Unsafe: recv(2) and send(2), into memory of this file's or of a buffer that is held.
#![allow(unsafe_code)]

use std::{
    cell::RefCell,
    future::Future,
    io,
    os::fd::RawFd,
    pin::Pin,
    slice,
    task::{Context, Poll},
};

use pyo3::{
    exceptions::{PyBlockingIOError, PyInterruptedError, PyOSError, PyValueError},
    prelude::*,
    types::PyBytes,
};

use super::{object::Loop, watch::Direction};
use crate::{
    call::{self, Outcome},
    error::raised,
    fresh,
    gil::{self, Gil, py},
    once::{Once, interned},
    view::{Data, View},
};

/// Up to this many bytes are received into memory that is kept, and copied: new memory of that size
/// would come from the system each time. It is what asyncio's transports receive at once.
const MOST_COPIED: usize = 256 << 10;

/// One attempt: `None` if it would have to wait.
trait Attempt: FnMut(&Bound<'_, PyAny>, RawFd) -> Option<Outcome> + 'static {}

impl<T: FnMut(&Bound<'_, PyAny>, RawFd) -> Option<Outcome> + 'static> Attempt for T {}

/// Makes the call of a coroutine of the loop's.
fn call(
    running: &Bound<'_, Loop>,
    name: &'static str,
    sock: &Bound<'_, PyAny>,
    direction: Direction,
    mut attempt: impl Attempt,
) -> PyResult<Py<PyAny>> {
    let py = running.py();
    let sock = sock.clone().unbind();
    call::make(py, name, Some(running.as_any()), move |starting| {
        let py = gil::py();
        let running = starting.of::<Loop>();
        let first = check(running.bind(py), sock.bind(py))
            .and_then(|()| number(sock.bind(py)))
            .map(|fd| attempt(sock.bind(py), fd));
        match first {
            Err(error) => starting.done(Err(error)),
            Ok(Some(outcome)) => starting.done(outcome),
            Ok(None) => starting.poll(again(running.clone_ref(py), sock, direction, attempt)),
        }
    })
}

/// Makes attempts whenever the socket is ready.
async fn again(
    running: Py<Loop>,
    sock: Py<PyAny>,
    direction: Direction,
    mut attempt: impl Attempt,
) -> Outcome {
    loop {
        let fd = number(sock.bind(py()))?;
        Ready { running: &running, fd, direction, number: None }.await?;
        // It may have been closed, and its number be another's.
        let fd = number(sock.bind(py()))?;
        if let Some(outcome) = attempt(sock.bind(py()), fd) {
            return outcome;
        }
    }
}

/// Waits until a socket is ready.
struct Ready<'a> {
    running: &'a Py<Loop>,
    fd: RawFd,
    direction: Direction,
    /// That of the wait, once it has begun.
    number: Option<u64>,
}

impl Future for Ready<'_> {
    type Output = PyResult<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<PyResult<()>> {
        let (py, this) = (py(), self.get_mut());
        let watches = this.running.get().watches(py);
        if let Some(number) = this.number {
            if watches.again(this.fd, this.direction, number, cx.waker()) {
                return Poll::Pending;
            }
            this.number = None;
            return Poll::Ready(Ok(()));
        }
        if watches.may_be_a_transports(this.fd) {
            this.running
                .bind(py)
                .call_method1(interned!(py, "_ensure_fd_no_transport"), (this.fd,))?;
        }
        this.running.get().check_closed(py)?;
        let begun = watches.begin(py, this.fd, this.direction, cx.waker());
        this.number = Some(begun.map_err(|error| raised(py, &error))?);
        Poll::Pending
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let py = py();
            self.running.get().watches(py).end(py, self.fd, self.direction, number);
        }
    }
}

/// Refuses sockets of `ssl`, and in debug mode blocking ones, as asyncio does.
fn check(running: &Bound<'_, Loop>, sock: &Bound<'_, PyAny>) -> PyResult<()> {
    static SOCKET: Once = Once::new();
    let py = running.py();
    if !sock.get_type().is(SOCKET.import(py, "socket", "socket")?) {
        static CHECK: Once = Once::new();
        CHECK.import(py, "asyncio.base_events", "_check_ssl_socket")?.call1((sock,))?;
    }
    if running.get().is_debug(py) {
        let timeout = sock.call_method0(interned!(py, "gettimeout"))?;
        if timeout.extract::<f64>().ok() != Some(0.0) {
            return Err(PyValueError::new_err("the socket must be non-blocking"));
        }
    }
    Ok(())
}

/// Returns the number of a socket's descriptor.
fn number(sock: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    let fd: RawFd = sock.call_method0(interned!(sock.py(), "fileno"))?.extract()?;
    if fd < 0 { Err(crate::error::closed()) } else { Ok(fd) }
}

/// Makes a system call, again if a signal has interrupted it; `None` if it would have to wait. It
/// runs no code of Python's: memory of Python's may be lent to the call.
fn now(mut call: impl FnMut() -> isize) -> Option<io::Result<usize>> {
    loop {
        let error = match usize::try_from(call()) {
            Ok(count) => return Some(Ok(count)),
            Err(_) => io::Error::last_os_error(),
        };
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => return None,
            _ => return Some(Err(error)),
        }
    }
}

/// Receives into memory; returns how many bytes it has filled.
///
/// # Safety
/// `memory` may be written, `room` bytes of it.
unsafe fn recv_raw(fd: RawFd, memory: *mut u8, room: usize) -> Option<io::Result<usize>> {
    // SAFETY: the caller promises it.
    now(|| unsafe { libc::recv(fd, memory.cast(), room, libc::MSG_DONTWAIT) })
}

fn recv(py: Python<'_>, fd: RawFd, max: usize) -> Option<Outcome> {
    static SCRATCH: Gil<RefCell<Vec<u8>>> = Gil::new(RefCell::new(Vec::new()));
    let received = if max > MOST_COPIED {
        // SAFETY: `fill` passes that much memory, and `recv_raw` returns how much of it is filled.
        unsafe { fresh::fill(py, max, |memory| recv_raw(fd, memory, max)) }
    } else {
        let mut scratch = SCRATCH.get(py).borrow_mut();
        scratch.reserve_exact(MOST_COPIED);
        // SAFETY: as much was reserved; `recv_raw` returns how much of it is filled. Making `bytes`
        // runs no code of Python's, which might come here again.
        unsafe {
            recv_raw(fd, scratch.as_mut_ptr(), max).map(|count| {
                let made = |count| PyBytes::new(py, slice::from_raw_parts(scratch.as_ptr(), count));
                count.map(|count| Ok(made(count).unbind()))
            })
        }
    };
    received.map(|received| match received {
        Ok(bytes) => bytes.map(Py::into_any),
        Err(error) => Err(raised(py, &error)),
    })
}

fn recv_into(py: Python<'_>, fd: RawFd, view: &View) -> Option<Outcome> {
    let View::Buffer(buffer) = view else { unreachable!("it is a writable one") };
    // SAFETY: the view holds the buffer, which is writable and has that many bytes.
    let received = unsafe { recv_raw(fd, buffer.buf.cast(), buffer.len as usize)? };
    Some(match received {
        Ok(count) => count.into_pyobject(py).map_err(PyErr::from).map(|it| it.into_any().unbind()),
        Err(error) => Err(raised(py, &error)),
    })
}

/// Sends what is left, as much as the system takes; returns once that is all, or fails.
fn send(fd: RawFd, bytes: &[u8], sent: &mut usize) -> Option<io::Result<()>> {
    loop {
        let left = &bytes[*sent..];
        // SAFETY: the memory is that of a slice.
        let count = now(|| unsafe {
            libc::send(
                fd,
                left.as_ptr().cast(),
                left.len(),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        })?;
        match count {
            Err(error) => return Some(Err(error)),
            Ok(count) => *sent += count,
        }
        if *sent >= bytes.len() {
            return Some(Ok(()));
        }
    }
}

/// Returns the outcome of a method of the regular socket's; `None` if it would have to wait.
fn outcome(result: PyResult<Bound<'_, PyAny>>) -> Option<Outcome> {
    match result {
        Ok(value) => Some(Ok(value.unbind())),
        Err(error)
            if error.is_instance_of::<PyBlockingIOError>(py())
                || error.is_instance_of::<PyInterruptedError>(py()) =>
        {
            None
        }
        Err(error) => Some(Err(error)),
    }
}

#[pymethods]
impl Loop {
    /// Receives at most `n` bytes of a regular socket, once there are any.
    #[pyo3(signature = (sock, n))]
    fn sock_recv(slf: &Bound<'_, Self>, sock: &Bound<'_, PyAny>, n: isize) -> PyResult<Py<PyAny>> {
        let max =
            usize::try_from(n).map_err(|_| PyValueError::new_err("negative buffersize in recv"))?;
        call(slf, "EventLoop.sock_recv", sock, Direction::Read, move |_, fd| recv(py(), fd, max))
    }

    /// Receives into a buffer; gives how many bytes.
    #[pyo3(signature = (sock, buf))]
    fn sock_recv_into(
        slf: &Bound<'_, Self>,
        sock: &Bound<'_, PyAny>,
        buf: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let view = View::writable(buf)?;
        call(slf, "EventLoop.sock_recv_into", sock, Direction::Read, move |_, fd| {
            recv_into(py(), fd, &view)
        })
    }

    /// Receives a datagram of at most `bufsize` bytes, and its sender's address.
    #[pyo3(signature = (sock, bufsize))]
    fn sock_recvfrom(
        slf: &Bound<'_, Self>,
        sock: &Bound<'_, PyAny>,
        bufsize: Py<PyAny>,
    ) -> PyResult<Py<PyAny>> {
        call(slf, "EventLoop.sock_recvfrom", sock, Direction::Read, move |sock, _| {
            outcome(sock.call_method1(interned!(py(), "recvfrom"), (&bufsize,)))
        })
    }

    /// Receives a datagram into a buffer; gives how many bytes, and its sender's address.
    #[pyo3(signature = (sock, buf, nbytes = 0))]
    fn sock_recvfrom_into(
        slf: &Bound<'_, Self>,
        sock: &Bound<'_, PyAny>,
        buf: Py<PyAny>,
        nbytes: usize,
    ) -> PyResult<Py<PyAny>> {
        call(slf, "EventLoop.sock_recvfrom_into", sock, Direction::Read, move |sock, _| {
            outcome(sock.call_method1(interned!(py(), "recvfrom_into"), (&buf, nbytes)))
        })
    }

    /// Sends all bytes.
    #[pyo3(signature = (sock, data))]
    fn sock_sendall(
        slf: &Bound<'_, Self>,
        sock: &Bound<'_, PyAny>,
        data: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let mut data = Some(Data::of(data)?);
        let mut held = None;
        let mut sent = 0;
        call(slf, "EventLoop.sock_sendall", sock, Direction::Write, move |_, fd| {
            let py = py();
            let all = match data.take() {
                Some(whole) => {
                    let all = whole.lend(py, |bytes| send(fd, bytes, &mut sent));
                    if all.is_none() {
                        match whole.hold(py) {
                            Ok(view) => held = Some(view),
                            Err(error) => return Some(Err(error)),
                        }
                    }
                    all
                }
                None => {
                    let view: &View = held.as_ref().expect("the first attempt holds it");
                    send(fd, view.bytes(), &mut sent)
                }
            };
            all.map(|all| all.map(|()| py.None()).map_err(|error| raised(py, &error)))
        })
    }

    /// Sends a datagram; gives how many bytes.
    #[pyo3(signature = (sock, data, address))]
    fn sock_sendto(
        slf: &Bound<'_, Self>,
        sock: &Bound<'_, PyAny>,
        data: Py<PyAny>,
        address: Py<PyAny>,
    ) -> PyResult<Py<PyAny>> {
        call(slf, "EventLoop.sock_sendto", sock, Direction::Write, move |sock, _| {
            outcome(sock.call_method1(interned!(py(), "sendto"), (&data, &address)))
        })
    }

    /// Accepts a connection; gives its socket, and the peer's address.
    #[pyo3(signature = (sock))]
    fn sock_accept(slf: &Bound<'_, Self>, sock: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        call(slf, "EventLoop.sock_accept", sock, Direction::Read, move |sock, _| {
            let py = py();
            let accepted = sock.call_method0(interned!(py, "accept"));
            outcome(accepted.and_then(|pair| {
                let connection = pair.get_item(0)?;
                connection.call_method1(interned!(py, "setblocking"), (false,))?;
                Ok(pair)
            }))
        })
    }

    /// Receives what is there, for a transport; None if nothing is.
    fn _receive(&self, py: Python<'_>, fd: RawFd) -> Outcome {
        recv(py, fd, MOST_COPIED).unwrap_or_else(|| Ok(py.None()))
    }

    /// Connects to an address that was resolved.
    fn _connect(
        slf: &Bound<'_, Self>,
        sock: &Bound<'_, PyAny>,
        address: Py<PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let mut has_begun = false;
        call(slf, "EventLoop.sock_connect", sock, Direction::Write, move |sock, _| {
            let py = py();
            if !has_begun {
                has_begun = true;
                return outcome(sock.call_method1(interned!(py, "connect"), (&address,)));
            }
            Some(connected(sock, address.bind(py)).map(|()| py.None()))
        })
    }
}

/// Tells how an attempt to connect has ended.
fn connected(sock: &Bound<'_, PyAny>, address: &Bound<'_, PyAny>) -> PyResult<()> {
    let asked = (libc::SOL_SOCKET, libc::SO_ERROR);
    let code: i32 = sock.call_method1(interned!(sock.py(), "getsockopt"), asked)?.extract()?;
    if code == 0 {
        return Ok(());
    }
    let text = format!("Connect call failed {}", address.str()?);
    Err(PyOSError::new_err((code, text)))
}
