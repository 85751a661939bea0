//! The state that the handles of a blocking socket share, and how operations are driven on it.

#[cfg(feature = "tls")]
use std::sync::Arc;
use std::{
    io,
    ops::Deref,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

#[cfg(feature = "tls")]
use super::late;
use super::{
    exclusive::{Exclusive, Reserved, Taken},
    interrupt,
};
#[cfg(feature = "tls")]
use crate::socket::{gate::Gate, parts::Parts};
use crate::{
    coro::RETRY_PAUSE,
    driver::Driver,
    error, log,
    primitives::{Mutex, lock},
    socket::{
        link::Link,
        op::{Lend, Op},
        settings::Settings,
        side::{Pair, Progress, ReadSide, Side, WriteSide, drop_spent},
    },
    sys::{Call, Direction, Meaning, meaning},
};

/// The state that the handles share.
pub(super) struct Twin {
    pub(super) link: WholeLink,
    pub(super) settings: Mutex<Settings>,
    pub(super) read: Exclusive<ReadSide>,
    pub(super) write: Exclusive<WriteSide>,
    pub(super) closed: AtomicBool,
    /// Something was queued when the verb that sends, and has the lock, began to wait.
    pub(super) queue_waits: AtomicBool,
    /// Held by the thread whose verb performs the handshake.
    #[cfg(feature = "tls")]
    pub(super) shaking: Mutex<()>,
    /// The handshakes of a listener's connections, if it was an asynchronous listener.
    #[cfg(feature = "tls")]
    pub(super) gate: Option<Arc<Gate<Parts>>>,
}

/// The link of the socket, until the socket is taken apart.
pub(super) struct WholeLink(pub(super) Option<Link>);

impl Deref for WholeLink {
    type Target = Link;

    fn deref(&self) -> &Link {
        self.0.as_ref().expect("only the last handle takes it apart")
    }
}

/// Sends the queue, as far as the system accepts it, and logs what is lost. Over TLS, which
/// ends with a close_notify, a thread of the process continues.
impl Drop for Twin {
    fn drop(&mut self) {
        let Some(link) = self.link.0.take() else { return };
        if self.is_closed() {
            return;
        }
        let Some(mut side) = self.write.try_take() else { return };
        side.refill();
        #[cfg(feature = "tls")]
        if link.is_secure() {
            return late::finish(link, std::mem::take(&mut *side));
        }
        let queued = side.queued();
        match side.flush_all(&link) {
            // Without TLS, the end of the stream itself tells the peer.
            Progress::Done(Ok(())) => {}
            _ if queued == 0 => {}
            Progress::Done(Err(error)) => log::warn(format_args!(
                "a BlockingSocket was dropped with {queued} bytes to send, and they are lost: \
                 {error}"
            )),
            Progress::Wait | Progress::Again => log::warn(format_args!(
                "a BlockingSocket was dropped with {} bytes that could not be sent at once, and \
                 they are lost; close() waits for them",
                side.queued()
            )),
        }
    }
}

impl<'a> Pair for &'a Twin {
    type Of<S: Side> = &'a Exclusive<S>;

    fn read(self) -> &'a Exclusive<ReadSide> {
        &self.read
    }

    fn write(self) -> &'a Exclusive<WriteSide> {
        &self.write
    }
}

impl Twin {
    pub(super) fn settings(&self) -> Settings {
        *lock(&self.settings)
    }

