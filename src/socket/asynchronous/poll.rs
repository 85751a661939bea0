//! Poll methods: one attempt each, which leave the caller's waker behind if they must wait.
//!
//! The traits of other libraries are made of them (`interop/`). A poll method keeps no state
//! between two calls, so nothing is lost, or left locked, if it is never called again.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::Shutdown,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use rustix::io::Errno;

use super::{AsyncSocket, core::Core};
use crate::{
    coro::{Waiter, current, engine::Engine},
    error,
    socket::{
        link::Link,
        op::{Fill, Flush, Op, Recv, RecvBytes, RecvVectored, Send, SendVectored, ShutDown},
        side::{PARTS, Progress, Side},
    },
    sys::Direction,
};

impl AsyncSocket {
    /// Receives like [`AsyncSocket::recv`], as a method to be polled, for traits of other
    /// libraries.
    ///
    /// All poll methods (`poll_recv`, `poll_send` and so on) follow these rules:
    /// - They keep **one waker for each direction**, that of the last call that returned `Pending`.
    ///   So receiving may be polled by one coroutine and sending by another, through clones.
    /// - They never hold a direction between two calls. Verbs and poll methods may be used in
    ///   turns, and a poll method that is not called again has lost nothing. Where a verb waits in
    ///   the same direction, a poll method waits until the verb is done.
    /// - They need a running scheduler on the thread, but the waker may be any executor's.
    /// - [`AsyncSocket::set_timeout`] does not apply to them.
    ///
    /// ```
    /// use std::{future::poll_fn, io};
    ///
    /// use asyncoro::AsyncSocket;
    ///
    /// # fn main() -> io::Result<()> {
    /// # let (near, far) = std::os::unix::net::UnixStream::pair()?;
    /// # let (near, far) = (AsyncSocket::new(near)?, AsyncSocket::new(far)?);
    /// # asyncoro::run(async {
    /// near.send(b"hello").await?;
    /// let mut buffer = [0; 64];
    /// let count = poll_fn(|cx| far.poll_recv(cx, &mut buffer)).await?;
    /// assert_eq!(&buffer[..count], b"hello");
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// The system's; [`error::Closed`]; `ResourceBusy` beside a verb that waits in another
    /// scheduler, since both directions belong to one; over TLS `UnexpectedEof`
    /// ([`error::Incomplete`]) at an end without a close_notify, which others take for the end: an
    /// attacker may have cut the stream.
    ///
    /// # Panics
    /// Outside a running scheduler.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let has_room = !buffer.is_empty();
        let polled = self.poll("poll_recv", Recv(buffer), cx);
        self.unless_cut(polled, |count| *count == 0 && has_room)
    }

    /// Receives like [`AsyncSocket::poll_recv`], into memory that need not be initialised; returns
    /// how many of its first bytes are initialised now.
    ///
    /// # Errors
    /// As [`AsyncSocket::poll_recv`].
    ///
    /// # Panics
    /// Outside a running scheduler.
    pub fn poll_recv_uninit(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let has_room = !buffer.is_empty();
        let polled = self.poll("poll_recv_uninit", Fill(buffer), cx);
        self.unless_cut(polled, |count| *count == 0 && has_room)
    }

    /// Receives like [`AsyncSocket::poll_recv`], into several buffers, one after another.
    ///
    /// # Errors
    /// As [`AsyncSocket::poll_recv`].
    ///
    /// # Panics
    /// Outside a running scheduler.
    pub fn poll_recv_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let has_room = buffers.iter().any(|buffer| !buffer.is_empty());
        let polled = self.poll("poll_recv_vectored", RecvVectored(buffers), cx);
        self.unless_cut(polled, |count| *count == 0 && has_room)
    }

    /// Receives like [`AsyncSocket::recv_bytes`], as a method to be polled
    /// ([`AsyncSocket::poll_recv`] has the rules).
    ///
    /// # Errors
    /// As [`AsyncSocket::poll_recv`].
    ///
    /// # Panics
    /// Outside a running scheduler.
    pub fn poll_recv_bytes(&self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<Bytes>> {
        let polled = self.poll("poll_recv_bytes", RecvBytes(max), cx);
        self.unless_cut(polled, |bytes| bytes.is_empty() && max > 0)
    }

    /// Sends like [`AsyncSocket::send`], as a method to be polled ([`AsyncSocket::poll_recv`] has
    /// the rules): behind the queue, and at once. `Pending` means that nothing of `buffer` was
    /// sent.
    ///
    /// Over TLS, the system may have no room for the last records; [`AsyncSocket::poll_flush`]
    /// waits for it. The scheduler sends them in any case.
    ///
    /// # Errors
    /// As [`AsyncSocket::send`].
    ///
    /// # Panics
    /// Outside a running scheduler.
    pub fn poll_send(&self, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.poll("poll_send", Send(buffer), cx)
    }

    /// Sends like [`AsyncSocket::poll_send`], from several buffers in one call and without a copy:
    /// on a stream from the first 16 that are not empty, in a datagram from all.
    ///
    /// # Errors
    /// As [`AsyncSocket::send`].
    ///
    /// # Panics
    /// Outside a running scheduler.
    pub fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        const VERB: &str = "poll_send_vectored";
        let mut filled = buffers.iter().filter(|buffer| !buffer.is_empty());
        let mut parts: [&[u8]; PARTS] = [&[]; PARTS];
        let mut count = 0;
        for (part, buffer) in parts.iter_mut().zip(filled.by_ref()) {
            *part = buffer;
            count += 1;
        }
        if !self.core.kind().is_stream() && filled.next().is_some() {
            let all: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
            return self.poll(VERB, SendVectored(&all), cx);
        }
        self.poll(VERB, SendVectored(&parts[..count]), cx)
    }

    /// Flushes like [`AsyncSocket::flush`], as a method to be polled ([`AsyncSocket::poll_recv`]
    /// has the rules): ready once the system has all that was sent and queued.
    ///
    /// # Errors
    /// As [`AsyncSocket::flush`].
    ///
    /// # Panics
    /// Outside a running scheduler.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll("poll_flush", Flush::default(), cx)
    }

    /// Ends sending like `shutdown(Shutdown::Write)`, as a method to be polled
    /// ([`AsyncSocket::poll_recv`] has the rules): after the queue was sent and, over TLS, behind a
    /// close_notify. Receiving goes on.
    ///
    /// Where there is no connection (any more), there is nothing to end, and that is no error: the
    /// callers of the traits shut down last of all, when the peer may have left already. Over TLS
    /// a close_notify that cannot be sent is one.
    ///
    /// # Errors
    /// As [`AsyncSocket::shutdown`], but never `ENOTCONN`.
    ///
    /// # Panics
    /// Outside a running scheduler.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = ready!(self.poll("poll_shutdown", ShutDown::new(Shutdown::Write), cx));
        Poll::Ready(match ended {
            Err(error) if error.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()) => Ok(()),
            ended => ended,
        })
    }

    /// Makes an error of an end of the stream that is none, over TLS.
    #[inline]
    fn unless_cut<T>(
        &self,
        polled: Poll<io::Result<T>>,
        is_end: impl FnOnce(&T) -> bool,
    ) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Ready(Ok(value)) if is_end(value) => match self.core.look(Link::is_cut) {
                Some(true) => Poll::Ready(Err(error::incomplete(0, 1))),
                _ => polled,
            },
            _ => polled,
        }
    }

    #[inline]
    fn poll<O: Op>(
        &self,
        method: &'static str,
        mut op: O,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<O::Output>> {
        current::expect(method, |engine| poll_on(&self.core, engine, &mut op, cx))
    }
}

