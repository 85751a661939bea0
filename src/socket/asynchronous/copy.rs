//! Copying from one socket to another, in one direction or in both.
//!
//! Bytes are received into the thread's hot buffer and sent from there, before anything else runs:
//! no copy, and nothing is kept while both ends wait. Only what the receiving system has no room
//! for is copied, and nothing more is received before that has left. Invariant: a byte that was
//! received is either sent or put back to the socket that it came from, however the copy ends.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io, mem,
    net::Shutdown,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{AsyncSocket, core::Core, verb::Verb};
use crate::{
    coro::{Alarm, current, engine::Engine},
    driver::Driver,
    error,
    socket::{
        op::{RecvLent, SendRest},
        side::{ReadSide, WriteSide},
    },
};

/// Copies everything from one stream to another, until `from` ends; returns how many bytes. On
/// return the system has all of them.
///
/// The end is not passed on: `to` stays open for more. At most 64 KiB are under way; `from` is not
/// read while `to` has no room. Either socket may be TCP, Unix, with TLS or without.
///
/// # Example
/// ```
/// use asyncoro::AsyncSocket;
///
/// # fn main() -> std::io::Result<()> {
/// # let pair = std::os::unix::net::UnixStream::pair;
/// # let ((near, from), (to, far)) = (pair()?, pair()?);
/// asyncoro::run(async {
///     # let all = [near, from, to, far].map(|one| AsyncSocket::new(one).unwrap());
///     # let [near, from, to, far] = all;
///     near.send_all(b"all of it").await?;
///     near.shutdown(std::net::Shutdown::Write).await?;
///     assert_eq!(asyncoro::copy(&from, &to).await?, 9);
///     assert_eq!(far.recv_bytes(100).await?, "all of it");
///     Ok(())
/// })
/// # }
/// ```
///
/// # Errors
/// `InvalidInput` if one is no stream; `UnexpectedEof` ([`error::Incomplete`]) if `from` speaks TLS
/// and ends without a close_notify; `TimedOut` if one of the sockets has a timeout; the system's,
/// of either. What was sent before is sent.
///
/// # Panics
/// When polled outside a running scheduler.
///
/// # Cancel
/// No byte is lost: what was received and not sent is readable from `from`. The count is lost.
pub async fn copy(from: &AsyncSocket, to: &AsyncSocket) -> io::Result<u64> {
    current::expect("copy", |_| ());
    check("copy", from, to)?;
    let count = Cell::new(0);
    pass_on(from, to, &count).await?;
    Ok(count.get())
}