    /// Returns the settings for steps of operations: no turn's end would send queued messages, so
    /// each is sent at once.
    pub(super) fn stepping(&self) -> Settings {
        let mut settings = self.settings();
        settings.coalescing = false;
        settings
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Calls `f` with the link, unless the socket is closed.
    pub(super) fn with_link<R>(&self, f: impl FnOnce(&Link) -> io::Result<R>) -> io::Result<R> {
        if self.is_closed() {
            return Err(error::closed());
        }
        match f(&self.link) {
            // A close in another thread may cause any error or end of the stream.
            Err(_) if self.is_closed() => Err(error::closed()),
            result => result,
        }
    }

    /// Refuses a closed socket, and then one of the wrong kind.
    fn check<O: Op>(&self) -> io::Result<()> {
        if self.is_closed() && !O::CLOSES {
            return Err(error::closed());
        }
        O::check(self.link.kind())
    }

    /// Runs an operation to its end and waits in poll(2); first completes a handshake that is due.
    pub(super) fn drive<O: Op>(&self, op: O) -> io::Result<O::Output> {
        #[cfg(feature = "tls")]
        if !O::CLOSES {
            self.shake_first()?;
        }
        let result = self.drive_until(op, None);
        drop_spent();
        result
    }

    /// Runs an operation to its end, until `until` at most, whatever the timeout, and without
    /// completing a handshake first.
    pub(super) fn drive_until<O: Op>(
        &self,
        mut op: O,
        until: Option<Instant>,
    ) -> io::Result<O::Output> {
        self.check::<O>()?;
        let settings = self.stepping();
        let mut side = self.lock::<O>(settings)?;
        self.promise::<O>();
        let from_now = || {
            let timeout = settings.timeout().map(|timeout| Driver::now() + timeout);
            timeout.into_iter().chain(until).min()
        };
        let mut deadline = from_now();
        let progress_of = |op: &O, side: &O::Side| {
            (op.moved(), side.moved(), self.link.moved(O::Side::DIRECTION))
        };
        let mut moved = progress_of(&op, &side);
        loop {
            if self.is_closed() && !O::CLOSES {
                return Err(error::closed());
            }
            side.refill();
            let result = match op.step(&self.link, settings, &mut side) {
                Progress::Done(result) => result,
                progress => {
                    let progress_now = progress_of(&op, &side);
                    if progress_now != moved {
                        moved = progress_now;
                        deadline = from_now();
                    }
                    self.note_queue(&*side);
                    let waited = match progress {
                        Progress::Again => self.may_go_on::<O>(deadline),
                        _ => self.wait::<O>(deadline, side.is_paused()),
                    };
                    if matches!(waited, Ok(true)) {
                        continue;
                    }
                    let queued = op.give_up(&mut side);
                    self.promise::<O>();
                    return Err(waited.err().unwrap_or_else(|| error::timed_out(moved.0, queued)));
                }
            };
            if result.is_ok() && O::Side::DIRECTION == Direction::Write {
                self.push_pending::<O>(deadline)?;
            }
            return self.unless_closed(&op, result);
        }
    }

    /// Returns the result of a verb, or that the socket was closed: a close in another thread may
    /// cause any error or end of the stream. A result that has moved bytes is returned.
    fn unless_closed<O: Op>(&self, op: &O, result: io::Result<O::Output>) -> io::Result<O::Output> {
        match result {
            Ok(value) if O::CLOSES || !op.is_nothing(&value) => Ok(value),
            Err(error) if O::CLOSES => Err(error),
            _ if self.is_closed() => Err(error::closed()),
            result => result,
        }
    }

    /// Waits until pending records were sent, since no scheduler would send them. The next verb
    /// returns a failure; this one does so only if the socket is closed meanwhile.
    fn push_pending<O: Op>(&self, deadline: Option<Instant>) -> io::Result<()> {
        while self.link.has_pending() {
            let meant = self.link.push().map_err(|error| meaning(Call::Send, error));
            let is_paused = meant == Err(Meaning::Pause);
            if meant.is_ok() {
                break;
            }
            if self.is_closed() && !O::CLOSES {
                return Err(error::closed());
            }
            if !is_paused && meant != Err(Meaning::Wait) {
                break;
            }
            if !self.wait::<O>(deadline, is_paused)? {
                self.promise::<O>();
                break;
            }
        }
        Ok(())
    }

    /// Notes whether something is queued, before the function of on_interrupt may be called.
    fn note_queue<S: Side>(&self, side: &S) {
        if S::DIRECTION == Direction::Write {
            self.queue_waits.store(side.loses(), Ordering::Release);
        }
    }

    /// Notes that a close which loses pending records must say so: a verb that sends has told, or
    /// is about to tell, that they are sent.
    fn promise<O: Op>(&self) {
        if O::Side::DIRECTION == Direction::Write {
            self.link.promise();
        }
    }

    /// Runs an operation that calls the caller's code to its end. The lock is lent to that code,
    /// and to nothing else.
    pub(super) fn drive_around<O: Op>(&self, mut op: O) -> io::Result<O::Output> {
        self.check::<O>()?;
        #[cfg(feature = "tls")]
        self.shake_first()?;
        let settings = self.stepping();
        let mut lend = Alone { twin: self, settings, lock: None, is_paused: false };
        let from_now = || settings.timeout().map(|timeout| Driver::now() + timeout);
        let mut deadline = None;
        let mut moved = 0;
        loop {
            if self.is_closed() {
                return Err(error::closed());
            }
            let attempt = op.attempt(&mut lend);
            drop_spent();
            let progress = match attempt {
                Some(Progress::Done(result)) => return self.unless_closed(&op, result),
                Some(progress) => progress,
                None => unreachable!("who steps alone has the lock"),
            };
            // Not lent during the wait: code that a signal runs here would wait for its own thread.
            let lock = lend.lock.take().map(Reserved::resume);
            let progress_now = self.link.moved(O::Side::DIRECTION);
            if deadline.is_none() || progress_now != moved {
                (deadline, moved) = (from_now(), progress_now);
            }
            let waited = match progress {
                Progress::Again => self.may_go_on::<O>(deadline),
                _ => self.wait::<O>(deadline, lend.is_paused),
            };
            if !waited? {
                return Err(error::timed_out(0, false));
            }
            lend.lock = lock.map(Taken::reserve);
        }
    }

    /// Waits for the lock of the operation's direction, for the timeout at most.
    pub(super) fn lock<O: Op>(&self, settings: Settings) -> io::Result<Taken<'_, O::Side>> {
        let side = O::Side::pick(self);
        if let Some(taken) = side.try_take() {
            return Ok(taken);
        }
        interrupt::refuse_below(side)?;
        let deadline = settings.timeout().map(|timeout| Driver::now() + timeout);
        let check = || interrupt::check(side);
        let ask: Option<(_, &dyn Fn() -> io::Result<()>)> =
            interrupt::is_set().then_some((interrupt::SLICE, &check));
        side.take(deadline, ask)?.ok_or_else(|| error::timed_out(0, false))
    }