/// Makes one attempt, as a verb does at its first poll; what waits is the caller's waker alone.
#[inline]
fn poll_on<O: Op>(
    core: &Rc<Core>,
    engine: &Engine,
    op: &mut O,
    cx: &mut Context<'_>,
) -> Poll<io::Result<O::Output>> {
    if core.refuses::<O>() {
        return Poll::Ready(Err(error::closed()));
    }
    if !engine.spend() && steps_back::<O>(core, cx) {
        return Poll::Pending;
    }
    O::check(core.kind())?;
    match core.step_on(engine, op, true) {
        Some(Progress::Done(result)) => {
            if let Ok(value) = &result {
                engine.charge(op.weight(value));
            }
            Poll::Ready(result)
        }
        Some(Progress::Wait) => wait::<O>(core, engine, cx),
        Some(Progress::Again) => {
            go_on_later::<O>(core, engine, cx);
            Poll::Pending
        }
        // Until a verb releases the lock.
        None => {
            leave_waker::<O>(core, cx);
            Poll::Pending
        }
    }
}

/// Lets others go first, every other time: an executor inside a coroutine, which polls again before
/// the scheduler has resumed the others, would spin for ever otherwise.
#[cold]
fn steps_back<O: Op>(core: &Rc<Core>, cx: &mut Context<'_>) -> bool {
    let mut half = core.half::<O::Side>();
    half.lock.has_stepped_back = !half.lock.has_stepped_back;
    let steps_back = half.lock.has_stepped_back;
    drop(half);
    if steps_back {
        cx.waker().wake_by_ref();
    }
    steps_back
}

fn wait<O: Op>(
    core: &Rc<Core>,
    engine: &Engine,
    cx: &mut Context<'_>,
) -> Poll<io::Result<O::Output>> {
    if O::Side::DIRECTION == Direction::Read && core.has_pending() {
        // Reading may have produced records to send, for which there was no room.
        core.mark_dirty(engine);
    }
    core.watch(engine, O::Side::DIRECTION)?;
    leave_waker::<O>(core, cx);
    Poll::Pending
}

/// Continues after the others were resumed and the driver was asked.
#[cold]
fn go_on_later<O: Op>(core: &Rc<Core>, engine: &Engine, cx: &mut Context<'_>) {
    if O::Side::DIRECTION == Direction::Read {
        core.reads_later();
    }
    if core.has_pending() {
        core.mark_dirty(engine);
    }
    cx.waker().wake_by_ref();
    engine.end_turn_now();
}

fn leave_waker<O: Op>(core: &Rc<Core>, cx: &mut Context<'_>) {
    let waker = cx.waker();
    let half = core.half::<O::Side>();
    if !half.lock.is_taken() && half.lock.wakes(waker) {
        return;
    }
    drop(half);
    // Cloning and dropping wakers may run foreign code, which may use the socket.
    let waiter = Waiter::of(waker);
    let old = core.half::<O::Side>().lock.poll(waiter);
    drop(old);
}