/// Copies between two streams in both directions, until both have ended; returns how many bytes
/// were sent to `b`, and how many to `a`.
///
/// The end of a direction is passed on when all of it was sent, by a shutdown of sending: a client
/// that has sent its request, and says so, still gets the answer. An error of either socket ends
/// both directions. So does a time of `idle` in which no byte has moved in either direction; none
/// and zero are no bound. At most 64 KiB are under way in each direction.
///
/// Neither socket is closed. Drop them afterwards, or after an error take over what is left.
///
/// # Example
/// ```no_run
/// use std::time::Duration;
/// use asyncoro::{AsyncSocket, copy_both};
///
/// # async fn serve() -> std::io::Result<()> {
/// # let server = AsyncSocket::create_server("127.0.0.1:0").await?;
/// let (client, _) = server.accept().await?;
/// let target = AsyncSocket::create_connection("database:5432").await?;
/// let (asked, answered) = copy_both(&client, &target, Some(Duration::from_secs(300))).await?;
/// println!("{asked} bytes there, {answered} bytes back");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `TimedOut` ([`error::Idle`], which tells how many bytes have moved) after `idle`; those of
/// [`copy`]. A timeout of one of the sockets ([`AsyncSocket::set_timeout`]) counts for each of its
/// directions alone, so leave it unset here.
///
/// # Panics
/// When polled outside a running scheduler.
///
/// # Cancel
/// As [`copy`], in both directions.
pub async fn copy_both(
    a: &AsyncSocket,
    b: &AsyncSocket,
    idle: Option<Duration>,
) -> io::Result<(u64, u64)> {
    current::expect("copy_both", |_| ());
    check("copy_both", a, b)?;
    let (there, back) = (Cell::new(0), Cell::new(0));
    let moved = || (there.get(), back.get());
    let (forth, home) = (pin!(pass_all(a, b, &there)), pin!(pass_all(b, a, &back)));
    let mut directions: [(Direction<'_>, bool); 2] = [(forth, true), (home, true)];
    let mut watch = idle.filter(|idle| !idle.is_zero()).map(Watch::new);
    poll_fn(|cx| {
        // The first one may use up what the coroutine may do in one resume.
        directions.reverse();
        for (direction, goes_on) in &mut directions {
            if *goes_on && let Poll::Ready(ended) = direction.as_mut().poll(cx) {
                *goes_on = false;
                ended?;
            }
        }
        if directions.iter().all(|(_, goes_on)| !goes_on) {
            return Poll::Ready(Ok(()));
        }
        let Some(watch) = &mut watch else { return Poll::Pending };
        let seen = motion(a, b, moved());
        let is_over = current::expect("copy_both", |engine| watch.is_over(engine, seen, cx));
        if is_over { Poll::Ready(Err(error::idle(moved()))) } else { Poll::Pending }
    })
    .await?;
    Ok(moved())
}

/// One direction, until it has ended.
type Direction<'a> = Pin<&'a mut dyn Future<Output = io::Result<()>>>;

/// Refuses sockets that are closed, or no streams.
fn check(verb: &'static str, one: &AsyncSocket, other: &AsyncSocket) -> io::Result<()> {
    if one.core.is_closing() || other.core.is_closing() {
        return Err(error::closed());
    }
    let kinds = [one.core.kind(), other.core.kind()];
    match kinds.into_iter().find(|kind| !kind.is_stream()) {
        Some(kind) => Err(error::wrong_kind(verb, kind.name())),
        None => Ok(()),
    }
}

/// Copies one direction of two and passes its end on.
async fn pass_all(from: &AsyncSocket, to: &AsyncSocket, count: &Cell<u64>) -> io::Result<()> {
    pass_on(from, to, count).await?;
    to.shutdown(Shutdown::Write).await
}

/// Copies until `from` ends and all was sent, and counts what was.
async fn pass_on(from: &AsyncSocket, to: &AsyncSocket, count: &Cell<u64>) -> io::Result<()> {
    loop {
        let lent = Verb::new(&from.core, RecvLent::all()).await?;
        if lent.bytes().is_empty() {
            break;
        }
        let sent = match to.try_send(lent.bytes()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            sent => sent,
        };
        let done = *sent.as_ref().unwrap_or(&0);
        count.set(count.get() + done as u64);
        current::with(|engine| engine.charge(done));
        if done == lent.bytes().len() {
            continue;
        }
        let mut rest = Rest { from: &from.core, bytes: lent.into_rest(done) };
        sent?;
        Verb::new(&to.core, SendRest { rest: &mut rest.bytes, count }).await?;
    }
    to.flush().await?;
    if from.core.with_link(|link| Ok(link.is_cut()))? {
        let reason = "the stream has ended without a close_notify";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
    }
    Ok(())
}

/// Bytes that were received and not sent yet; what is left at the drop is put back.
struct Rest<'a> {
    from: &'a Rc<Core>,
    bytes: Bytes,
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let waiter = {
            let mut half = self.from.half::<ReadSide>();
            half.side.put_back(mem::take(&mut self.bytes));
            half.lock.waiter()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

/// What changes when something moves: bytes that were sent, in each direction, and what each socket
/// has queued or, over TLS, has of a record.
type Motion = ((u64, u64), [u32; 4]);

fn motion(a: &AsyncSocket, b: &AsyncSocket, moved: (u64, u64)) -> Motion {
    let [a, b] = [&a.core, &b.core];
    let [a_read, a_write] = [a.moved::<ReadSide>(), a.moved::<WriteSide>()];
    (moved, [a_read, a_write, b.moved::<ReadSide>(), b.moved::<WriteSide>()])
}

/// Watches for a time without motion.
struct Watch {
    idle: Duration,
    /// The last motion, and when it was seen.
    last: Option<(Motion, Instant)>,
    alarm: Option<Alarm>,
}

impl Watch {
    fn new(idle: Duration) -> Watch {
        Watch { idle, last: None, alarm: None }
    }

    /// Tells whether the time is over; otherwise makes the alarm wake the coroutine.
    fn is_over(&mut self, engine: &Engine, seen: Motion, cx: &Context<'_>) -> bool {
        let now = Driver::now();
        let since = match self.last {
            Some((last, since)) if last == seen => since,
            _ => {
                self.last = Some((seen, now));
                now
            }
        };
        let Some(until) = since.checked_add(self.idle) else { return false };
        match &self.alarm {
            Some(alarm) if alarm.is_on(engine) && !alarm.has_fired(engine) => {
                // It may fire too early, after a motion, and is set again then. Each motion would
                // otherwise move it.
                alarm.set_waker(engine, cx.waker());
                false
            }
            // It fires after the driver was asked: what has come by then has been received.
            Some(alarm) if alarm.is_on(engine) && now >= until => true,
            _ => {
                self.alarm = Some(Alarm::arm(engine, until, cx.waker()));
                false
            }
        }
    }
}