    /// Waits until the operation's direction is ready, or for a pause; `false` at the deadline.
    fn wait<O: Op>(&self, deadline: Option<Instant>, is_paused: bool) -> io::Result<bool> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Driver::now()));
        let is_left = || deadline.is_none_or(|deadline| Driver::now() < deadline);
        let check = || interrupt::check(O::Side::pick(self));
        if is_paused {
            pause(left);
            return check().map(|()| is_left());
        }
        match self.link.sys().wait(O::Side::DIRECTION, left) {
            Ok(Some(ready)) => Ok(ready || is_left()),
            // The caller checks its deadline and comes back.
            Ok(None) => check().map(|()| true),
            Err(error) if meaning(Call::Poll, error) == Meaning::Pause => {
                pause(left);
                Ok(is_left())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells whether the verb may continue at once: no signal has ended it, and it is not overdue.
    #[cold]
    fn may_go_on<O: Op>(&self, deadline: Option<Instant>) -> io::Result<bool> {
        interrupt::check(O::Side::pick(self))?;
        Ok(deadline.is_none_or(|deadline| Driver::now() < deadline))
    }

    /// Makes one attempt, unless a verb has the lock.
    pub(super) fn attempt<O: Op>(&self, mut op: O) -> io::Result<O::Output> {
        self.check::<O>()?;
        #[cfg(feature = "tls")]
        self.try_shake_first()?;
        let mut side = O::Side::pick(self).try_take().ok_or(io::ErrorKind::WouldBlock)?;
        if self.is_closed() && !O::CLOSES {
            // By another thread, which has had the lock.
            return Err(error::closed());
        }
        side.refill();
        let progress = op.step(&self.link, self.stepping(), &mut side);
        self.promise::<O>();
        match progress {
            Progress::Done(result) => self.unless_closed(&op, result),
            Progress::Wait | Progress::Again => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Makes steps of operations, all under one lock.
struct Alone<'a, S> {
    twin: &'a Twin,
    settings: Settings,
    lock: Option<Reserved<'a, S>>,
    /// The operation of the last step continues after a pause.
    is_paused: bool,
}

impl<S: Side> Lend<S> for Alone<'_, S> {
    fn step<O: Op<Side = S>>(&mut self, op: &mut O) -> Option<Progress<O::Output>> {
        let lock = match self.lock.take() {
            Some(lock) => Ok(lock.resume()),
            None => self.twin.lock::<O>(self.settings),
        };
        let mut side = match lock {
            Ok(side) => side,
            Err(error) => return Some(Progress::Done(Err(error))),
        };
        side.refill();
        let progress = op.step(&self.twin.link, self.settings, &mut side);
        self.is_paused = side.is_paused();
        self.lock = Some(side.reserve());
        Some(progress)
    }

    fn is_closed(&self) -> bool {
        self.twin.is_closed()
    }
}

/// Waits where the system lacks memory, for the time left at most.
fn pause(left: Option<Duration>) {
    thread::sleep(left.map_or(RETRY_PAUSE, |left| left.min(RETRY_PAUSE)));
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::{BlockingSocket, socket::op::Needs};

    /// A read during which another thread closes the socket.
    struct Overtaken<'a>(&'a BlockingSocket, io::Result<usize>);

    impl Op for Overtaken<'_> {
        type Side = ReadSide;
        type Output = usize;
        const VERB: &'static str = "recv";
        const NEEDS: Needs = Needs::Any;

        fn step(&mut self, _: &Link, _: Settings, _: &mut ReadSide) -> Progress<usize> {
            self.0.close().unwrap();
            Progress::Done(std::mem::replace(&mut self.1, Ok(0)))
        }

        fn is_nothing(&self, got: &usize) -> bool {
            *got == 0
        }
    }

    #[test]
    fn a_verb_that_has_moved_bytes_gives_them_though_the_socket_is_closed_meanwhile() {
        let outcome = |step: io::Result<usize>, tries: bool| {
            let (near, _far) = UnixStream::pair().unwrap();
            let near = BlockingSocket::new(near).unwrap();
            let op = Overtaken(&near, step);
            if tries { near.twin.attempt(op) } else { near.twin.drive(op) }
        };
        for tries in [false, true] {
            assert_eq!(outcome(Ok(5), tries).unwrap(), 5);
            let reset = io::ErrorKind::ConnectionReset;
            for step in [Ok(0), Err(reset.into())] {
                assert!(error::is_closed(&outcome(step, tries).unwrap_err()));
            }
        }
    }
}
